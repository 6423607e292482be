/** The MQTT 5 packets by which a client of MQTT-SN is a client of the broker. */
import { copyBytes, varintSize, writeUint16, writeVarint } from "../base/bytes.ts";
import { snReceiveMax } from "../base/sn-limits.ts";
import { writeAck } from "../mqtt/acks.ts";
import { PacketType, type QoS } from "../mqtt/constants.ts";
import { encodeConnect, encodeControl, type Packet } from "../mqtt/control.ts";
import { Reason } from "../mqtt/reason.ts";
import { MemorySink } from "../mqtt/sink.ts";

/** A will as the client has given it. */
export interface SnWill {
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly data: Uint8Array;
}

export interface ConnectTerms {
  readonly clientId: string;
  readonly clean: boolean;
  /** The session's life without a connection, in seconds. */
  readonly expiry: number;
  readonly will: SnWill | undefined;
}

/**
 * CONNECT. The gateway looks after silence itself, so there is no Keep Alive. Throws an `Error` for a will that the
 * broker would not take.
 */
export function connectPacket({ clientId, clean, expiry, will }: ConnectTerms): Uint8Array {
  const properties = { sessionExpiryInterval: expiry, receiveMaximum: snReceiveMax, requestProblemInformation: false };
  const packet = { cmd: "connect", protocolVersion: 5, clientId, clean, keepalive: 0, properties } as const;
  if (will === undefined) return encodeConnect(packet, 5);
  const { topic, qos, retain, data } = will;
  return encodeConnect({ ...packet, will: { topic, qos, retain, payload: Buffer.from(data) } }, 5);
}

export interface SnSubscription {
  readonly topic: string;
  readonly qos: QoS;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: 0 | 1 | 2;
}

/** DISCONNECT. `expiry`: how long the session lives on, in seconds; undefined: as CONNECT said. */
export function disconnectPacket(reasonCode: number, expiry?: number): Uint8Array {
  const properties = expiry === undefined ? {} : { sessionExpiryInterval: expiry };
  return encodeControl({ cmd: "disconnect", reasonCode, properties } as Packet, 5);
}

/** SUBSCRIBE to one filter; its options are those of MQTT-SN 2.0, which are MQTT 5's. */
export function subscribePacket(
  messageId: number,
  { topic, qos, noLocal = false, retainAsPublished = false, retainHandling = 0 }: SnSubscription,
): Uint8Array {
  const subscription = { topic, qos, nl: noLocal, rap: retainAsPublished, rh: retainHandling };
  return encodeControl({ cmd: "subscribe", messageId, subscriptions: [subscription] } as Packet, 5);
}

export function unsubscribePacket(messageId: number, topic: string): Uint8Array {
  return encodeControl({ cmd: "unsubscribe", messageId, unsubscriptions: [topic] } as Packet, 5);
}

export const pingPacket: Uint8Array = Uint8Array.of(PacketType.pingreq << 4, 0);

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export function ackPacket(type: number, packetId: number, reason: number = Reason.success): Uint8Array {
  const sink = new MemorySink();
  writeAck(sink, type, packetId, reason);
  return sink.take();
}

export interface PublishHead {
  readonly topic: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
}

/**
 * PUBLISH without properties. It is written here, since `writePublish` takes a whole message of its own: to make one
 * takes ten times as long, for each datagram.
 */
export function publishPacket(head: PublishHead, data: Uint8Array): Uint8Array {
  const { topic, qos, retain, dup, packetId } = head;
  const length = 2 + topic.length + (qos > 0 ? 2 : 0) + 1 + data.length;
  const bytes = new Uint8Array(1 + varintSize(length) + length);
  const isAgain = dup && qos > 0;
  bytes[0] = (PacketType.publish << 4) | (isAgain ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  let at = writeVarint(bytes, 1, length);
  writeUint16(bytes, at, topic.length);
  copyBytes(bytes, at + 2, topic, 0, topic.length);
  at += 2 + topic.length;
  if (qos > 0) {
    writeUint16(bytes, at, packetId);
    at += 2;
  }
  copyBytes(bytes, at + 1, data, 0, data.length);
  return bytes;
}
