/**
 * Publishers held back for subscribers that are behind. A subscriber that drains fast is worth waiting for:
 * nothing is lost, and the publisher feels it as TCP back-pressure. One that does not drain is not: its QoS 0
 * is dropped at its limit, and nobody else notices.
 */
import { outputBytesHigh, outputBytesLow, stallCheckMs, stallProgressBytesMin } from "../base/limits.ts";
import { Timer, type Timers } from "../base/timers.ts";
import { type Connection, Hold } from "./connection.ts";

interface Stall {
  readonly publishers: Set<Connection>;
  /** Bytes that the subscriber had taken at the last look. */
  taken: number;
}

export class Stalls {
  readonly #timers: Timers;
  readonly #now: () => number;
  readonly #resume: (connection: Connection, reason: number) => void;
  readonly #stalls = new Map<Connection, Stall>();
  /** Subscribers that were waited for in vain: not again before they have caught up. */
  readonly #slow = new Set<Connection>();
  readonly #timer = new Timer(() => this.#look());

  constructor(timers: Timers, now: () => number, resume: (connection: Connection, reason: number) => void) {
    this.#timers = timers;
    this.#now = now;
    this.#resume = resume;
  }

  hold(publisher: Connection, subscriber: Connection): void {
    if (this.#slow.has(subscriber) || publisher === subscriber) return;
    let stall = this.#stalls.get(subscriber);
    if (stall === undefined) {
      if (this.#stalls.size === 0) this.#timers.set(this.#timer, this.#now() + stallCheckMs);
      stall = { publishers: new Set(), taken: subscriber.writer.taken };
      this.#stalls.set(subscriber, stall);
    }
    stall.publishers.add(publisher);
    publisher.hold(Hold.stalled);
  }

  /**
   * Holds a publisher before its chunk is looked at, if a receiver of what it published last is behind. Many
   * sockets may have become readable in one turn, before the first of them was held.
   */
  holdIfBehind(publisher: Connection): boolean {
    if (this.#stalls.size === 0 || publisher.route === undefined) return false;
    for (const { subscriber } of publisher.route.targets) {
      const { connection } = subscriber;
      if (connection === undefined || !this.#stalls.has(connection)) continue;
      if (connection.writer.unsent <= outputBytesHigh) continue;
      this.hold(publisher, connection);
      return true;
    }
    return false;
  }

  /** A subscriber's socket takes bytes again: its publishers go on in turn, as long as there is room. */
  drained(subscriber: Connection): void {
    const { writer } = subscriber;
    if (writer.unsent <= outputBytesLow) this.#slow.delete(subscriber);
    const stall = this.#stalls.get(subscriber);
    if (stall === undefined) return;
    while (writer.unsent <= outputBytesHigh) {
      const [publisher] = stall.publishers;
      if (publisher === undefined) {
        this.#stalls.delete(subscriber);
        return;
      }
      stall.publishers.delete(publisher);
      this.#release(publisher);
    }
  }

  /** A connection has ended. */
  forget(connection: Connection): void {
    this.#slow.delete(connection);
    this.#end(connection);
    for (const stall of this.#stalls.values()) stall.publishers.delete(connection);
  }

  #look(): void {
    for (const [subscriber, stall] of [...this.#stalls]) {
      const { taken } = subscriber.writer;
      if (taken - stall.taken < stallProgressBytesMin) {
        this.#slow.add(subscriber);
        this.#end(subscriber);
      }
      stall.taken = taken;
    }
    if (this.#stalls.size > 0) this.#timers.set(this.#timer, this.#now() + stallCheckMs);
  }

  #end(subscriber: Connection): void {
    const stall = this.#stalls.get(subscriber);
    if (stall === undefined) return;
    this.#stalls.delete(subscriber);
    for (const publisher of stall.publishers) this.#release(publisher);
  }

  #release(publisher: Connection): void {
    for (const stall of this.#stalls.values()) if (stall.publishers.has(publisher)) return;
    this.#resume(publisher, Hold.stalled);
  }
}
