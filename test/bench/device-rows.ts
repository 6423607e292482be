/** Loads of many devices, for `bench` and for `bench:gate`. */
import type { Scenario } from "./load.ts";

export type Shape = Omit<
  Scenario,
  "port" | "subscriberPorts" | "keepSessions" | "brokerPids" | "tls" | "login" | "seconds"
>;

/**
 * Where devices live: many of them, each with little to say. What counts is what a broker does for a second of the
 * processor's time, and how late the slowest message is.
 */
const small = { payloadBytes: 16, qos: 1, rate: 0 } as const;
const many = { ...small, publishers: 1000, subscribers: 1000, topics: "pairs" } as const;
export const deviceRows: readonly { readonly name: string; readonly shape: Shape }[] = [
  { name: "1,000 to 1,000, 2,000/s", shape: { ...many, rate: 2000 } },
  { name: "1,000 to 1,000, 20,000/s", shape: { ...many, rate: 20_000 } },
  { name: "1,000 to 1,000, ack awaited", shape: { ...many, window: 1 } },
  { name: "5,000 to 5,000, 2,000/s", shape: { ...many, publishers: 5000, subscribers: 5000, rate: 2000 } },
  { name: "1 to 1,000, 50,000/s", shape: { ...small, publishers: 1, subscribers: 1000, topics: "one", rate: 50 } },
  { name: "1,000 to 5, 50,000/s", shape: { ...small, publishers: 1000, subscribers: 5, topics: "few", rate: 50_000 } },
];

/** Returns how long to measure: where little is sent the processor's time, told in hundredths, is soon too coarse. */
export function secondsOf({ rate }: Shape, seconds: number): number {
  return rate > 0 && rate <= 5000 ? 3 * seconds : seconds;
}
