/** One filter that the broker has been asked for, and those of the application who listen to it. */
import { encodeUtf8, hashBytes } from "../base/bytes.ts";
import type { Filter } from "../mqtt/topic.ts";
import type { Arrival } from "./message.ts";
import type { Subscription, SubscriptionOptions } from "./subscription.ts";

type Listener = Subscription<never, never>;

/** Subscription identifiers are below this (3.8.2.1.2). */
const idMax = 268_435_455;

export class Interest {
  readonly id: number;
  readonly filter: Filter;
  readonly listeners = new Set<Listener>();
  /** The listener that asked last: stored messages that come now are for it alone; undefined: for all. */
  newest: Listener | undefined;
  /** The broker's session has it. */
  isGranted = false;
  /** A list of this one alone, so that none is made for each message. */
  readonly alone: readonly Interest[] = [this];

  constructor(id: number, filter: Filter) {
    this.id = id;
    this.filter = filter;
  }

  /** True if only the newest listener gets it. */
  isFor({ retain }: Arrival): boolean {
    return retain && this.newest !== undefined && this.listeners.has(this.newest);
  }

  deliver(arrival: Arrival): void {
    if (this.isFor(arrival)) return this.newest!.push(arrival);
    for (const listener of this.listeners) listener.push(arrival);
  }

  /** The options to subscribe with, so that every listener has what it wants. */
  wanted(): SubscriptionOptions<never> {
    const all = [...this.listeners].map(({ options }) => options);
    const best = all.reduce((best, options) => ((options.qos ?? 0) > (best.qos ?? 0) ? options : best));
    const last = this.newest?.options ?? best;
    return { ...last, qos: best.qos ?? 0, noLocal: all.every(({ noLocal }) => noLocal === true) };
  }
}

/**
 * A filter's identifier: the same in every process, so that what a session has kept from an earlier one comes to the
 * same filter. `isTaken`: by another filter.
 */
export function idOf(filter: string, isTaken: (id: number) => boolean): number {
  const bytes = encodeUtf8(filter);
  let id = 1 + (hashBytes(bytes, 0, bytes.length) % idMax);
  while (isTaken(id)) id = (id % idMax) + 1;
  return id;
}
