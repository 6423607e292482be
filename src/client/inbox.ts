/**
 * Incoming messages: which filters the broker has been asked for, who of the application listens to each, and the way
 * of a message to them. Filters are asked for again when a connection begins without its session.
 */
import { ownBytes } from "../base/bytes.ts";
import { topicInterestsMax } from "../base/client-limits.ts";
import type { QoS } from "../mqtt/constants.ts";
import type { Publish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import { filterMatches } from "../mqtt/topic.ts";
import type { MqttConnection } from "./connection.ts";
import type { SubscribeOptions } from "./connection-options.ts";
import { apart } from "./copies.ts";
import { SubscribeRefused } from "./errors.ts";
import { Batch, Interest, idOf, keyOf } from "./interest.ts";
import { type Arrival, Receipt } from "./message.ts";
import { checkNames } from "./other-names.ts";
import { PacketTable } from "./packet-table.ts";
import { Subscription, type SubscriptionOptions } from "./subscription.ts";
import { parsePatterns, type TopicPattern } from "./topic-pattern.ts";
import { TopicTexts } from "./topic-texts.ts";

type AnySubscription = Subscription<never, never>;

const retainHandling = { send: 0, new: 1, never: 2 } as const;

/** Calls a callback of the application's, by its name: what it throws is the end of nothing. */
type CallBack = (name: string, run: () => unknown) => void;

export class Inbox {
  /** Messages that have come. */
  received = 0;
  readonly callBack: CallBack;
  readonly #interests = new Map<string, Interest>();
  readonly #byId = new Map<number, Batch>();
  /** The interests that match a topic, where the broker does not say it. */
  readonly #byTopic = new Map<string, readonly Interest[]>();
  readonly #topics = new TopicTexts();
  /** QoS 2 messages that the broker may send again. */
  readonly #unreleased = new PacketTable<Receipt>();
  /** Messages of a session from before this process that nobody has asked for yet: they wait, unacknowledged. */
  #unclaimed: Arrival[] = [];
  /** Filters that the broker's session has and nobody listens to any more. */
  readonly #unwanted = new Set<string>();
  #connection: MqttConnection | undefined;

  constructor(callBack: CallBack) {
    this.callBack = callBack;
  }

  /** Messages of this client's session that no subscription has asked for. */
  get unclaimed(): number {
    return this.#unclaimed.length;
  }

  /** Throws a `TypeError` for what is no pattern. */
  subscribe<Params, Data>(
    given: string | readonly string[],
    options: SubscriptionOptions<Data>,
  ): Subscription<Params, Data> {
    checkNames(options, "subscription");
    const patterns = parsePatterns(given);
    const subscription = new Subscription<Params, Data>(this, patterns, options);
    const listener = subscription as unknown as AnySubscription;
    const interests = [...new Set(patterns.map((pattern) => this.#interestIn(pattern)))];
    for (const interest of interests) {
      interest.listeners.add(listener);
      interest.newest = listener;
      this.#unwanted.delete(interest.filter.text);
    }
    this.#byTopic.clear();
    const batches = apart(interests);
    for (const batch of batches) this.#putTogether(batch);
    this.#claim(interests, listener);
    if (this.#connection !== undefined) for (const batch of batches) this.#ask(batch, this.#connection);
    return subscription;
  }

  /** Resolves when the broker has been told, if there is one; else it is told when there is. */
  async leave(subscription: AnySubscription): Promise<void> {
    for (const { text } of subscription.patterns) {
      const interest = this.#interests.get(text);
      if (interest === undefined || !interest.listeners.delete(subscription) || interest.listeners.size > 0) continue;
      this.#forget(interest);
      this.#unwanted.add(text);
    }
    await this.#unsubscribeUnwanted();
  }

  /** A connection has begun; what comes in over it is handed to `receive`. */
  connected(connection: MqttConnection): void {
    this.#connection = connection;
    if (!connection.sessionPresent) {
      this.#unreleased.clear();
      this.#unwanted.clear();
      this.#unclaimed = [];
    }
    const isKept = connection.sessionPresent;
    if (isKept) for (const listener of this.#listeners()) listener.retract();
    for (const { interests } of this.#byId.values()) {
      const wanted = [...interests].filter(({ isGranted }) => !(isKept && isGranted));
      // What is stored is sent to all again: nobody can say what has changed meanwhile.
      for (const interest of wanted) interest.newest = undefined;
      if (wanted.length > 0) this.#ask(wanted, connection);
    }
    void this.#unsubscribeUnwanted();
  }

  /** Unacknowledged messages will come again. */
  disconnected(): void {
    this.#connection = undefined;
    // Those of QoS 2 only their packet ids.
    this.#unclaimed = this.#unclaimed.filter(({ qos }) => qos === 2);
  }

  /** The client has ended. */
  close(error: unknown): void {
    for (const listener of this.#listeners()) listener.fail(error);
    this.#interests.clear();
    this.#byId.clear();
  }

  released(packetId: number): void {
    this.#unreleased.delete(packetId);
  }

  receive(publish: Publish, isRepeat: boolean): void {
    if (isRepeat) return this.#receiveAgain(publish);
    this.received++;
    const topic = this.#topics.of(publish.topicBytes, publish.topicStart, publish.topicEnd);
    const arrival = this.#arrivalOf(publish, topic);
    const { receipt } = arrival;
    const interests = this.#interestsOf(publish, topic);
    if (interests.length > 1) return this.#deliverOnce(arrival, interests);
    if (receipt !== undefined) {
      for (const interest of interests) receipt.left += interest.isFor(arrival) ? 1 : interest.listeners.size;
      if (receipt.left === 0) return this.#keep(arrival);
    }
    for (const interest of interests) interest.deliver(arrival);
  }

  /** Hands a message that interests several times to each listener once. */
  #deliverOnce(arrival: Arrival, interests: readonly Interest[]): void {
    const receivers = new Set(interests.flatMap((interest) => [...interest.receivers(arrival)]));
    if (arrival.receipt !== undefined) {
      arrival.receipt.left = receivers.size;
      if (receivers.size === 0) return this.#keep(arrival);
    }
    for (const receiver of receivers) receiver.push(arrival, interests);
  }

  #listeners(): Set<AnySubscription> {
    return new Set([...this.#interests.values()].flatMap(({ listeners }) => [...listeners]));
  }

  #arrivalOf(publish: Publish, topic: string): Arrival {
    const { qos, packetId, propertiesStart, propertiesEnd, expiresAt } = publish;
    const payload = ownBytes(publish.payloadBytes, publish.payloadStart, publish.payloadEnd);
    return {
      topic,
      payload,
      qos,
      retain: publish.retain,
      dup: publish.dup,
      section:
        propertiesStart === propertiesEnd ? undefined : publish.propertyBytes.slice(propertiesStart, propertiesEnd),
      // It is an interval as long as nobody has said what time it is.
      expiryMs: expiresAt === Infinity ? undefined : expiresAt,
      receipt: qos === 0 ? undefined : this.#owe(packetId, qos),
    };
  }

  #owe(packetId: number, qos: QoS): Receipt {
    const receipt = new Receipt(packetId, qos, this.#connection!);
    if (qos === 2) this.#unreleased.set(packetId, receipt);
    return receipt;
  }

  /** Moves a receipt to this connection: it is acknowledged here when its message is done with, or now if it is. */
  #receiveAgain({ packetId, qos }: Publish): void {
    const receipt = this.#unreleased.get(packetId) ?? this.#owe(packetId, qos);
    receipt.moveTo(this.#connection!);
  }

  #interestsOf({ subscriptionIds }: Publish, topic: string): readonly Interest[] {
    if (subscriptionIds.length === 0) return this.#matching(topic);
    const batches = subscriptionIds.map((id) => this.#byId.get(id));
    // An identifier from before its filters were asked for together with others: the topic says what it is for.
    if (batches.includes(undefined)) return this.#matching(topic);
    const [first] = batches;
    if (batches.length === 1 && first!.interests.size === 1) for (const { alone } of first!.interests) return alone;
    return this.#matching(topic).filter(({ batch }) => batches.includes(batch));
  }

  /** The interests whose filters match. */
  #matching(topic: string): readonly Interest[] {
    let interests = this.#byTopic.get(topic);
    if (interests === undefined) {
      const levels = topic.split("/");
      interests = [...this.#interests.values()].filter(({ filter }) => filterMatches(filter.levels, levels));
      if (this.#byTopic.size >= topicInterestsMax) this.#byTopic.clear();
      this.#byTopic.set(topic, interests);
    }
    return interests;
  }

  /** Keeps a message that nobody listens for: the client may have just begun again, and be about to ask for it. */
  #keep(arrival: Arrival): void {
    const receipt = arrival.receipt!;
    if (!this.#connection!.sessionPresent) return receipt.settle();
    receipt.left = 1;
    this.#unclaimed.push(arrival);
  }

  #claim(interests: readonly Interest[], listener: AnySubscription): void {
    const isWanted = ({ topic }: Arrival): boolean =>
      interests.some(({ filter }) => filterMatches(filter.levels, topic.split("/")));
    const claimed = this.#unclaimed.filter(isWanted);
    if (claimed.length === 0) return;
    this.#unclaimed = this.#unclaimed.filter((arrival) => !claimed.includes(arrival));
    for (const arrival of claimed) listener.push(arrival, interests);
  }

  #interestIn({ text, filter }: TopicPattern): Interest {
    const interest = this.#interests.get(text) ?? new Interest(filter);
    this.#interests.set(text, interest);
    return interest;
  }

  /** Has filters asked for together from now on, under one identifier. */
  #putTogether(interests: readonly Interest[]): void {
    const key = keyOf(interests.map(({ filter }) => filter.text));
    const id = idOf(key, (id) => (this.#byId.get(id) ?? { key }).key !== key);
    const batch = this.#byId.get(id) ?? new Batch(id, key);
    for (const interest of interests) {
      if (interest.batch !== batch) this.#leaveBatch(interest);
      interest.batch = batch;
      batch.interests.add(interest);
    }
    this.#byId.set(id, batch);
  }

  #leaveBatch(interest: Interest): void {
    const { batch } = interest;
    batch?.interests.delete(interest);
    if (batch?.interests.size === 0) this.#byId.delete(batch.id);
  }

  #forget(interest: Interest): void {
    this.#interests.delete(interest.filter.text);
    this.#leaveBatch(interest);
    this.#byTopic.clear();
  }

  /** Asks for filters of one batch: in one packet, unless some listener wants one of them in another way. */
  #ask(interests: readonly Interest[], connection: MqttConnection): void {
    const hasIds = connection.version === 5 && connection.granted.subscriptionIdentifiersAvailable !== false;
    const { id } = interests[0]!.batch!;
    for (const interest of interests) for (const listener of interest.askers()) listener.asked();
    for (const alike of alikeOf(interests)) {
      const options = { ...wantedOf(alike[0]!), ...(hasIds && { properties: { subscriptionIdentifier: id } }) };
      const filters = alike.map(({ filter }) => filter.text);
      connection.subscribe(filters, options).then(
        (codes) => alike.forEach((interest, at) => void this.#answered(interest, codes[at] ?? Reason.unspecifiedError)),
        // The connection is gone: the next one asks again.
        () => {},
      );
    }
  }

  #answered(interest: Interest, code: number): void {
    const { text } = interest.filter;
    if (code < Reason.unspecifiedError) {
      interest.isGranted = true;
      for (const listener of interest.listeners) listener.granted(text, code as QoS);
      return;
    }
    if (this.#interests.get(text) !== interest) return;
    this.#forget(interest);
    for (const listener of interest.listeners) {
      listener.fail(new SubscribeRefused(text, code));
      // What it has besides is of no use to it.
      void this.leave(listener);
    }
  }

  async #unsubscribeUnwanted(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || this.#unwanted.size === 0) return;
    const filters = [...this.#unwanted];
    this.#unwanted.clear();
    try {
      await connection.unsubscribe(filters);
    } catch {
      // The connection is gone; should the session outlive it, the next one tells it.
      for (const filter of filters) if (!this.#interests.has(filter)) this.#unwanted.add(filter);
    }
  }
}

/** The interests that are asked for in the same way, together. */
function alikeOf(interests: readonly Interest[]): Iterable<readonly Interest[]> {
  const groups = new Map<string, Interest[]>();
  for (const interest of interests) {
    const way = JSON.stringify(wantedOf(interest));
    groups.set(way, [...(groups.get(way) ?? []), interest]);
  }
  return groups.values();
}

function wantedOf(interest: Interest): SubscribeOptions {
  const { qos = 0, noLocal = false, retained = "send" } = interest.wanted();
  return { qos, noLocal, retainHandling: retainHandling[retained] };
}
