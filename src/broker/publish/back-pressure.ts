/**
 * Back-pressure: publishers are held back for subscribers that are behind. A subscriber that drains fast is worth
 * waiting for: nothing is lost, and its publishers feel it as TCP back-pressure. One that does not drain is not: its
 * QoS 0 messages are dropped at its limit, and nobody else notices.
 */
import { outputBytesHigh, outputBytesLow, stallCheckMs, stallProgressBytesMin } from "../../base/limits.ts";
import { Timer, type Timers } from "../../base/timers.ts";
import { type Connection, PauseReason } from "../delivery/connection.ts";
import { Peer } from "../peers/peer.ts";

/** A publisher that can be held back: a client's connection, or another broker, which holds back publishers in turn. */
export type Publisher = Connection | Peer;

/** The publishers that are held back for one subscriber. */
interface Stall {
  readonly publishers: Set<Publisher>;
  /** Bytes that the subscriber had taken when it was last checked. */
  taken: number;
}

/** Holds publishers back, and checks every `stallCheckMs` that the subscribers which they wait for drain. */
export class BackPressure {
  readonly #timers: Timers;
  readonly #now: () => number;
  readonly #resume: (publisher: Publisher, reason: number) => void;
  /** Tells another broker to send less, until `resume` is called for it. */
  readonly #holdPeer: (peer: Peer) => void;
  readonly #stalls = new Map<Connection, Stall>();
  /** Subscribers that were waited for in vain: they are not waited for again before they have caught up. */
  readonly #slow = new Set<Connection>();
  /** Other brokers that are told to send less for another reason. */
  readonly #flooding = new Set<Peer>();
  readonly #timer = new Timer(() => this.#look());

  constructor(
    timers: Timers,
    now: () => number,
    how: { readonly resume: (publisher: Publisher, reason: number) => void; readonly holdPeer: (peer: Peer) => void },
  ) {
    this.#timers = timers;
    this.#now = now;
    this.#resume = how.resume;
    this.#holdPeer = how.holdPeer;
  }

  /** Stops reading a publisher until a subscriber has caught up, unless the subscriber is known not to drain. */
  hold(publisher: Publisher, subscriber: Connection): void {
    if (this.#slow.has(subscriber) || publisher === subscriber) return;
    let stall = this.#stalls.get(subscriber);
    if (stall === undefined) {
      if (this.#stalls.size === 0) this.#timers.set(this.#timer, this.#now() + stallCheckMs);
      stall = { publishers: new Set(), taken: subscriber.writer.taken };
      this.#stalls.set(subscriber, stall);
    }
    if (stall.publishers.has(publisher)) return;
    stall.publishers.add(publisher);
    if (publisher instanceof Peer) this.#holdPeer(publisher);
    else publisher.hold(PauseReason.stalled);
  }

  /**
   * Holds a publisher before its chunk is handled, if a receiver of what it published last is behind. Many sockets may
   * have become readable in one turn, before the first of them was held. Returns true if it was held.
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

  /** Lets a subscriber's publishers go on in turn, as long as there is room: its socket takes bytes again. */
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

  /** Tells another broker to send less: messages of its publishers wait here for their turn. */
  holdFlooding(peer: Peer): void {
    if (this.#flooding.has(peer)) return;
    this.#flooding.add(peer);
    this.#holdPeer(peer);
  }

  /** Ends what `holdFlooding` has begun. */
  releaseFlooding(peer: Peer): void {
    if (this.#flooding.delete(peer)) this.#release(peer);
  }

  /** Forgets a connection that has ended, as subscriber and as publisher. */
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

  #release(publisher: Publisher): void {
    if (publisher instanceof Peer && this.#flooding.has(publisher)) return;
    for (const stall of this.#stalls.values()) if (stall.publishers.has(publisher)) return;
    this.#resume(publisher, PauseReason.stalled);
  }
}
