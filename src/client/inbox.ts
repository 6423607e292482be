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
import { SubscribeRefused } from "./errors.ts";
import { Interest, idOf } from "./interest.ts";
import { type Arrival, Receipt } from "./message.ts";
import { checkNames } from "./other-names.ts";
import { Subscription, type SubscriptionOptions } from "./subscription.ts";
import { parsePattern } from "./topic-pattern.ts";
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
  readonly #byId = new Map<number, Interest>();
  /** The interests that match a topic, where the broker does not say it. */
  readonly #byTopic = new Map<string, readonly Interest[]>();
  readonly #topics = new TopicTexts();
  /** QoS 2 messages that the broker may send again. */
  readonly #unreleased = new Map<number, Receipt>();
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

  subscribe<Params, Data>(pattern: string, options: SubscriptionOptions<Data>): Subscription<Params, Data> {
    checkNames(options, "subscription");
    const parsed = parsePattern(pattern);
    const subscription = new Subscription<Params, Data>(this, parsed, options);
    const listener = subscription as unknown as AnySubscription;
    const interest = this.#interests.get(parsed.text) ?? this.#addInterest(parsed.text, parsed.filter);
    interest.listeners.add(listener);
    interest.newest = listener;
    this.#unwanted.delete(parsed.text);
    this.#byTopic.clear();
    this.#claim(interest, listener);
    if (this.#connection !== undefined) this.#ask(interest, this.#connection);
    return subscription;
  }

  /** Resolves when the broker has been told, if there is one; else it is told when there is. */
  async leave(subscription: AnySubscription): Promise<void> {
    const { text } = subscription.pattern;
    const interest = this.#interests.get(text);
    if (interest === undefined || !interest.listeners.delete(subscription) || interest.listeners.size > 0) return;
    this.#interests.delete(text);
    this.#byId.delete(interest.id);
    this.#byTopic.clear();
    this.#unwanted.add(text);
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
    for (const interest of this.#interests.values()) {
      if (connection.sessionPresent) for (const listener of interest.listeners) listener.retract();
      if (connection.sessionPresent && interest.isGranted) continue;
      // What is stored is sent to all again: nobody can say what has changed meanwhile.
      interest.newest = undefined;
      this.#ask(interest, connection);
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
    for (const { listeners } of this.#interests.values()) for (const listener of listeners) listener.fail(error);
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
    if (receipt !== undefined) {
      for (const interest of interests) receipt.left += interest.isFor(arrival) ? 1 : interest.listeners.size;
      if (receipt.left === 0) return this.#keep(arrival);
    }
    for (const interest of interests) interest.deliver(arrival);
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
      expiry: expiresAt === Infinity ? undefined : expiresAt / 1000,
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
    if (subscriptionIds.length === 1) {
      const interest = this.#byId.get(subscriptionIds[0]!);
      return interest === undefined ? none : interest.alone;
    }
    if (subscriptionIds.length > 0) return subscriptionIds.flatMap((id) => this.#byId.get(id) ?? []);
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

  #claim(interest: Interest, listener: AnySubscription): void {
    const isWanted = ({ topic }: Arrival): boolean => filterMatches(interest.filter.levels, topic.split("/"));
    const claimed = this.#unclaimed.filter(isWanted);
    if (claimed.length === 0) return;
    this.#unclaimed = this.#unclaimed.filter((arrival) => !claimed.includes(arrival));
    for (const arrival of claimed) listener.push(arrival);
  }

  #addInterest(text: string, filter: Interest["filter"]): Interest {
    const interest = new Interest(
      idOf(text, (id) => this.#byId.has(id)),
      filter,
    );
    this.#interests.set(text, interest);
    this.#byId.set(interest.id, interest);
    return interest;
  }

  #ask(interest: Interest, connection: MqttConnection): void {
    const { text } = interest.filter;
    const options = interest.wanted();
    const hasIds = connection.version === 5 && connection.granted.subscriptionIdentifiersAvailable !== false;
    const asked = connection.subscribe([text], {
      qos: options.qos ?? 0,
      noLocal: options.noLocal === true,
      retainHandling: retainHandling[options.retained ?? "send"],
      ...(hasIds && { properties: { subscriptionIdentifier: interest.id } }),
    });
    asked.then(
      ([code = Reason.unspecifiedError]) => this.#answered(interest, code),
      // The connection is gone: the next one asks again.
      () => {},
    );
  }

  #answered(interest: Interest, code: number): void {
    const { text } = interest.filter;
    if (code < Reason.unspecifiedError) {
      interest.isGranted = true;
      for (const listener of interest.listeners) listener.granted(code as QoS);
      return;
    }
    if (this.#interests.get(text) !== interest) return;
    this.#interests.delete(text);
    this.#byId.delete(interest.id);
    this.#byTopic.clear();
    for (const listener of interest.listeners) listener.fail(new SubscribeRefused(text, code));
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

const none: readonly Interest[] = [];
