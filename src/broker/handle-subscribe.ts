/**
 * The handler of SUBSCRIBE and UNSUBSCRIBE. They are answered when the store holds the change and every broker of the
 * cluster routes by it.
 */
import { describeRule } from "../access/permissions.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { filtersPerStepMax, logTextMax, refusalsLogMs, retainedFeedsMax, storeLookMs } from "../base/limits.ts";
import { clientRefusePartMin } from "../base/memory-limits.ts";
import type { Work } from "../base/slices.ts";
import { Timer } from "../base/timers.ts";
import { cursorPath, subscriberPath } from "../coordinator/paths.ts";
import { subscriptionTextsOf, subscriptionWeightOf } from "../coordinator/weight.ts";
import type { Payment, Price } from "../mail/ledger.ts";
import type { JournalOperation } from "../mail/operations.ts";
import { paidBy } from "../mail/paid.ts";
import { encodeSubscription } from "../mail/records.ts";
import { fence } from "../mail/slips.ts";
import { PacketType } from "../mqtt/constants.ts";
import { encodeFilterAck } from "../mqtt/filter-acks.ts";
import type { AskedFilter, FilterList } from "../mqtt/filter-list.ts";
import { describeReason, Reason } from "../mqtt/reason.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { type Filter, parseFilter } from "../mqtt/topic.ts";
import { Bill, removalOf } from "./core/bill.ts";
import { fullDiskWords } from "./core/full-disk.ts";
import { sessionMemoryOf } from "./delivery/client-memory.ts";
import { type Connection, PauseReason } from "./delivery/connection.ts";
import type { LocalSession } from "./delivery/local-session.ts";
import type { MailDrops } from "./drops/mail-drops.ts";
import {
  checkAnswerFits,
  FilterRequest,
  oldCode,
  readSubscription,
  reasonOf,
  wantsRetained,
} from "./filter-request.ts";
import type { ClusterContext } from "./peers/cluster-context.ts";
import type { Interest } from "./peers/interest.ts";
import type { SubscriptionBarrier } from "./peers/subscription-barrier.ts";
import type { RetainedStore } from "./publish/retained-store.ts";

export interface SubscribeParts {
  readonly interest: Interest;
  readonly barrier: SubscriptionBarrier;
  readonly drops: MailDrops;
  readonly retainedStore: RetainedStore;
  /** Lets a connection go on that was held for a `PauseReason`. */
  readonly resume: (connection: Connection, reason: number) => void;
  /** Ends the connection of a client that has broken the protocol, or does not read. */
  readonly fail: (connection: Connection, error: ProtocolError) => void;
}

/** Handles one filter. Returns what must be committed for it; undefined: it is to be handled again later. */
type Handle = (asked: AskedFilter) => JournalOperation[] | undefined;

/** Handles SUBSCRIBE and UNSUBSCRIBE, a few filters at a time. */
export class SubscribeHandler {
  readonly #context: ClusterContext;
  readonly #interest: Interest;
  readonly #barrier: SubscriptionBarrier;
  readonly #drops: MailDrops;
  readonly #retainedStore: RetainedStore;

  readonly #resume: (connection: Connection, reason: number) => void;
  /** When it was last logged, by the clock's `now`, that a subscription could not be paid for. */
  #loggedAt = -Infinity;
  readonly #fail: (connection: Connection, error: ProtocolError) => void;

  constructor(context: ClusterContext, parts: SubscribeParts) {
    this.#context = context;
    this.#resume = parts.resume;
    this.#fail = parts.fail;
    this.#retainedStore = parts.retainedStore;
    this.#drops = parts.drops;
    this.#interest = parts.interest;
    this.#barrier = parts.barrier;
  }

  /** Handles SUBSCRIBE. Throws `ProtocolError` if the answer would be larger than the client takes. */
  subscribe(connection: Connection, filters: FilterList): void {
    checkAnswerFits(connection, filters);
    const request = new FilterRequest(connection, filters);
    const taken = new Map<string, Granted>();
    const { channel } = connection;
    const handle: Handle = (asked) => this.#subscribeTo(request, asked, taken);
    request.isPaidFor = true;
    this.#handle(request, handle, () => {
      const codes = channel.version === 5 ? request.codes : request.codes.map(oldCode);
      const suback = { type: PacketType.suback, packetId: filters.packetId, codes, reasonString: reasonOf(request) };
      const bytes = encodeFilterAck(suback, channel.version);
      const send = (): void => this.#send(connection, bytes, () => this.#beginFeeds(request, taken));
      // Retained messages that follow SUBACK must include all that others have been acknowledged by then, not only
      // those held here.
      if (request.isOwedRetained) this.#retainedStore.caughtUp(send);
      else send();
    });
  }

  /** Handles UNSUBSCRIBE. Throws `ProtocolError` if the answer would be larger than the client takes. */
  unsubscribe(connection: Connection, filters: FilterList): void {
    checkAnswerFits(connection, filters);
    const request = new FilterRequest(connection, filters);
    const handle: Handle = ({ topic }) => this.#unsubscribeFrom(request, topic);
    this.#handle(request, handle, () => {
      const unsuback = { type: PacketType.unsuback, packetId: filters.packetId, codes: request.codes };
      this.#send(connection, encodeFilterAck(unsuback, connection.channel.version), () => {});
    });
  }

  /**
   * Handles each filter of a packet and commits the changes; a filter that cannot be handled yet is tried again.
   * `answer` is called when all changes are durable and every broker routes by them. Packets after this one wait until
   * all of its filters are handled.
   */
  #handle(request: FilterRequest, handle: Handle, answer: () => void): void {
    const { slices, timers, clock } = this.#context;
    slices.run(this.#inSteps(request, handle), () => {
      if (request.isCurrent && !request.isHandled) {
        timers.set(new Timer(() => this.#handle(request, handle, answer)), clock.now() + storeLookMs);
        return;
      }
      request.isHandled = true;
      request.connection.waitingBytes = 0;
      // Of a client that has gone not all filters have been handled, perhaps none: there is no such answer.
      if (request.isCurrent) this.#whenStored(request, answer);
      this.#resume(request.connection, PauseReason.slice);
    });
    if (request.isHandled || !request.isCurrent) return;
    request.connection.waitingBytes = request.filters.memoryBytes;
    request.connection.hold(PauseReason.slice);
  }

  /**
   * Handles filters step by step, until the store is behind, the bank's answer is waited for, the session ends, or
   * another connection serves it.
   */
  *#inSteps(request: FilterRequest, handle: Handle): Work {
    const { slices, clock, journal } = this.#context;
    while (request.isCurrent && !journal.full) {
      const operations: JournalOperation[] = [];
      const startedAt = clock.now();
      for (let count = 0; count < filtersPerStepMax && !request.isHandled; count++) {
        // Where there are many rules, each filter takes a while.
        if (count % 8 === 7 && slices.isOver(startedAt)) break;
        const asked = request.next();
        const own = asked === undefined ? [] : handle(asked);
        if (asked === undefined) request.isHandled = true;
        else if (own === undefined) request.again = asked;
        if (own === undefined) break;
        operations.push(...own);
      }
      this.#commit(request, operations);
      if (request.isHandled || request.again !== undefined) return;
      yield;
    }
  }

  #commit(request: FilterRequest, operations: readonly JournalOperation[]): void {
    if (operations.length === 0) return;
    const { client } = request;
    request.uncommitted++;
    this.#context.journal.commitAll(operations, {
      guard: [
        ...(client.mailbox === undefined ? [] : [fence(client.fencingToken)]),
        ...(request.isPaidFor ? [this.#context.bankAccount.guard()] : []),
      ],
      done: (_, zxid) => request.committed(zxid),
      refused: () => this.#context.evict(client),
    });
  }

  #whenStored(request: FilterRequest, answer: () => void): void {
    if (request.uncommitted > 0) request.whenCommitted = () => this.#barrier.pass(request.zxid, answer);
    else if (request.zxid > 0) this.#barrier.pass(request.zxid, answer);
    // Another subscriber here may have announced the filter a moment ago: its commit counts for this one too.
    else this.#context.journal.drained(() => this.#barrier.passed(answer));
  }

  #send(connection: Connection, bytes: Uint8Array, then: () => void): void {
    if (connection.channel.phase !== "open") return;
    try {
      connection.send(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#fail(connection, error);
    }
    then();
  }

  #noteRefused(
    client: LocalSession,
    { topic }: AskedFilter,
    { cause, why = cause }: { cause: string; why?: string | undefined },
  ): void {
    const reason = (): string => `to ${topic.slice(0, logTextMax)}: ${why}`;
    const remote = client.connection?.transport.remote;
    this.#context.refused.note({ kind: "subscribe", cause, reason, clientId: client.session.clientId, remote });
  }

  /**
   * Subscribes to one filter. Returns the operations that store the subscription; undefined while nobody knows whether
   * the bank can pay for it.
   */
  #subscribeTo(
    request: FilterRequest,
    asked: AskedFilter,
    taken: Map<string, Granted>,
  ): JournalOperation[] | undefined {
    const { client, codes } = request;
    const { metrics, options, router } = this.#context;
    const refuse = (reason: number, why?: string, noted = why): JournalOperation[] => {
      codes.push(reason);
      request.refusedWhy ??= why;
      this.#noteRefused(client, asked, { cause: describeReason(reason), why: noted });
      return [];
    };
    const wanted = readSubscription(asked, request);
    if (wanted === undefined) return refuse(Reason.topicFilterInvalid);
    const { text, levels } = wanted.filter;
    const tooLarge = this.#sizeRefusal(client, wanted.filter);
    if (tooLarge !== undefined) {
      metrics.beyondLimit.levels++;
      return refuse(Reason.topicFilterInvalid, tooLarge);
    }
    if (client.permissions?.maySubscribe(levels) === false) {
      metrics.forbidden.subscribe++;
      const rule = describeRule(client.permissions.decideSubscribe(levels), options.aclFile);
      return refuse(Reason.notAuthorized, undefined, `the access list does not allow it: ${rule}`);
    }
    const before = client.session.subscriptions.get(text);
    if (before === undefined && this.#lacksRoomFor(client, text))
      return refuse(Reason.quotaExceeded, `${fullDiskWords}: it takes no new subscriptions`);
    if (!client.session.hasShapeFor(wanted.filter) || !router.mayTake(wanted.filter)) {
      metrics.beyondLimit.wildcards++;
      return refuse(Reason.quotaExceeded, "one topic would match too many filters: their wildcards differ too much");
    }
    const noMemory = before === undefined ? this.#memoryRefusal(request) : undefined;
    if (noMemory !== undefined) {
      metrics.beyondLimit.memory++;
      return refuse(Reason.quotaExceeded, noMemory);
    }
    const isOwedRetained = wantsRetained(wanted, before);
    if (isOwedRetained && client.feedsPending >= retainedFeedsMax) {
      metrics.beyondLimit.subscriptions++;
      return refuse(Reason.quotaExceeded, "retained messages for too many subscriptions are on their way");
    }
    const credits = before === undefined ? this.#priceOf(client, wanted) : 0;
    const price = { credits, payer: client.payer, clientId: client.session.clientId };
    const payment = credits === 0 ? undefined : this.#context.bankAccount.reserve(credits, price.payer, price.clientId);
    if (credits > 0 && payment === undefined) {
      if (request.mayStillBePaid(this.#context, price)) return undefined;
      return refuse(Reason.quotaExceeded, this.#unpaid(request, price));
    }
    // Whoever pays for a subscription pays for one that takes its place.
    const subscription = client.mailbox === undefined ? wanted : { ...wanted, paid: this.#paidOf(price, before) };
    if (!client.session.subscribe(subscription, options.maxSubscriptions)) {
      payment?.close();
      metrics.beyondLimit.subscriptions++;
      return refuse(Reason.quotaExceeded);
    }
    router.subscribe(client, subscription);
    codes.push(subscription.qos);
    const liveAfter = this.#context.retained.lastNumber;
    request.isOwedRetained ||= isOwedRetained;
    taken.set(text, { subscription, liveAfter, isOwedRetained });
    const operations: JournalOperation[] = [];
    const exists = before !== undefined;
    if (client.mailbox !== undefined) operations.push(this.#storage(client, subscription, { exists, payment }));
    else if (before === undefined)
      operations.push(...this.#interest.subscribed(text, { payment, payer: client.payer }));
    if (before === undefined) operations.push(...this.#drops.entering(client, subscription));
    return operations;
  }

  /** Ends the subscription to one filter. Returns the operations that remove it from the store. */
  #unsubscribeFrom({ client, codes }: FilterRequest, text: string): JournalOperation[] {
    const subscription = client.session.subscriptions.get(text);
    if (subscription === undefined) {
      codes.push(parseFilter(text) === undefined ? Reason.topicFilterInvalid : Reason.noSubscriptionExisted);
      return [];
    }
    codes.push(Reason.success);
    client.session.unsubscribe(text);
    this.#context.router.unsubscribe(client, subscription);
    const operations: JournalOperation[] = [];
    if (client.mailbox !== undefined) {
      const path = subscriberPath(text, client.session.clientId);
      const isCurrent = (): boolean => !client.session.subscriptions.has(text);
      operations.push(removalOf(this.#context.bankAccount, { path, paid: subscription.paid, isCurrent }));
    } else this.#interest.unsubscribed(text);
    operations.push(...this.#drops.leaving(client, text));
    return operations;
  }

  /** Has retained messages come before the answers to what the client has sent after its SUBSCRIBE. */
  #beginFeeds(request: FilterRequest, taken: ReadonlyMap<string, Granted>): void {
    const { connection } = request;
    let hasBegun = false;
    this.#context.slices.run(this.#feed(request, taken), () => {
      hasBegun = true;
      this.#resume(connection, PauseReason.feeds);
    });
    if (!hasBegun && request.isCurrent) connection.hold(PauseReason.feeds);
  }

  /** Begins to send retained messages, and those in mail drops, for new subscriptions, after their SUBACK. */
  *#feed({ client }: FilterRequest, taken: ReadonlyMap<string, Granted>): Work {
    for (const { subscription, liveAfter, isOwedRetained } of taken.values()) {
      this.#drops.subscribed(client, subscription);
      const isCurrent = client.session.subscriptions.get(subscription.filter.text) === subscription;
      if (isOwedRetained && isCurrent) client.feed(subscription, liveAfter);
      yield;
    }
  }

  /** Returns the price of what a new subscription has written into the store, in milli-credits. */
  #priceOf({ mailbox, payer, session: { clientId } }: LocalSession, subscription: Subscription): number {
    const { bankAccount } = this.#context;
    const { text } = subscription.filter;
    if (mailbox === undefined) return this.#interest.priceOf(text);
    const cursor = this.#drops.concerns(subscription) ? cursorPath(clientId, text) : undefined;
    const texts = subscriptionTextsOf({ branch: bankAccount.branch, payer });
    return bankAccount.priceOf(subscriptionWeightOf(subscriberPath(text, clientId), texts, cursor));
  }

  /** Returns who pays for a persistent session's subscription; of one that was there before nothing changes. */
  #paidOf(
    price: { readonly credits: number; readonly payer: string },
    before: Subscription | undefined,
  ): Subscription["paid"] {
    const { credits, payer } = price;
    return before === undefined ? paidBy({ branch: this.#context.bankAccount.branch, credits, payer }) : before.paid;
  }

  /** Returns the operation that stores a persistent session's subscription. */
  #storage(
    client: LocalSession,
    subscription: Subscription,
    { exists, payment }: { readonly exists: boolean; readonly payment: Payment | undefined },
  ): JournalOperation {
    const { session } = client;
    const { text } = subscription.filter;
    const { account, branch } = this.#context.bankAccount;
    const path = subscriberPath(text, session.clientId);
    const { paid } = subscription;
    const bill = paid?.branch === branch ? new Bill(account, { path, payer: "", ...paid, payment }) : undefined;
    const isCurrent = (): boolean => session.subscriptions.get(text) === subscription;
    const data = encodeSubscription(subscription);
    return { kind: "put", path, data, exists, isCurrent, ...(bill && { after: bill.settle }) };
  }

  /** Returns the words with which a filter is refused that is larger than filters may be; undefined: it is not. */
  #sizeRefusal({ mailbox, session }: LocalSession, { text, levels }: Filter): string | undefined {
    const { topicLevelsMax, filterBytesMax } = this.#context.options;
    if (levels.length > topicLevelsMax) return `a filter may have ${topicLevelsMax} levels`;
    if (mailbox === undefined || encodeUtf8(text).length <= filterBytesMax) return undefined;
    // What an earlier version, or a larger limit, has let in stays usable.
    if (session.subscriptions.has(text)) return undefined;
    return `a filter of a session that outlives its connection may have ${filterBytesMax} bytes`;
  }

  /** Returns the words with which a new subscription is refused for the memory that it takes; undefined: it is not. */
  #memoryRefusal({ client, connection }: FilterRequest): string | undefined {
    const { maxMemoryPerClient } = this.#context.options;
    const isNearLimit = sessionMemoryOf(client) >= clientRefusePartMin * maxMemoryPerClient;
    if (isNearLimit) return `a client may take ${maxMemoryPerClient} bytes of memory`;
    return connection.spender?.refusal;
  }

  /** Notes and logs that the bank cannot pay for a subscription. Returns so in words. */
  #unpaid(request: FilterRequest, price: Price): string {
    const { metrics, bankAccount, clock, log } = this.#context;
    metrics.beyondLimit.subscriptions++;
    const why = bankAccount.describe(price);
    if (clock.now() >= this.#loggedAt + refusalsLogMs) {
      this.#loggedAt = clock.now();
      const client = request.client.session.clientId.slice(0, logTextMax);
      log.warn({ client }, `subscription refused: ${why}`);
    }
    return why;
  }

  /** Returns true if a new subscription would have to be written while the disk of the store is full. */
  #lacksRoomFor({ mailbox }: LocalSession, text: string): boolean {
    return this.#context.coordinator.isFull === true && (mailbox !== undefined || !this.#interest.announces(text));
  }
}

/** A subscription that was granted. */
interface Granted {
  readonly subscription: Subscription;
  /** The number of the last message that was retained before. */
  readonly liveAfter: number;
  readonly isOwedRetained: boolean;
}
