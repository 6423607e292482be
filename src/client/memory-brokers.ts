/**
 * Brokers in this process, which clients reach by `memory://name`: tests of applications have them, from
 * `mqttzoo/testing`. They are known to all copies of this library in the process, whichever module brought each.
 */
import type { TransportEvents } from "../net/transport.ts";

/** Connects a client's end. Rejects if the broker takes none now. */
export type MemoryDial = <Owner>(events: TransportEvents<Owner>) => Promise<unknown>;

const key = Symbol.for("mqttzoo.memory-brokers");
const held = globalThis as unknown as Record<symbol, Map<string, MemoryDial> | undefined>;

/** Returns the brokers by their names. */
export function memoryBrokers(): Map<string, MemoryDial> {
  held[key] ??= new Map();
  return held[key];
}
