/**
 * The payment for places in mail drops that come later than their subscriptions: a subscription pays for its place (the
 * cursor) when it is made, if there is a mail drop by then; one that is older pays before its feed opens. Where nobody
 * can pay, its client is handed nothing of what lies there until somebody can.
 */
import { weightPaidBy } from "../../bank/price.ts";
import { slipsRetryMs } from "../../base/bank-limits.ts";
import { latePlacesTryMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { cursorPath, subscriberPath } from "../../coordinator/paths.ts";
import { subscriptionTextsOf, subscriptionWeightOf } from "../../coordinator/weight.ts";
import type { Price } from "../../mail/ledger.ts";
import { paidBy } from "../../mail/paid.ts";
import { encodeSubscription } from "../../mail/records.ts";
import { fence } from "../../mail/slips.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { Bill } from "../core/bill.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { cursorOperation } from "./drop-feed.ts";
import type { Cursor } from "./drop-log.ts";

export interface LatePlacesEvents {
  /** Nobody can pay for a place. */
  unpaid(client: LocalSession, price: Price): void;
  /** The feeds of a client are to be opened once more. */
  retry(client: LocalSession): void;
}

export class LatePlaces {
  readonly #context: ClusterContext;
  readonly #events: LatePlacesEvents;
  /** Clients for whose places nobody could pay, the longest waiting first. */
  readonly #waiting = new Set<LocalSession>();
  readonly #timer = new Timer(() => this.#retry());

  constructor(context: ClusterContext, events: LatePlacesEvents) {
    this.#context = context;
    this.#events = events;
  }

  /**
   * Has a subscription pay for its place, which is written with that, if it does not yet. Returns the subscription that
   * has taken its place; undefined: nobody can pay, and `retry` is told of its client later.
   */
  pay(client: LocalSession, subscription: Subscription, cursor: Cursor): Subscription | undefined {
    const { bankAccount, options, router } = this.#context;
    const { session, payer } = client;
    const { clientId } = session;
    if (this.#weightOf(client, subscription, subscription.paid) <= weightPaidBy(subscription.paid?.credits ?? 0))
      return subscription;
    const { branch } = bankAccount;
    const credits = bankAccount.priceOf(this.#weightOf(client, subscription, { branch, payer }));
    const payment = bankAccount.reserve(credits, payer, clientId);
    if (payment === undefined) {
      this.#wait(client, { credits, payer, clientId });
      return undefined;
    }
    const paying = { ...subscription, paid: paidBy({ branch, credits, payer }) };
    session.subscribe(paying, options.maxSubscriptions);
    router.subscribe(client, paying);
    const path = subscriberPath(subscription.filter.text, clientId);
    this.#write(client, paying, cursor, new Bill(bankAccount.account, { path, credits, payer, clientId, payment }));
    return paying;
  }

  /** Tries no more for a client that has gone. */
  forget(client: LocalSession): void {
    this.#waiting.delete(client);
  }

  #write(client: LocalSession, subscription: Subscription, cursor: Cursor, { settle }: Bill): void {
    const { bankAccount, journal } = this.#context;
    const { session, fencingToken } = client;
    const { text } = subscription.filter;
    const isCurrent = (): boolean => session.subscriptions.get(text) === subscription;
    const path = subscriberPath(text, session.clientId);
    const data = encodeSubscription(subscription);
    const put = { kind: "put", path, data, exists: true, isCurrent, after: settle } as const;
    const operations = [fence(fencingToken), bankAccount.guard(), put, cursorOperation(client, subscription, cursor)];
    journal.commit(operations, undefined, () => this.#context.evict(client));
  }

  #weightOf(
    { session: { clientId } }: LocalSession,
    { filter: { text } }: Subscription,
    paid: Parameters<typeof subscriptionTextsOf>[0] = { branch: "" },
  ): number {
    const texts = subscriptionTextsOf(paid);
    return subscriptionWeightOf(subscriberPath(text, clientId), texts, cursorPath(clientId, text));
  }

  #wait(client: LocalSession, price: Price): void {
    const { timers, clock } = this.#context;
    this.#waiting.add(client);
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + slipsRetryMs);
    this.#events.unpaid(client, price);
  }

  #retry(): void {
    const { timers, clock } = this.#context;
    for (const client of [...this.#waiting].slice(0, latePlacesTryMax)) {
      this.#waiting.delete(client);
      this.#events.retry(client);
    }
    if (this.#waiting.size > 0) timers.set(this.#timer, clock.now() + slipsRetryMs);
  }
}
