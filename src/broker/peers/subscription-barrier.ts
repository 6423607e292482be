/**
 * The barrier before SUBACK: it is sent when every member routes by the subscription. Each is asked to answer when it
 * has seen the subscription's transaction. Requests that come while one round is under way are asked together in the
 * next.
 */
import { fencePatienceMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { Links } from "./links.ts";
import type { Membership } from "./membership.ts";
import type { Peer } from "./peer.ts";
import type { SubscriptionDirectory } from "./subscription-directory.ts";

/** One question to all members, those who have not answered it, and who waits for it. */
interface Round {
  readonly number: number;
  readonly waitingFor: Set<Peer>;
  readonly done: readonly (() => void)[];
  timer: Timer;
}

/** Asks other brokers for what they have seen, and answers them. */
export class SubscriptionBarrier {
  readonly #context: DeliveryContext;
  readonly #parts: {
    readonly links: Links;
    readonly membership: Membership;
    readonly directory: SubscriptionDirectory;
  };
  #round: Round | undefined;
  #queued: (() => void)[] = [];
  #zxid = 0;
  #lastNumber = 0;

  constructor(
    context: DeliveryContext,
    parts: { links: Links; membership: Membership; directory: SubscriptionDirectory },
  ) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Calls back when all other brokers have seen a transaction. */
  pass(zxid: number, done: () => void): void {
    if (zxid === 0 || this.#parts.membership.members().length === 0) return done();
    this.#zxid = Math.max(this.#zxid, zxid);
    this.#queued.push(done);
    if (this.#round === undefined) this.#begin();
  }

  /** Calls back when a round that begins after the one under way is over; at once if none is under way. */
  passed(done: () => void): void {
    if (this.#round === undefined) done();
    else this.#queued.push(done);
  }

  /**
   * Answers another broker when this one routes by all that was committed up to transaction `zxid`, and what it routed
   * before is committed: a message that was retained by then is in the store when the new subscriber looks there, for
   * it does not come to it live.
   */
  see(peer: Peer, number: number, zxid: number): void {
    const { coordinator, journal } = this.#context;
    const { link } = peer;
    const say = (): void => {
      if (peer.link === link) this.#parts.links.sendControl(peer, { say: "seen", number });
    };
    const answer = (): void => this.#parts.directory.caughtUp(() => journal.drained(say));
    if (coordinator.seenZxid >= zxid) answer();
    else coordinator.sync(answer);
  }

  /** Takes another broker's answer to a round. */
  seen(peer: Peer, number: number): void {
    if (this.#round?.number === number) this.#passedBy(peer);
  }

  /** Waits no longer for a broker that is no member any more. */
  left(peer: Peer): void {
    if (this.#round !== undefined) this.#passedBy(peer);
  }

  #begin(): void {
    const { clock, timers, options } = this.#context;
    const number = ++this.#lastNumber;
    const members = this.#parts.membership.members();
    // A broker that has not answered for so long is out of the cluster: its keeper session is over.
    const timer = new Timer(() => this.#end());
    this.#round = { number, waitingFor: new Set(members), done: this.#queued, timer };
    this.#queued = [];
    timers.set(timer, clock.now() + options.zkSessionTimeout * 1000 + fencePatienceMs);
    for (const peer of members) this.#parts.links.sendControl(peer, { say: "see", number, zxid: this.#zxid });
    if (members.length === 0) this.#end();
  }

  #passedBy(peer: Peer): void {
    this.#round!.waitingFor.delete(peer);
    if (this.#round!.waitingFor.size === 0) this.#end();
  }

  #end(): void {
    const round = this.#round;
    if (round === undefined) return;
    this.#context.timers.cancel(round.timer);
    this.#round = undefined;
    for (const done of round.done) done();
    if (this.#queued.length > 0 && this.#round === undefined) this.#begin();
  }
}
