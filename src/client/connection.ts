/**
 * One connection to a broker, from CONNECT to its end; `client.ts` makes a client that outlives it. Promises mean what
 * MQTT means: `publish` resolves when the broker has taken the message over (PUBACK, or PUBREC and PUBCOMP),
 * `subscribe` when it has said SUBACK.
 */

import type {
  IConnackPacket,
  IDisconnectPacket,
  IPublishPacket,
  ISubackPacket,
  ISubscribePacket,
  IUnsubscribePacket,
} from "mqtt-packet";
import { decodeUtf8, ownBytes } from "../base/bytes.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, OperatingError, ProtocolError } from "../base/errors.ts";
import { remainingLengthMax } from "../base/limits.ts";
import { ackReason, ackText, parseAck, writeAck } from "../mqtt/acks.ts";
import { PacketType, type ProtocolVersion } from "../mqtt/constants.ts";
import { decodeFromServer, encodeControl, type Packet } from "../mqtt/control.ts";
import { Framer } from "../mqtt/framer.ts";
import { Envelope, Publish, parsePublish, writePublish } from "../mqtt/publish.ts";
import { describeReason, Reason } from "../mqtt/reason.ts";
import type { Sink } from "../mqtt/sink.ts";
import type { Transport, TransportEvents } from "../net/transport.ts";
import { Turn, Writer } from "../net/writer.ts";
import { checkText } from "./checks.ts";
import { ClientSession, type Unacknowledged } from "./client-session.ts";
import { type ClosingReason, refusals } from "./closing-reason.ts";
import { connectBytesOf } from "./connect-packet.ts";
import type { ConnectionOptions, PublishOptions, SubscribeOptions } from "./connection-options.ts";
import { publishOf } from "./publish-properties.ts";

/** The events by which a transport drives its connection. */
export function eventsOf(connection: MqttConnection): TransportEvents<MqttConnection> {
  return {
    opened: (transport) => connection.opened(transport),
    received: (_, bytes) => connection.received(bytes),
    drained: () => connection.drained(),
    closed: (_, error) => connection.closed(error ?? "the broker closed the connection"),
  };
}

export class MqttConnection {
  readonly ready: Promise<void>;
  sessionPresent = false;
  /** The broker's limits and abilities (CONNACK's properties); empty before MQTT 5. */
  granted: NonNullable<IConnackPacket["properties"]> = {};
  /** Undefined: the broker has not said anything of that kind. */
  closingReason: ClosingReason | undefined;
  readonly #options: ConnectionOptions<MqttConnection>;
  readonly version: ProtocolVersion;
  readonly #session: ClientSession;
  readonly #framer = new Framer(remainingLengthMax + 5);
  readonly #publish = new Publish();
  readonly #envelope = new Envelope();
  readonly #answers = new Map<number, Waiting<readonly number[]>>();
  readonly #acks = new Map<number, Waiting<number>>();
  #transport: Transport | undefined;
  #writer: Writer | undefined;
  #settleReady: Waiting<void> | undefined;
  /**
   * Pings that wait for their answers. Our own PINGREQs are not among them: an answer to one of them comes first, if
   * there is one under way.
   */
  #pings: (Waiting<void> | undefined)[] = [];
  #ping: ReturnType<typeof setInterval> | undefined;
  /** True if something has come since the last ping. */
  #hasReceived = true;
  #isPaused = false;
  #why: string | undefined;
  readonly #connect: Uint8Array;

  /** Throws a `TypeError` for options that make no CONNECT. */
  constructor(options: ConnectionOptions<MqttConnection>) {
    this.#options = options;
    this.version = options.version ?? 5;
    this.#connect = connectBytesOf(options, this.version);
    this.#envelope.version5 = this.version === 5;
    this.#session = options.session ?? new ClientSession();
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    this.ready.catch(() => {});
  }

  /** Undefined: it is not closed. */
  get whyClosed(): string | undefined {
    return this.#why;
  }

  /** The other end, as people read it. */
  get remote(): string {
    return this.#transport?.remote ?? "nobody";
  }

  /** Bytes that the transport has not taken. */
  get unsent(): number {
    return this.#writer?.unsent ?? 0;
  }

  /** The way out for acks that somebody else owes. */
  get sink(): Sink {
    return this.#writer!;
  }

  /**
   * Resolves with the broker's reason code when the message is settled; 0x80 and above mean that it was refused.
   * Rejects with `OperatingError` (ECLOSED). Throws a `TypeError` for what no packet can carry.
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions = {}): Promise<number> {
    const message = publishOf(topic, payload, options);
    if (this.#why !== undefined) return Promise.reject(new OperatingError("ECLOSED", this.#why));
    if (message.qos === 0) {
      this.write(message, 0, false);
      return Promise.resolve(Reason.success);
    }
    const packetId = this.#session.add({ publish: message, released: false, reason: Reason.success });
    this.write(message, packetId, false);
    return this.#wait(this.#acks, packetId);
  }

  /** Writes a PUBLISH; what becomes of it the session is told. Its bytes must not change before the turn's end. */
  write(publish: Publish, packetId: number, dup: boolean): void {
    const envelope = this.#envelope;
    envelope.qos = publish.qos;
    envelope.retain = publish.retain;
    envelope.dup = dup;
    envelope.packetId = packetId;
    writePublish(this.#writer!, publish, envelope, publish.expiresAt === Infinity ? 0 : systemClock.wall());
  }

  /** Stops reading until `resume`: the broker feels it. */
  pause(): void {
    this.#isPaused = true;
    this.#transport?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    // What it has said meanwhile has not been read.
    this.#hasReceived = true;
    this.#transport?.resume();
  }

  /**
   * Resolves when the broker has answered everything that it could answer at once. Rejects with `OperatingError`
   * (ECLOSED).
   */
  ping(): Promise<void> {
    if (this.#why !== undefined) return Promise.reject(new OperatingError("ECLOSED", this.#why));
    this.#send({ cmd: "pingreq" } as Packet);
    return new Promise((resolve, reject) => this.#pings.push({ resolve, reject }));
  }

  /**
   * Resolves with the granted QoS, or a reason of 0x80 and above, of each filter: 0x95 for one that is larger than what
   * the broker takes. Rejects with a `TypeError` if a filter is longer than what a packet can carry.
   */
  subscribe(filters: readonly string[], options: SubscribeOptions = {}): Promise<readonly number[]> {
    const {
      qos = 0,
      noLocal: nl = false,
      retainAsPublished: rap = false,
      retainHandling: rh = 0,
      properties,
    } = options;
    const one = (topic: string) => (this.version === 5 ? { topic, qos, nl, rap, rh } : { topic, qos });
    return this.#ask(filters, (some, messageId) => {
      const subscriptions = some.map(one);
      return { cmd: "subscribe", messageId, subscriptions, ...(properties && { properties }) } as ISubscribePacket;
    });
  }

  unsubscribe(filters: readonly string[], properties?: IUnsubscribePacket["properties"]): Promise<readonly number[]> {
    return this.#ask(filters, (some, messageId) => {
      const unsubscriptions = [...some];
      return { cmd: "unsubscribe", messageId, unsubscriptions, ...(properties && { properties }) } as Packet;
    });
  }

  /** Leaves properly: no will is published, unless the reason is 0x04 (MQTT 5). */
  disconnect(properties?: IDisconnectPacket["properties"], reasonCode: number = Reason.success): void {
    if (this.#why !== undefined) return;
    const isPlain = properties === undefined && reasonCode === Reason.success;
    this.#send({ cmd: "disconnect", ...(isPlain ? {} : { reasonCode, properties }) } as Packet);
    this.#writer!.flush();
    this.#transport!.close();
    this.closed("disconnected");
  }

  /** Cuts the connection, as a crash would. */
  abort(why = "aborted"): void {
    this.#transport?.abort();
    this.closed(why);
  }

  opened(transport: Transport): MqttConnection {
    this.#transport = transport;
    if (this.#why !== undefined) {
      transport.abort();
      return this;
    }
    this.#writer = new Writer(transport, this.#options.turn ?? new Turn((flush) => void setImmediate(flush)));
    this.#writer.append(this.#connect, 0, this.#connect.length);
    return this;
  }

  received(bytes: Uint8Array): void {
    this.#hasReceived = true;
    try {
      this.#framer.feed(bytes);
      while (this.#why === undefined && this.#framer.next()) this.#receive();
      if (!this.#framer.pending) this.#framer.release();
    } catch (error) {
      // Before the transport says that it is gone: this is why.
      this.closed(messageOf(error));
      this.#transport?.abort();
    }
  }

  drained(): void {
    this.#writer?.drained();
    this.#options.onDrained?.();
  }

  closed(why: string): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    clearInterval(this.#ping);
    this.#session.asking.clear();
    this.#writer?.close();
    const error = new OperatingError("ECLOSED", why);
    this.#settleReady?.reject(error);
    for (const waiting of [...this.#acks.values(), ...this.#answers.values(), ...this.#pings]) waiting?.reject(error);
    this.#options.onClose?.(why);
  }

  #receive(): void {
    const { bytes, start, body, end } = this.#framer;
    const type = bytes[start]! >> 4;
    if (type === PacketType.publish) return this.#receivePublish(bytes[start]!);
    if (type >= PacketType.puback && type <= PacketType.pubcomp) {
      const packetId = parseAck(bytes, body, end, { type, version: this.version });
      return this.#receiveAck(type, packetId, ackReason(bytes, body, end), ackText(bytes, body, end));
    }
    const packet = decodeFromServer(this.#framer, this.version);
    switch (packet.cmd) {
      case "connack":
        return this.#receiveConnack(packet);
      case "suback": {
        const granted = (packet as ISubackPacket).granted as number[];
        this.#options.onGranted?.(granted);
        return this.#answer(packet.messageId!, granted);
      }
      case "unsuback":
        return this.#answer(packet.messageId!, (packet as unknown as { granted?: number[] }).granted ?? []);
      case "pingresp":
        return this.#pings.shift()?.resolve();
      case "disconnect": {
        this.#disconnected(packet.reasonCode ?? 0, packet.properties);
        const { reason, text } = this.closingReason!;
        this.#transport!.close();
        return this.closed(
          `the broker closed the connection: ${describeReason(reason)}${text === undefined ? "" : `: ${text}`}`,
        );
      }
    }
  }

  #receiveConnack(packet: IConnackPacket): void {
    const code = this.version === 5 ? (packet.reasonCode ?? 0) : (packet.returnCode ?? 0);
    if (code !== 0) {
      // Brokers that do not know MQTT 5 say so in words of before.
      const refusal = code < Reason.unspecifiedError ? refusals[code] : undefined;
      this.#disconnected(refusal?.reason ?? Math.max(code, Reason.unspecifiedError), packet.properties);
      const words = refusal?.words ?? (this.version === 5 ? describeReason(code) : `return code ${code}`);
      const kind = this.closingReason!.reason === Reason.unsupportedProtocolVersion ? "EVERSION" : "EREFUSED";
      this.#settleReady?.reject(new OperatingError(kind, `the broker refused the connection: ${words}`));
      this.#transport!.close();
      return this.closed("refused");
    }
    // [MQTT-3.2.2-4]
    if (packet.sessionPresent && this.#options.clean !== false)
      throw new ProtocolError(Reason.protocolError, "the broker goes on with a session that was to begin anew");
    this.sessionPresent = packet.sessionPresent;
    this.granted = packet.properties ?? {};
    if (!packet.sessionPresent) this.#session.brokerForgot();
    const seconds = packet.properties?.serverKeepAlive ?? this.#options.keepAlive ?? 60;
    if (seconds > 0) this.#ping = setInterval(() => this.#sendPing(), seconds * 1000);
    for (const [packetId, unacknowledged] of this.#session.outgoing) this.#resend(packetId, unacknowledged);
    this.#options.onReady?.(this);
    this.#settleReady?.resolve();
  }

  #disconnected(reason: number, said: { reasonString?: string; serverReference?: string } | undefined): void {
    this.closingReason = { reason, text: said?.reasonString, serverReference: said?.serverReference };
  }

  #sendPing(): void {
    if (!this.#hasReceived && !this.#isPaused) return this.abort("the broker does not answer");
    this.#hasReceived = false;
    this.#pings.push(undefined);
    this.#send({ cmd: "pingreq" } as Packet);
  }

  #resend(packetId: number, { publish, released }: Unacknowledged): void {
    if (released) writeAck(this.#writer!, PacketType.pubrel, packetId, 0);
    else this.write(publish, packetId, true);
    this.#wait(this.#acks, packetId).catch(() => {});
  }

  #receivePublish(firstByte: number): void {
    const { bytes, body, end } = this.#framer;
    const publish = this.#publish;
    parsePublish(publish, bytes, firstByte, body, end, this.version);
    const { qos, packetId, retain, dup } = publish;
    const isRepeat = qos === 2 && this.#session.incoming.has(packetId);
    if (qos === 2) this.#session.incoming.add(packetId);
    if (this.#options.onPublish !== undefined) return this.#options.onPublish(publish, isRepeat);
    if (!isRepeat) {
      const topic = decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd);
      const payload = ownBytes(publish.payloadBytes, publish.payloadStart, publish.payloadEnd);
      // What is taken out of the section as it is read counts as well.
      const hasProperties = publish.propertiesEnd > publish.propertiesStart || !publish.verbatim;
      const properties = hasProperties
        ? (decodeFromServer(this.#framer, this.version) as IPublishPacket).properties
        : undefined;
      this.#options.onMessage?.({ topic, payload, qos, retain, dup, packetId, properties });
    }
    if (qos > 0) writeAck(this.#writer!, qos === 1 ? PacketType.puback : PacketType.pubrec, packetId, 0);
  }

  #receiveAck(type: number, packetId: number, reason: number, text: string | undefined): void {
    if (type === PacketType.pubrel) {
      this.#session.incoming.delete(packetId);
      this.#options.onReleased?.(packetId);
      return writeAck(this.#writer!, PacketType.pubcomp, packetId, 0);
    }
    if (type === PacketType.pubrec && reason < Reason.unspecifiedError) {
      const unacknowledged = this.#session.outgoing.get(packetId);
      if (unacknowledged !== undefined) Object.assign(unacknowledged, { released: true, reason });
      return writeAck(this.#writer!, PacketType.pubrel, packetId, 0);
    }
    // After PUBREC the message is taken over, whatever PUBCOMP says: 0x92 only means that it was said before.
    const verdict = type === PacketType.pubcomp ? (this.#session.outgoing.get(packetId)?.reason ?? 0) : reason;
    this.#session.settle(packetId, verdict, text);
    this.#acks.get(packetId)?.resolve(verdict);
    this.#acks.delete(packetId);
  }

  /** Asks for all filters at once, or in as many packets as it takes for the broker to take each [MQTT-3.2.2-15]. */
  async #ask(
    filters: readonly string[],
    packetOf: (filters: readonly string[], messageId: number) => Packet,
  ): Promise<readonly number[]> {
    for (const filter of filters) checkText("a topic filter", filter);
    const messageId = this.#session.takeId();
    const bytes = encodeControl(packetOf(filters, messageId), this.version);
    if (bytes.length > (this.granted.maximumPacketSize ?? Infinity)) {
      if (filters.length === 1) return [Reason.packetTooLarge];
      const middle = filters.length >> 1;
      const halves = [filters.slice(0, middle), filters.slice(middle)];
      return (await Promise.all(halves.map((half) => this.#ask(half, packetOf)))).flat();
    }
    this.#writer!.append(bytes, 0, bytes.length);
    this.#session.asking.add(messageId);
    return this.#wait(this.#answers, messageId);
  }

  #answer(packetId: number, codes: readonly number[]): void {
    this.#session.asking.delete(packetId);
    this.#answers.get(packetId)?.resolve(codes);
    this.#answers.delete(packetId);
  }

  #wait<Value>(where: Map<number, Waiting<Value>>, packetId: number): Promise<Value> {
    if (this.#why !== undefined) return Promise.reject(new OperatingError("ECLOSED", this.#why));
    return new Promise((resolve, reject) => {
      where.set(packetId, { resolve, reject });
    });
  }

  #send(packet: Packet): void {
    const bytes = encodeControl(packet, this.version);
    this.#writer!.append(bytes, 0, bytes.length);
  }
}

interface Waiting<Value> {
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
}
