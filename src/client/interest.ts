/**
 * One filter that the broker has been asked for, and those of the application who listen to it; and the filters that
 * were asked for together, which share a subscription identifier.
 */
import { encodeUtf8, hashBytes } from "../base/bytes.ts";
import type { Filter } from "../mqtt/topic.ts";
import type { Arrival } from "./message.ts";
import type { Subscription, SubscriptionOptions } from "./subscription.ts";

type Listener = Subscription<never, never>;

/** Subscription identifiers are below this (3.8.2.1.2). */
const idMax = 268_435_455;

export class Interest {
  readonly filter: Filter;
  /** The filters that it was last asked for with. */
  batch: Batch | undefined;
  readonly listeners = new Set<Listener>();
  /** The listener that asked last: stored messages that come now are for it alone; undefined: for all. */
  newest: Listener | undefined;
  /** The broker's session has it. */
  isGranted = false;
  /** A list of this one alone, so that none is made for each message. */
  readonly alone: readonly Interest[] = [this];

  constructor(filter: Filter) {
    this.filter = filter;
  }

  /** True if only the newest listener gets it. */
  isFor({ retain }: Arrival): boolean {
    return retain && this.newest !== undefined && this.listeners.has(this.newest);
  }

  /** The listeners who get a message. */
  receivers(arrival: Arrival): Iterable<Listener> {
    return this.isFor(arrival) ? [this.newest!] : this.listeners;
  }

  /** The listeners who are sent what is stored when the filter is asked for. */
  askers(): Iterable<Listener> {
    return this.newest === undefined ? this.listeners : [this.newest];
  }

  deliver(arrival: Arrival): void {
    if (this.isFor(arrival)) return this.newest!.push(arrival, this.alone);
    for (const listener of this.listeners) listener.push(arrival, this.alone);
  }

  /** The options to subscribe with, so that every listener has what it wants. */
  wanted(): SubscriptionOptions<never> {
    const all = [...this.listeners].map(({ options }) => options);
    const best = all.reduce((best, options) => ((options.qos ?? 0) > (best.qos ?? 0) ? options : best));
    const last = this.newest?.options ?? best;
    return { ...last, qos: best.qos ?? 0, noLocal: all.every(({ noLocal }) => noLocal === true) };
  }
}

/** The filters of one SUBSCRIBE packet: the broker names them all by one identifier. */
export class Batch {
  readonly id: number;
  /** The texts of the filters. */
  readonly key: string;
  /** The filters that have not been asked for with others since. */
  readonly interests = new Set<Interest>();

  constructor(id: number, key: string) {
    this.id = id;
    this.key = key;
  }
}

/** Returns the key of filters that are asked for together: for one, its text. */
export function keyOf(filters: readonly string[]): string {
  return filters.length === 1 ? filters[0]! : JSON.stringify([...filters].sort());
}

/**
 * The identifier for filters, by their key: the same in every process, so that what a session has kept from an earlier
 * one comes to the same filters. `isTaken`: by other filters.
 */
export function idOf(key: string, isTaken: (id: number) => boolean): number {
  const bytes = encodeUtf8(key);
  let id = 1 + (hashBytes(bytes, 0, bytes.length) % idMax);
  while (isTaken(id)) id = (id % idMax) + 1;
  return id;
}
