/**
 * One connection to a broker, from CONNECT to its end; `client.ts` makes a client that outlives it. Promises mean what
 * MQTT means: `publish` resolves when the broker has taken the message over (PUBACK, or PUBREC and PUBCOMP),
 * `subscribe` when it has said SUBACK.
 */

import type { IAuthPacket, IConnackPacket, IDisconnectPacket, ISubackPacket, IUnsubscribePacket } from "mqtt-packet";
import { systemClock } from "../base/clock.ts";
import { messageOf, OperatingError, ProtocolError } from "../base/errors.ts";
import { remainingLengthMax } from "../base/limits.ts";
import { ackReason, ackText, parseAck, writeAck } from "../mqtt/acks.ts";
import { PacketType, type ProtocolVersion, type QoS } from "../mqtt/constants.ts";
import { decodeFromServer, encodeControl, type Packet } from "../mqtt/control.ts";
import { Framer } from "../mqtt/framer.ts";
import { Envelope, Publish, parsePublish, writePublish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Sink } from "../mqtt/sink.ts";
import type { Transport, TransportEvents } from "../net/transport.ts";
import { Turn, Writer } from "../net/writer.ts";
import { ClientSession, type Unacknowledged } from "./client-session.ts";
import { type ClosingReason, inWords, refusalOf, saidBy } from "./closing-reason.ts";
import { connectBytesOf } from "./connect-packet.ts";
import type { ConnectionOptions, PublishOptions, SubscribeOptions } from "./connection-options.ts";
import type { Deferred } from "./deadlines.ts";
import { FilterRequests } from "./filter-requests.ts";
import { Flight, packetBytesOf } from "./flight.ts";
import { answerAuth } from "./login.ts";
import { Pings } from "./pings.ts";
import { publishOf } from "./publish-properties.ts";
import { messageOf as receivedMessage } from "./received-message.ts";

/** The events by which a transport drives its connection. */
export const eventsOf = (connection: MqttConnection): TransportEvents<MqttConnection> => ({
  opened: (transport) => connection.opened(transport),
  received: (_, bytes) => connection.received(bytes),
  drained: () => connection.drained(),
  closed: (_, error) => connection.closed(error ?? "the broker closed the connection"),
});

type Waiting<Value> = Pick<Deferred<Value>, "resolve" | "reject">;

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
  readonly #filters: FilterRequests;
  readonly #acks = new Map<Unacknowledged, Waiting<number>>();
  readonly #flight: Flight;
  /** True if the connection ends since we want it to. */
  #isLeaving = false;
  #transport: Transport | undefined;
  #writer: Writer | undefined;
  #settleReady: Waiting<void> | undefined;
  readonly #pings = new Pings(() => this.#send({ cmd: "pingreq" } as Packet));
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
    this.#flight = new Flight({
      session: this.#session,
      isMute: this.version < 5,
      packetBytesMax: this.#packetBytesMax,
      write: (packetId, unacknowledged) => this.#writeUnacknowledged(packetId, unacknowledged),
      refuse: (packetId, reason, why) => void this.#settle(packetId, reason, why),
    });
    this.#filters = new FilterRequests({
      session: this.#session,
      version: this.version,
      packetBytesMax: this.#packetBytesMax,
      write: (packet) => this.#append(packet),
    });
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

  bytesReceived = 0;

  /** Milliseconds from the last ping to its answer; undefined: there was none. */
  get roundTripMs(): number | undefined {
    return this.#pings.roundTripMs;
  }

  /** Bytes that the transport has taken. */
  get bytesSent(): number {
    return this.#writer?.taken ?? 0;
  }

  /** Bytes that the transport has not taken. */
  get unsent(): number {
    return this.#writer?.unsent ?? 0;
  }

  /** The way out for acks that somebody else owes. */
  get sink(): Sink {
    return this.#writer!;
  }

  /** Acknowledges a message of QoS 1 or 2 that has been taken. */
  acknowledge(packetId: number, qos: QoS): void {
    if (qos === 1) this.#acknowledge(PacketType.puback, packetId);
    else this.#session.received(packetId, () => this.#acknowledge(PacketType.pubrec, packetId));
  }

  /** Sends a publish that is among the session's outgoing ones. */
  send(packetId: number, unacknowledged: Unacknowledged): void {
    this.#flight.push(packetId, unacknowledged);
  }

  /**
   * Resolves with the broker's reason code when the message is settled; 0x80 and above mean that it was refused.
   * Rejects with `OperatingError` (ECLOSED). Throws a `TypeError` for what no packet can carry.
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions = {}): Promise<number> {
    const message = publishOf(topic, payload, options);
    if (this.#why !== undefined) return Promise.reject(new OperatingError("ECLOSED", this.#why));
    if (message.qos === 0) {
      const bytesMax = this.#packetBytesMax();
      if (packetBytesOf(message, bytesMax) > bytesMax) return Promise.resolve(Reason.packetTooLarge);
      this.write(message, 0, false);
      return Promise.resolve(Reason.success);
    }
    return new Promise((resolve, reject) => {
      this.deliver({ publish: message, released: false, reason: Reason.success }, { resolve, reject });
    });
  }

  /** Sends a publish of QoS 1 or 2; what becomes of it the session is told. */
  deliver(unacknowledged: Unacknowledged, waiting?: Waiting<number>): void {
    if (waiting !== undefined) this.#acks.set(unacknowledged, waiting);
    this.#flight.add(unacknowledged);
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
    return this.#pings.ask();
  }

  /**
   * Resolves with the granted QoS, or a reason of 0x80 and above, of each filter: 0x95 for one that is larger than what
   * the broker takes. Rejects with a `TypeError` if a filter is longer than what a packet can carry.
   */
  subscribe(filters: readonly string[], options: SubscribeOptions = {}): Promise<readonly number[]> {
    return this.#filters.subscribe(filters, options);
  }

  unsubscribe(filters: readonly string[], properties?: IUnsubscribePacket["properties"]): Promise<readonly number[]> {
    return this.#filters.unsubscribe(filters, properties);
  }

  /** Leaves properly: no will is published, unless the reason is 0x04 (MQTT 5). */
  disconnect(properties?: IDisconnectPacket["properties"], reasonCode: number = Reason.success): void {
    if (this.#why !== undefined) return;
    const isPlain = properties === undefined && reasonCode === Reason.success;
    this.#send({ cmd: "disconnect", ...(isPlain ? {} : { reasonCode, properties }) } as Packet);
    this.#writer!.flush();
    this.#transport!.close();
    this.#isLeaving = true;
    this.closed("disconnected");
  }

  /** Cuts the connection, as a crash would. */
  abort(why = "aborted"): void {
    this.#isLeaving = true;
    this.closed(why); // before the transport says that it is gone
    this.#transport?.abort();
  }

  opened(transport: Transport): MqttConnection {
    this.#transport = transport;
    if (this.#why !== undefined) {
      transport.abort();
      return this;
    }
    this.#writer = new Writer(transport, this.#options.turn ?? new Turn((flush) => void setImmediate(flush)), () =>
      this.drained(),
    );
    this.#append(this.#connect);
    return this;
  }

  received(bytes: Uint8Array): void {
    this.#hasReceived = true;
    this.bytesReceived += bytes.length;
    try {
      this.#framer.feed(bytes);
      while (this.#why === undefined && this.#framer.next()) this.#receive();
      if (!this.#framer.pending) this.#framer.release();
    } catch (error) {
      const said = messageOf(error);
      const isTold = this.#flight.isOpen || error instanceof OperatingError;
      this.abort(isTold ? said : `what answers does not speak MQTT; TLS? (${said})`);
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
    if (!this.#flight.isOpen) this.#session.suspicion?.failed();
    else if (!this.#isLeaving) this.#flight.lost(this.closingReason?.reason);
    this.#writer?.close();
    const error = new OperatingError("ECLOSED", why);
    this.#filters.close(error);
    this.#settleReady?.reject(error);
    for (const waiting of this.#acks.values()) waiting.reject(error);
    this.#pings.close(error);
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
        return this.#filters.answered(packet.messageId!, granted);
      }
      case "unsuback":
        return this.#filters.answered(packet.messageId!, (packet as unknown as { granted?: number[] }).granted ?? []);
      case "pingresp":
        return this.#pings.answered();
      case "auth":
        return answerAuth(this.#options.login, packet as IAuthPacket, {
          send: (answer) => this.#why === undefined && this.#send(answer),
          fail: (why) => this.abort(why),
        });
      case "disconnect": {
        this.closingReason = saidBy(packet.reasonCode ?? 0, packet.properties);
        this.#transport!.close();
        return this.closed(`the broker closed the connection: ${inWords(this.closingReason)}`);
      }
    }
  }

  #receiveConnack(packet: IConnackPacket): void {
    const refusal = refusalOf(packet, this.version);
    if (refusal !== undefined) {
      this.closingReason = refusal.said;
      this.#settleReady?.reject(refusal.error);
      this.#transport!.close();
      return this.closed("refused");
    }
    // [MQTT-3.2.2-4]
    if (packet.sessionPresent && this.#options.clean !== false)
      throw new ProtocolError(Reason.protocolError, "the broker goes on with a session that was to begin anew");
    this.#options.login?.check(packet.properties?.authenticationData);
    this.sessionPresent = packet.sessionPresent;
    this.granted = packet.properties ?? {};
    if (!packet.sessionPresent) this.#session.brokerForgot();
    const seconds = packet.properties?.serverKeepAlive ?? this.#options.keepAlive ?? 60;
    if (seconds > 0) this.#ping = setInterval(() => this.#sendPing(), seconds * 1000);
    this.#flight.open();
    this.#options.onReady?.(this);
    this.#settleReady?.resolve();
  }

  #sendPing(): void {
    if (!this.#hasReceived && !this.#isPaused) return this.abort("the broker does not answer");
    this.#hasReceived = false;
    this.#pings.keepAlive();
  }

  #writeUnacknowledged(packetId: number, unacknowledged: Unacknowledged): void {
    const { publish, released, isSent = false } = unacknowledged;
    unacknowledged.isSent = true;
    if (released) writeAck(this.#writer!, PacketType.pubrel, packetId, 0);
    else this.write(publish, packetId, isSent);
  }

  #receivePublish(firstByte: number): void {
    const { bytes, body, end } = this.#framer;
    const publish = this.#publish;
    parsePublish(publish, bytes, firstByte, body, end, this.version);
    const { qos, packetId } = publish;
    const isRepeat = qos === 2 && this.#session.incoming.has(packetId);
    if (qos === 2) this.#session.incoming.add(packetId);
    if (this.#options.onPublish !== undefined) return this.#options.onPublish(publish, isRepeat);
    if (!isRepeat) this.#options.onMessage?.(receivedMessage(publish, this.#framer, this.version));
    if (qos > 0) writeAck(this.#writer!, qos === 1 ? PacketType.puback : PacketType.pubrec, packetId, 0);
  }

  #receiveAck(type: number, packetId: number, reason: number, text: string | undefined): void {
    if (type === PacketType.pubrel) {
      this.#options.onReleased?.(packetId);
      return this.#session.forgotten(packetId, () => this.#acknowledge(PacketType.pubcomp, packetId));
    }
    if (type === PacketType.pubrec && reason < Reason.unspecifiedError) {
      const unacknowledged = this.#session.outgoing.get(packetId);
      if (unacknowledged !== undefined) Object.assign(unacknowledged, { released: true, reason });
      this.#flight.taken();
      return this.#session.released(packetId, () => this.#acknowledge(PacketType.pubrel, packetId));
    }
    // After PUBREC the message is taken over, whatever PUBCOMP says: 0x92 only means that it was said before.
    const verdict = type === PacketType.pubcomp ? (this.#session.outgoing.get(packetId)?.reason ?? 0) : reason;
    if (this.#settle(packetId, verdict, text)) this.#flight.acknowledged();
  }

  #acknowledge(type: number, packetId: number): void {
    if (this.#why === undefined) writeAck(this.#writer!, type, packetId, Reason.success);
  }

  #settle(packetId: number, reason: number, text: string | undefined): boolean {
    const unacknowledged = this.#session.outgoing.get(packetId);
    if (unacknowledged === undefined) return false;
    this.#session.settle(packetId, reason, text);
    // The library's publishes wait elsewhere.
    if (this.#acks.size === 0) return true;
    this.#acks.get(unacknowledged)?.resolve(reason);
    this.#acks.delete(unacknowledged);
    return true;
  }

  /** The largest packet that the broker takes, in bytes. */
  readonly #packetBytesMax = (): number => this.granted.maximumPacketSize ?? Infinity;

  #send(packet: Packet): void {
    this.#append(encodeControl(packet, this.version));
  }

  #append(bytes: Uint8Array): void {
    this.#writer!.append(bytes, 0, bytes.length);
  }
}
