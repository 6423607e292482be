/**
 * Signals that abort calls of the library at random moments: each call ends, with the signal's reason or as it would
 * have without, nothing rejects unheard, no signal is listened to any more, and the client goes on.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { type Client, connect } from "../../src/client/for-bun.ts";
import { TestBroker } from "../../src/testing/test-broker.ts";

const unheard: unknown[] = [];
const hear = (error: unknown): void => void unheard.push(error);
beforeAll(() => void process.on("unhandledRejection", hear));
afterAll(() => void process.off("unhandledRejection", hear));

/** A signal that counts who listens to it. */
class Watched {
  readonly #controller = new AbortController();
  listeners = 0;
  readonly signal = this.#controller.signal;
  readonly reason = new Error("enough");

  constructor() {
    const { signal } = this;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    const heard = new Set<unknown>();
    signal.addEventListener = (type: string, listener: never) => {
      heard.add(listener);
      this.listeners = heard.size;
      add(type, listener);
    };
    signal.removeEventListener = (type: string, listener: never) => {
      heard.delete(listener);
      this.listeners = heard.size;
      remove(type, listener);
    };
  }

  /** Aborts after so many turns of the event loop; of 0, at once. */
  async abortAfter(turns: number): Promise<void> {
    for (let left = turns; left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
    this.#controller.abort(this.reason);
  }
}

async function nobodyListens(watched: readonly Watched[]): Promise<void> {
  for (let turns = 20; turns > 0 && watched.some(({ listeners }) => listeners > 0); turns--)
    await new Promise((resolve) => setImmediate(resolve));
  expect(watched.map(({ listeners }) => listeners)).toEqual(watched.map(() => 0));
}

const aNumber = {
  "~standard": { version: 1, vendor: "test", validate: async (value: unknown) => ({ value: value as number }) },
} as const;

/** The calls that take a signal, each with something that lasts a while. */
const calls = {
  publish: (client: Client, signal: AbortSignal) => client.publish("t", "x", { qos: 2, signal }),
  publishAtMostOnce: (client: Client, signal: AbortSignal) => client.publish("t", "x", { signal }),
  publishValid: (client: Client, signal: AbortSignal) => client.publish("t", 5, { qos: 1, signal, schema: aNumber }),
  publishMany: (client: Client, signal: AbortSignal) =>
    client.publishMany(
      Array.from({ length: 20 }, () => ({ topic: "t", payload: "x", qos: 1 as const })),
      { signal },
    ),
  subscribe: async (client: Client, signal: AbortSignal) => {
    const messages = await client.subscribe(["t/{x}", "u/#"], { qos: 1, signal });
    return messages.next();
  },
  leave: async (client: Client, signal: AbortSignal) => {
    const messages = client.messages("t", { signal });
    await messages.unsubscribe();
  },
  request: (client: Client, signal: AbortSignal) => client.request("q", "?", { timeoutMs: 50, signal }),
  nobody: (client: Client, signal: AbortSignal) => client.request("nobody", "?", { timeoutMs: 50, signal }),
  state: (client: Client, signal: AbortSignal) => client.state("s").get({ signal }),
  statuses: async (client: Client, signal: AbortSignal) => {
    for await (const _ of client.statuses({ signal }));
  },
  connected: (client: Client, signal: AbortSignal) => client.connected({ signal }),
  roundTrip: (client: Client, signal: AbortSignal) => client.roundTrip({ signal }),
  flush: (client: Client, signal: AbortSignal) => client.flush({ signal }),
} as const;

type Call = keyof typeof calls;

const step = fc.record({
  call: fc.constantFrom(...(Object.keys(calls) as Call[])),
  turns: fc.nat(12),
});
const trouble = fc.constantFrom<"none" | "cut" | "stop">("none", "cut", "stop");

test("of any call, also while the connection is lost or the broker is away", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12, size: "max" }), trouble, async (steps, what) => {
      const broker = new TestBroker();
      const client = await connect(broker.url, { clientId: "c", reconnect: { minMs: 1, maxMs: 3 } });
      client.respond("q", () => "!");
      const watched = steps.map(() => new Watched());
      const ended = Promise.allSettled(
        steps.map(async ({ call, turns }, at) => {
          const { signal } = watched[at]!;
          void watched[at]!.abortAfter(turns);
          await calls[call](client, signal);
        }),
      );
      if (what === "cut") broker.cut("c");
      if (what === "stop") broker.stop();
      const outcomes = await ended;
      for (const [at, outcome] of outcomes.entries()) {
        if (outcome.status === "rejected" && outcome.reason !== watched[at]!.reason)
          expect([steps[at], outcome.reason.name]).toEqual([
            steps[at],
            expect.stringMatching(/^(MqttError|RequestFailed|TimedOut)$/),
          ]);
      }
      if (what === "stop") broker.start();
      // The client goes on as if nothing had been.
      await client.connected({ timeoutMs: 5000 });
      const messages = await client.subscribe("after");
      await client.publish("after", "x", { qos: 1 });
      expect((await messages.next()).value?.text).toBe("x");
      await client.end();
      await nobodyListens(watched);
      expect(client.pending).toBe(0);
    }),
    { numRuns: 60 },
  );
  expect(unheard).toEqual([]);
}, 30_000);

test("of connect and of end, at any moment", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(12),
      fc.nat(12),
      fc.constantFrom("never" as const, "for ever" as const),
      fc.boolean(),
      async (first, second, retry, isThere) => {
        const broker = new TestBroker();
        if (!isThere) broker.stop();
        const [connecting, ending] = [new Watched(), new Watched()];
        void connecting.abortAfter(first);
        const options = { retry, signal: connecting.signal, reconnect: { minMs: 1, maxMs: 3 } };
        const client = await connect(broker.url, options).catch((error) => error);
        if (client instanceof Error) {
          if (client !== connecting.reason) expect(client.name).toBe("ConnectFailed");
        } else {
          client.publish("t", "x", { qos: 1 }).catch(() => {});
          void ending.abortAfter(second);
          await client.end({ signal: ending.signal });
          expect(client.status.state).toBe("closed");
        }
        await nobodyListens([connecting, ending]);
        if (isThere) expect(broker.clients).toEqual([]);
      },
    ),
    { numRuns: 100 },
  );
  expect(unheard).toEqual([]);
}, 30_000);
