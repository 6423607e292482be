/** A SUBSCRIBE or UNSUBSCRIBE while its filters are handled, a few at a time: how far that has come, and its answer. */
import { varintSize } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import type { Price } from "../mail/ledger.ts";
import type { AskedFilter, FilterList } from "../mqtt/filter-list.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { type CreditWait, isLastWord } from "./core/credit-wait.ts";
import type { Connection } from "./delivery/connection.ts";
import type { LocalSession } from "./delivery/local-session.ts";
import type { ClusterContext } from "./peers/cluster-context.ts";

/** A SUBSCRIBE or UNSUBSCRIBE that is being handled. */
export class FilterRequest {
  readonly connection: Connection;
  readonly client: LocalSession;
  readonly filters: FilterList;
  /** The reason codes of the filters that have been handled. */
  readonly codes: number[] = [];
  /** Words for the first filter that was refused of which more can be said than the reason code. */
  refusedWhy: string | undefined;
  /** True for SUBSCRIBE: what it has written is paid for. */
  isPaidFor = false;
  /** A filter that is to be handled again, since nobody knew whether the bank could pay for it. */
  again: AskedFilter | undefined;
  /** The wait for credits; undefined: none is under way. */
  #wait: CreditWait | undefined;
  /** True once the bank has had the last word: it is not waited for again. */
  #isShort = false;
  /** True if retained messages are sent for any of them. */
  isOwedRetained = false;
  /** True once all filters are handled. */
  isHandled = false;
  /** The number of commits under way, and the last transaction that is done (0: none). */
  uncommitted = 0;
  zxid = 0;
  whenCommitted: () => void = () => {};

  constructor(connection: Connection, filters: FilterList) {
    this.connection = connection;
    this.client = connection.client!;
    this.filters = filters;
  }

  /** True while the session is served by the connection that the packet has come from. */
  get isCurrent(): boolean {
    return this.connection.channel.phase === "open" && this.client.connection === this.connection;
  }

  /** Returns the next filter to be handled; undefined: there are no more. */
  next(): AskedFilter | undefined {
    const { again } = this;
    this.again = undefined;
    return again ?? this.filters.next();
  }

  /** Returns true if credits that are lacking now may be there in a moment. */
  mayStillBePaid(context: ClusterContext, price: Price): boolean {
    if (this.#isShort) return false;
    this.#wait ??= { since: context.clock.now(), hopeUntil: undefined };
    const isAway = context.coordinator.state !== "CONNECTED";
    if (isAway || !isLastWord(context, price, this.#wait)) return true;
    this.#isShort = true;
    return false;
  }

  committed(zxid: number): void {
    this.zxid = Math.max(this.zxid, zxid);
    if (--this.uncommitted === 0) this.whenCommitted();
  }
}

/**
 * Throws `ProtocolError` if the answer to a packet would be larger than the client takes: then nothing is done
 * [MQTT-3.1.2-24].
 */
export function checkAnswerFits({ channel }: Connection, filters: FilterList): void {
  if (channel.packetBytesMax === Infinity) return;
  // Packet identifier, property length, reason codes.
  const body = 2 + 1 + filters.count();
  if (1 + varintSize(body) + body > channel.packetBytesMax)
    throw new ProtocolError(Reason.packetTooLarge, "the answer is larger than the Maximum Packet Size");
}

/** Returns the reason string for refused subscriptions, if the client may be sent one. */
export function reasonOf({ connection: { channel }, refusedWhy }: FilterRequest): string | undefined {
  // No reason string may make the packet larger than the client takes (3.9.2.1.2).
  return channel.wantsReasons && channel.packetBytesMax === Infinity ? refusedWhy : undefined;
}

/** Returns the subscription that a client asks for; undefined if its filter is malformed. */
export function readSubscription(asked: AskedFilter, { connection, filters }: FilterRequest): Subscription | undefined {
  const { topic, qos, retainHandling } = asked;
  const { bridge } = connection.channel;
  const filter = parseFilter(topic);
  if (filter === undefined) return undefined;
  const noLocal = asked.noLocal ?? bridge;
  const retainAsPublished = asked.retainAsPublished ?? bridge;
  return { filter, qos, noLocal, retainAsPublished, retainHandling, id: filters.subscriptionId };
}

/** Returns the SUBACK return code before MQTT 5, which knows one code for all refusals. */
export function oldCode(code: number): number {
  return code > 2 ? 0x80 : code;
}

/** Returns true if retained messages are sent for a subscription, by its Retain Handling. */
export function wantsRetained({ filter, retainHandling }: Subscription, before: Subscription | undefined): boolean {
  // Shared subscriptions are sent no retained messages (4.8.2).
  if (filter.group !== undefined) return false;
  return retainHandling === 0 || (retainHandling === 1 && before === undefined);
}
