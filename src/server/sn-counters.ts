/**
 * The counters of senders who protect what they send over MQTT-SN, in the store: `/sn-counters/SENDER` has the lowest
 * that no broker has been granted. It is changed by versioned writes alone, so no counter is granted twice, whatever
 * dies, and whichever brokers a sender comes to. There is one for each key that was used, a few bytes.
 */
import { decodeUtf8, encodeUtf8, noBytes } from "../base/bytes.ts";
import type { Coordinator, WriteOperation } from "../coordinator/coordinator.ts";
import { snCounterPath, snCountersPath } from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import type { CounterStore } from "../mqttsn/counters.ts";

export class StoredCounters implements CounterStore {
  readonly #coordinator: Pick<Coordinator, "read" | "write">;
  /** Told of what stands where a counter should be. */
  readonly #strange: (path: string) => void;

  constructor(coordinator: Pick<Coordinator, "read" | "write">, strange: (path: string) => void) {
    this.#coordinator = coordinator;
    this.#strange = strange;
  }

  reserve(sender: string, until: number, done: (from: number) => void): void {
    const path = snCounterPath(sender);
    this.#coordinator.read([{ kind: "get", path }], (_, [result]) => {
      if (result !== undefined && hasData(result)) {
        const from = counterIn(result.data);
        // Nothing of this sender is taken until the operator has looked at it: it may have been said before.
        if (from === undefined) return this.#refuse(path, done);
        if (until <= from) return done(from);
        return this.#write([setOf(path, until, result.stat.version)], () => done(from), { sender, until, done });
      }
      const create = { kind: "create", path, data: encodeUtf8(`${until}`), mode: "persistent" } as const;
      this.#write([create], () => done(0), { sender, until, done });
    });
  }

  #refuse(path: string, done: (from: number) => void): void {
    this.#strange(path);
    done(Infinity);
  }

  /** Writes; where another broker was faster, or nothing stands there yet, all of it is tried again. */
  #write(
    operations: readonly WriteOperation[],
    committed: () => void,
    { sender, until, done }: { sender: string; until: number; done: (from: number) => void },
  ): void {
    this.#coordinator.write(operations, (error) => {
      if (error === undefined) return committed();
      if (error.code === "Closed") return;
      if (error.code !== "NoNode") return this.reserve(sender, until, done);
      // The level above is there for good once somebody has made it.
      const level = { kind: "create", path: snCountersPath, data: noBytes, mode: "persistent" } as const;
      this.#coordinator.write([level], () => this.reserve(sender, until, done));
    });
  }
}

function setOf(path: string, until: number, version: number): WriteOperation {
  return { kind: "set", path, data: encodeUtf8(`${until}`), version };
}

function counterIn(data: Uint8Array): number | undefined {
  const text = decodeUtf8(data);
  return /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}
