/** A message as an application gets it, and the acknowledgement that is owed for it. */
import type { QoS } from "../mqtt/constants.ts";
import { readSection, type Section } from "../mqtt/publish-section.ts";
import type { MqttConnection } from "./connection.ts";
import { parseJson } from "./standard-schema.ts";
import { type AnyParams, paramsOf, type TopicPattern } from "./topic-pattern.ts";

/**
 * An ack that is owed to the broker until everybody here who has the message is done with it. Acks leave as they are
 * given: MQTT wants them in the order of arrival [MQTT-4.6.0-2], which a loop keeps; but one busy loop would hold up
 * all others if theirs had to wait for it, and brokers do not mind.
 * @internal
 */
export class Receipt {
  readonly packetId: number;
  readonly qos: QoS;
  /** Number of those who have the message and are not done with it. */
  left = 0;
  #connection: MqttConnection;

  constructor(packetId: number, qos: QoS, connection: MqttConnection) {
    this.packetId = packetId;
    this.qos = qos;
    this.#connection = connection;
  }

  /** One of those who have the message is done with it. */
  done(): void {
    this.left--;
    if (this.left <= 0) this.settle();
  }

  settle(): void {
    // A connection that has ended is owed nothing: the broker will send the message again.
    if (this.#connection.whyClosed !== undefined) return;
    this.#connection.acknowledge(this.packetId, this.qos);
  }

  /**
   * Notes that the message has come again over another connection; if everybody is done with it, it is acknowledged
   * there.
   */
  moveTo(connection: MqttConnection): void {
    this.#connection = connection;
    if (this.left <= 0) this.settle();
  }
}

/**
 * One PUBLISH that has come; several messages are made of it where several subscriptions match.
 * @internal
 */
export interface Arrival {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** MQTT 5's properties as bytes; undefined: none. */
  readonly section: Uint8Array | undefined;
  /** Milliseconds until it expires; undefined: it does not. */
  readonly expiryMs: number | undefined;
  /** Undefined: QoS 0. */
  readonly receipt: Receipt | undefined;
}

/** `Params` are the places that the topic pattern names; `Data` is what the schema makes of the payload. */
export class Message<Params = AnyParams, Data = undefined> {
  readonly #arrival: Arrival;
  readonly #pattern: TopicPattern;
  #params: Params | undefined;
  #section: Section | undefined;
  #isAcknowledged = false;
  /** The payload as the schema has it; undefined without a schema. */
  readonly data: Data = undefined as Data;

  /** @internal */
  constructor(arrival: Arrival, pattern: TopicPattern) {
    this.#arrival = arrival;
    this.#pattern = pattern;
  }

  get topic(): string {
    return this.#arrival.topic;
  }

  /** The pattern of the subscription that it has come for: the first that matches, where there are several. */
  get pattern(): string {
    return this.#pattern.given;
  }

  /**
   * Others share the subscription: one of them gets what is not acknowledged here.
   * @internal
   */
  get isShared(): boolean {
    return this.#pattern.filter.group !== undefined;
  }

  get payload(): Uint8Array {
    return this.#arrival.payload;
  }

  get qos(): QoS {
    return this.#arrival.qos;
  }

  /** True if the message was stored on its topic before this subscription began. */
  get retain(): boolean {
    return this.#arrival.retain;
  }

  /** The broker may have sent it before. */
  get dup(): boolean {
    return this.#arrival.dup;
  }

  /** The texts in the named places of the pattern. */
  get params(): Params {
    this.#params ??= paramsOf(this.#pattern, this.topic) as Params;
    return this.#params;
  }

  /** The payload as UTF-8; bytes that are none become U+FFFD. */
  get text(): string {
    return lenientDecoder.decode(this.payload);
  }

  /** The payload as JSON. Throws `ValidationFailed`. */
  json(): unknown {
    return parseJson(this.text, `the message on ${this.topic}`);
  }

  /** Milliseconds until it expires, as the broker said when it sent it; undefined: it does not. */
  get expiryMs(): number | undefined {
    return this.#arrival.expiryMs;
  }

  /** @deprecated Seconds: it is called `expiryMs`. */
  get expiry(): number | undefined {
    return this.expiryMs === undefined ? undefined : this.expiryMs / 1000;
  }

  get contentType(): string | undefined {
    return this.#properties.contentType;
  }

  /** Where an answer is awaited: see `client.respond`. */
  get responseTopic(): string | undefined {
    return this.#properties.responseTopic;
  }

  get correlationData(): Uint8Array | undefined {
    return this.#properties.correlationData;
  }

  /** Names may stand more than once. */
  get userProperties(): readonly (readonly [name: string, value: string])[] {
    return this.#properties.userProperties;
  }

  /** The publisher says that the payload is UTF-8. */
  get isText(): boolean {
    return this.#properties.isText;
  }

  get #properties(): Section {
    this.#section ??= readSection(this.#arrival.section);
    return this.#section;
  }

  /**
   * Done with it: the broker may forget it. To be called where the subscription says `ack: "manual"`; again, it does
   * nothing.
   */
  ack(): void {
    if (this.#isAcknowledged) return;
    this.#isAcknowledged = true;
    this.#arrival.receipt?.done();
  }
}

const lenientDecoder = new TextDecoder();
