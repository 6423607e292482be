/**
 * The payment of a session's slips at QoS 2 from when they are sent on: what paid for such a slip goes with its
 * message, and the slip stays until the client gives the packet id back, which it may never do. A few are paid for with
 * the session (`slipsFreeMax`). Before more are under way they are paid for in one sum, by a node of its own; that goes
 * when it has not been needed for a while. Where nobody can pay, the client gets its messages a few at a time.
 */
import { slipsFreeMax, slipsIdleMs, slipsRetryMs, slipsTimesMax } from "../../base/bank-limits.ts";
import { Timer } from "../../base/timers.ts";
import { prepaidSlipsPath, sessionPath } from "../../coordinator/paths.ts";
import { heldIdWeightOf, idSlipWeightOf, jsonTextWeightOf } from "../../coordinator/weight.ts";
import { encodePaid, type Paid } from "../../mail/paid.ts";
import { fence } from "../../mail/slips.ts";
import { Bill, removalOf } from "../core/bill.ts";
import type { LocalSession } from "./local-session.ts";
import type { OutgoingMessage } from "./outgoing-message.ts";
import { reserved } from "./outgoing-message.ts";

/** The slips that one session has paid for. `Invariant:` no more of them are sent, and not given back. */
export class PrepaidSlips {
  readonly #client: LocalSession;
  /** The number of slips that are known to be paid for. */
  #count = slipsFreeMax;
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
    return this.#isShort && this.#client.inflight.exchanges >= this.#count;
  }

  /** Notes that the store holds the node: how many slips it pays for does not matter, for it is written anew. */
  found(): void {
    this.#isThere = true;
  }

  /**
   * Returns true if one more slip may be sent at QoS 2; it is paid for then, before anything that is committed later.
   * Those that are still to be sent again count, too; but they may wait behind it, so one is sent if nothing is under
   * way.
   */
  coversOneMore(): boolean {
    const { exchanges, places } = this.#client.inflight;
    const needed = exchanges + places + 1;
    if (needed > slipsFreeMax) this.#isUsed = true;
    const isCovered = needed <= this.#count || this.#raise(needed) || exchanges === 0;
    this.#isShort = !isCovered;
    return isCovered;
  }

  /** Looks from now on whether the node is needed. */
  watch(): void {
    if (!this.#isThere || this.#timer !== undefined) return;
    const { timers, clock } = this.#client.context;
    this.#timer = new Timer(() => this.#look());
    timers.set(this.#timer, clock.now() + slipsIdleMs);
  }

  /** Ends the watch with the connection. The node stays if slips may stay that were sent. */
  detach(unacknowledged: readonly OutgoingMessage[]): void {
    if (this.#timer !== undefined) this.#client.context.timers.cancel(this.#timer);
    this.#timer = undefined;
    this.#isShort = false;
    const isNeeded = unacknowledged.some((outgoing) => outgoing.qos === 2 || outgoing === reserved);
    if (this.#isThere && !isNeeded) this.#remove();
  }

  #look(): void {
    this.#timer = undefined;
    const { exchanges, places } = this.#client.inflight;
    const isNeeded = this.#isUsed || exchanges + places > slipsFreeMax;
    this.#isUsed = false;
    if (isNeeded) this.watch();
    else this.#remove();
  }

  /** Pays for several times as many slips as now. Returns false if nobody can. */
  #raise(needed: number): boolean {
    const { context, session, payer, fencingToken } = this.#client;
    const { bankAccount, clock, journal, options } = context;
    const { clientId } = session;
    if (clock.now() < this.#refusedAt + slipsRetryMs) return false;
    const count = Math.max(needed, Math.min(options.maxInflight, slipsTimesMax * this.#count));
    const path = prepaidSlipsPath(clientId);
    const texts = jsonTextWeightOf(options.id) + jsonTextWeightOf(payer);
    const slips = (count - slipsFreeMax) * idSlipWeightOf(sessionPath(clientId));
    const credits = bankAccount.priceOf(heldIdWeightOf(path, texts) + slips);
    const payment = bankAccount.reserve(credits, payer, clientId);
    if (payment === undefined) {
      this.#refusedAt = clock.now();
      return false;
    }
    const { branch, account } = bankAccount;
    const { settle } = new Bill(account, { path, credits, payer, clientId, payment });
    this.#paid = { branch, credits, payer };
    const data = encodePaid({ branch, credits, payer });
    const put = { kind: "put", path, data, exists: this.#isThere, after: settle } as const;
    journal.commit([fence(fencingToken), bankAccount.guard(), put], undefined, () => context.evict(this.#client));
    this.#count = count;
    this.#isThere = true;
    this.watch();
    return true;
  }

  /** Has the node removed: slips that are there come with the session. */
  #remove(): void {
    const { context, session, fencingToken } = this.#client;
    this.#count = slipsFreeMax;
    this.#isThere = false;
    // What another branch pays, that one finds to be gone.
    const removal = removalOf(context.bankAccount, { path: prepaidSlipsPath(session.clientId), paid: this.#paid });
    this.#paid = undefined;
    // Refused: the session is another broker's, and so is the node.
    context.journal.commit([fence(fencingToken), removal], undefined, () => {});
  }
}
