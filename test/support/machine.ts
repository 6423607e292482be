/** A broker without sockets, with a clock that the test moves and clients that are arrays of bytes. */
import { type Log, silentLog } from "../../src/base/log.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Broker } from "../../src/broker/broker.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { Connection } from "../../src/broker/delivery/connection.ts";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import { Turn } from "../../src/net/writer.ts";
import { instantCoordinator } from "./instant-coordinator.ts";

/** Doors of a broker that has no others. */
export const alone = {
  dialLink: () => {},
  linkSecret: undefined,
  fatal: (error: Error) => {
    throw error;
  },
} as const;

export async function machine(
  coordinator: Coordinator = instantCoordinator(),
  log: Log = silentLog,
  options: Partial<BrokerOptions> = {},
) {
  let now = 1000;
  const clock = { now: () => now, wall: () => 1_800_000_000_000 + now };
  const turn = new Turn((flush) => queueMicrotask(flush));
  const broker = await Broker.start({
    options: { ...defaultOptions, ...options },
    coordinator,
    clock,
    random: systemRandom,
    log,
    turn,
    ...alone,
  });
  // Its store remembers no bank.
  broker.context.bankAccount.account.grant = Number.MAX_SAFE_INTEGER;
  const dial = () => {
    const sent: number[] = [];
    const state = { closed: false, sent, isRead: true, probes: 0 };
    const write = (bytes: Uint8Array, start: number, end: number): number => {
      for (let at = start; at < end; at++) sent.push(bytes[at]!);
      return end - start;
    };
    const close = (): void => {
      state.closed = true;
    };
    const reading = {
      pause: () => {
        state.isRead = false;
      },
      resume: () => {
        state.isRead = true;
      },
      probe: () => {
        state.probes++;
      },
    };
    const kernel = { remote: "test", address: "", certificate: undefined, write, close, abort: close, ...reading };
    const connection = new Connection(kernel, turn, () => broker.handle({ kind: "drained", connection }));
    broker.handle({ kind: "opened", connection });
    return {
      connection,
      state,
      send: (hex: string) =>
        broker.handle({
          kind: "received",
          connection,
          bytes: new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex")),
        }),
    };
  };
  const pass = (ms: number): void => {
    // Jumps from deadline to deadline, as time would.
    const end = now + ms;
    while (broker.nextDeadline() <= end) {
      now = Math.max(now, broker.nextDeadline());
      broker.handle({ kind: "tick" });
    }
    now = end;
  };
  /** Time passes, and the broker hears of it only then: the process was held up. */
  const hold = (ms: number): void => {
    now += ms;
    broker.handle({ kind: "tick" });
  };
  return { broker, dial, pass, hold };
}
