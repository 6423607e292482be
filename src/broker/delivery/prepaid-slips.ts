/**
 * The payment of a session's slips that their messages do not pay for. Those are, at QoS 2, slips from when they are
 * sent on: what paid for such a slip goes with its message, and the slip stays until the client gives the packet id
 * back, which it may never do. And all slips for what lies in mail drops: such a message is paid for once, and each
 * session that takes it has a slip of its own. A few are paid for with the session (`slipsFreeMax`,
 * `dropSlipsFreeMax`). Before there are more they are paid for in one sum, by a node of its own; that goes when it has
 * not been needed for a while. Where nobody can pay, the client gets its messages a few at a time.
 */
import { weightPaidBy } from "../../bank/price.ts";
import { slipsFreeMax, slipsIdleMs, slipsRetryMs, slipsTimesMax } from "../../base/bank-limits.ts";
import { Timer } from "../../base/timers.ts";
import { prepaidSlipsPath, sessionPath } from "../../coordinator/paths.ts";
import {
  dropSlipWeightOf,
  heldIdWeightOf,
  idSlipWeightOf,
  jsonTextWeightOf,
  sessionWeightOf,
} from "../../coordinator/weight.ts";
import type { Price } from "../../mail/ledger.ts";
import { encodePaid, type Paid } from "../../mail/paid.ts";
import { fence, isOfDrop, type Slip } from "../../mail/slips.ts";
import { Bill, removalOf } from "../core/bill.ts";
import type { LocalSession } from "./local-session.ts";
import type { OutgoingMessage } from "./outgoing-message.ts";
import { reserved } from "./outgoing-message.ts";

/** The slips that one session has paid for. `Invariant:` there are never more of them in the store. */
export class PrepaidSlips {
  readonly #client: LocalSession;
  /** The weight that is known to be paid for, besides what comes with the session, in bytes. */
  #paidWeight = 0;
  /** The weight of all slips for what lies in mail drops, or more than that, in bytes. */
  #dropWeight = 0;
  /** True if the node is in the store, or on its way there; who pays for it, if this broker has written it. */
  #isThere = false;
  #paid: Paid | undefined;
  /** True if more slips have been needed than come with the session since that was last looked at. */
  #isUsed = false;
  #refusedAt = -Infinity;
  #isShort = false;
  #timer: Timer | undefined;

  constructor(client: LocalSession) {
    this.#client = client;
  }

  /** True while messages wait since nobody can pay for what their slips may leave. */
  get isShort(): boolean {
    return this.#isShort && this.#weightOf(this.#client.inflight.exchanges + 1) > this.#paidWeight;
  }

  /**
   * Notes that the store holds the node, and for what weight it was paid, in bytes: there are no more slips than that.
   * When it is written anew that is what they come to, as soon as it is known.
   */
  found(weight: number): void {
    this.#isThere = true;
    this.#dropWeight = Math.max(this.#dropWeight, weight);
  }

  /**
   * Returns true if one more slip may be sent at QoS 2; it is paid for then, before anything that is committed later.
   * Those that are still to be sent again count, too; but they may wait behind it, so one is sent if nothing is under
   * way.
   */
  coversOneMore(): boolean {
    const { exchanges, places } = this.#client.inflight;
    const ids = exchanges + places + 1;
    if (ids > slipsFreeMax) this.#isUsed = true;
    const isCovered = this.#weightOf(ids) <= this.#paidWeight || this.#raiseFor(ids) || exchanges === 0;
    this.#isShort = !isCovered;
    return isCovered;
  }

  /**
   * Returns how many of these slips for what lies in mail drops may be stored, from the first on, each with its weight;
   * they are paid for then, as of `coversOneMore`. Where nobody can pay, one at a time.
   */
  coveredDrops(weights: readonly number[]): number {
    this.#isUsed = true;
    this.#countDrops();
    const before = this.#dropWeight;
    const { exchanges, places } = this.#client.inflight;
    const room = (): number => this.#paidWeight - this.#weightOf(exchanges + places);
    const sum = weights.reduce((all, weight) => all + weight, 0);
    if (sum > room()) this.#raise(this.#weightOf(exchanges + places) + weights[0]!, sum - weights[0]!);
    let covered = 0;
    for (let left = room(); covered < weights.length && weights[covered]! <= left; covered++) left -= weights[covered]!;
    const isFree = covered === 0 && before === 0 && weights[0]! <= this.#dropsFreeWeight;
    if (isFree) covered = 1;
    this.#dropWeight = weights.slice(0, covered).reduce((all, weight) => all + weight, before);
    return covered;
  }

  /** Returns the price of a slip for what lies in a mail drop, and whose it is, for who is told that nobody can pay. */
  priceOf(weight: number): Price {
    const { context, payer, session } = this.#client;
    return { credits: context.bankAccount.priceOf(weight), payer, clientId: session.clientId };
  }

  /** Returns the weight of the slip of this session for a message, in bytes. */
  dropWeightOf(slip: Parameters<typeof dropSlipWeightOf>[1]): number {
    return dropSlipWeightOf(this.#path, slip);
  }

  /** Looks from now on whether the node is needed. */
  watch(): void {
    if (!this.#isThere || this.#timer !== undefined) return;
    const { timers, clock } = this.#client.context;
    this.#timer = new Timer(() => this.#look());
    timers.set(this.#timer, clock.now() + slipsIdleMs);
  }

  /**
   * Ends the watch with the connection. The node stays if slips may stay that were sent, or are of mail drops.
   * `waiting`: what has not been sent; undefined: some of it was not read.
   */
  detach(unacknowledged: readonly OutgoingMessage[], waiting: readonly Slip[] | undefined): void {
    if (this.#timer !== undefined) this.#client.context.timers.cancel(this.#timer);
    this.#timer = undefined;
    this.#isShort = false;
    const isHeld = ({ qos, slip }: OutgoingMessage): boolean => qos === 2 || (slip !== undefined && isOfDrop(slip));
    const isNeeded =
      waiting === undefined ||
      waiting.some(isOfDrop) ||
      unacknowledged.some((outgoing) => outgoing === reserved || isHeld(outgoing));
    if (this.#isThere && !isNeeded) this.#remove();
  }

  get #path(): string {
    return sessionPath(this.#client.session.clientId);
  }

  /**
   * The weight that is paid for with the session besides itself and its will: slips for what lies in mail drops, if
   * there were any when it was begun.
   */
  get #dropsFreeWeight(): number {
    const { paid, user, willBytes } = this.#client;
    if (paid === undefined) return 0;
    const { branch, credits, payer = "" } = paid;
    const texts = jsonTextWeightOf(user) + jsonTextWeightOf(payer) + 2 * jsonTextWeightOf(branch);
    return weightPaidBy(credits) - sessionWeightOf(this.#path, texts) - willBytes;
  }

  /** Returns the weight that must be paid for where so many packet ids are taken. */
  #weightOf(ids: number): number {
    return Math.max(0, ids - slipsFreeMax) * idSlipWeightOf(this.#path) + this.#dropWeight;
  }

  /** Counts the slips for what lies in mail drops, which have become fewer; not while some of them are not read. */
  #countDrops(): void {
    const waiting = this.#client.mailbox!.waiting;
    if (waiting === undefined) return;
    this.#dropWeight = 0;
    const count = (slip: Slip | undefined): void => {
      if (slip !== undefined && isOfDrop(slip)) this.#dropWeight += this.dropWeightOf(slip.record!);
    };
    waiting.forEach(count);
    for (const { slip } of this.#client.inflight.all()) count(slip);
  }

  #look(): void {
    this.#timer = undefined;
    const { exchanges, places } = this.#client.inflight;
    this.#countDrops();
    const isNeeded = this.#isUsed || this.#weightOf(exchanges + places) > 0;
    this.#isUsed = false;
    if (isNeeded) this.watch();
    else this.#remove();
  }

  /** Pays for several times as many packet ids as are taken now. Returns false if nobody can pay for that many. */
  #raiseFor(ids: number): boolean {
    if (this.#client.context.clock.now() < this.#refusedAt + slipsRetryMs) return false;
    this.#countDrops();
    const needed = this.#weightOf(ids);
    const wanted = Math.max(ids, Math.min(this.#client.context.options.maxInflight, slipsTimesMax * (ids - 1)));
    return needed <= this.#paidWeight || this.#raise(needed, this.#weightOf(wanted) - needed);
  }

  /** Pays for that weight, and for `more`, if there are credits for that. Returns false if nobody can pay. */
  #raise(needed: number, more: number): boolean {
    const { context, session, payer, fencingToken } = this.#client;
    const { bankAccount, clock, journal, options } = context;
    const { clientId } = session;
    if (clock.now() < this.#refusedAt + slipsRetryMs) return false;
    const path = prepaidSlipsPath(clientId);
    const node = heldIdWeightOf(path, jsonTextWeightOf(options.id) + jsonTextWeightOf(payer));
    const reserve = (weight: number) => {
      const credits = bankAccount.priceOf(node + weight);
      const payment = bankAccount.reserve(credits, payer, clientId);
      return payment && { credits, payment, weight };
    };
    const payable = reserve(needed + more) ?? (more > 0 ? reserve(needed) : undefined);
    if (payable === undefined) {
      this.#refusedAt = clock.now();
      return false;
    }
    const { credits, payment, weight } = payable;
    const { branch, account } = bankAccount;
    const { settle } = new Bill(account, { path, credits, payer, clientId, payment });
    this.#paid = { branch, credits, payer };
    const data = encodePaid({ branch, credits, payer });
    const put = { kind: "put", path, data, exists: this.#isThere, after: settle } as const;
    journal.commit([fence(fencingToken), bankAccount.guard(), put], undefined, () => context.evict(this.#client));
    this.#paidWeight = weight;
    this.#isThere = true;
    this.watch();
    return true;
  }

  /** Has the node removed: slips that are there come with the session. */
  #remove(): void {
    const { context, session, fencingToken } = this.#client;
    this.#paidWeight = 0;
    this.#isThere = false;
    // What another branch pays, that one finds to be gone.
    const removal = removalOf(context.bankAccount, { path: prepaidSlipsPath(session.clientId), paid: this.#paid });
    this.#paid = undefined;
    // Refused: the session is another broker's, and so is the node.
    context.journal.commit([fence(fencingToken), removal], undefined, () => {});
  }
}
