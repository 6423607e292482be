/**
 * The bytes of every kind of znode, documented for outside programs in `src/README.md`. Messages begin with
 * credits and expiry, so that a program can add the credits up without knowing the rest; what operators want
 * to read is JSON.
 */
import { concatBytes, decodeUtf8, encodeUtf8, noBytes } from "../base/bytes.ts";
import type { ProtocolVersion, QoS } from "../mqtt/constants.ts";
import { makePublish, Publish } from "../mqtt/publish.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { parseFilter } from "../mqtt/topic.ts";

const messageHeadBytes = 26;
const formatVersion = 1;

/**
 * A stored or retained message: credits in milli-credits (u64), expiry in ms since 1970 (u64, 0: never),
 * format (u8), QoS (u8), recipients (u32), length of the properties (u32), properties as MQTT 5 encodes them
 * (without expiry and alias), payload. Big-endian.
 */
export function encodeMessage(publish: Publish, recipients: number): Uint8Array {
  const propertiesLength = publish.propertiesEnd - publish.propertiesStart;
  const bytes = new Uint8Array(messageHeadBytes + propertiesLength + publish.payloadLength);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, 0n);
  view.setBigUint64(8, publish.expiresAt === Infinity ? 0n : BigInt(Math.round(publish.expiresAt)));
  view.setUint8(16, formatVersion);
  view.setUint8(17, publish.qos);
  view.setUint32(18, recipients);
  view.setUint32(22, propertiesLength);
  bytes.set(publish.propertyBytes.subarray(publish.propertiesStart, publish.propertiesEnd), messageHeadBytes);
  bytes.set(
    publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd),
    messageHeadBytes + propertiesLength,
  );
  return bytes;
}

/** With how many slips a message was stored. */
export function recipientsOf(bytes: Uint8Array): number {
  return bytes.length < messageHeadBytes ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(18);
}

/** Reads what `encodeMessage` wrote; its topic comes from its path. */
export function decodeMessage(topic: string, bytes: Uint8Array): Publish {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const propertiesEnd = messageHeadBytes + view.getUint32(22);
  const publish = new Publish();
  const expiresAt = Number(view.getBigUint64(8));
  publish.expiresAt = expiresAt === 0 ? Infinity : expiresAt;
  publish.qos = view.getUint8(17) as QoS;
  publish.topicBytes = encodeUtf8(topic);
  publish.topicEnd = publish.topicBytes.length;
  publish.propertyBytes = publish.payloadBytes = bytes;
  publish.propertiesStart = messageHeadBytes;
  publish.propertiesEnd = publish.payloadStart = propertiesEnd;
  publish.payloadEnd = bytes.length;
  return publish;
}

/** waiting: not sent. sent: under its packet id. released: PUBREC has come, PUBCOMP has not. */
export type SlipState = "waiting" | "sent" | "released";
const slipStates: readonly SlipState[] = ["waiting", "sent", "released"];

/** What one mailbox says of one stored message. */
export interface SlipRecord {
  state: SlipState;
  readonly qos: QoS;
  readonly retain: boolean;
  packetId: number;
  /** How many slips the message has been stored with. */
  readonly recipients: number;
  readonly subscriptionIds: readonly number[];
  readonly messagePath: string;
}

/**
 * A slip: state (u8), QoS and retain (u8: bit 0-1, bit 2), packet id (u16), recipients (u32), number of
 * subscription identifiers (u16), each (u32), then the message's path in UTF-8. Big-endian.
 */
export function encodeSlip(slip: SlipRecord): Uint8Array {
  const path = encodeUtf8(slip.messagePath);
  const ids = slip.subscriptionIds;
  const bytes = new Uint8Array(10 + 4 * ids.length + path.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, slipStates.indexOf(slip.state));
  view.setUint8(1, slip.qos | (slip.retain ? 4 : 0));
  view.setUint16(2, slip.packetId);
  view.setUint32(4, slip.recipients);
  view.setUint16(8, ids.length);
  for (let index = 0; index < ids.length; index++) view.setUint32(10 + 4 * index, ids[index]!);
  bytes.set(path, 10 + 4 * ids.length);
  return bytes;
}

export function decodeSlip(bytes: Uint8Array): SlipRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = view.getUint16(8);
  return {
    state: slipStates[view.getUint8(0)]!,
    qos: (view.getUint8(1) & 3) as QoS,
    retain: (view.getUint8(1) & 4) !== 0,
    packetId: view.getUint16(2),
    recipients: view.getUint32(4),
    subscriptionIds: Array.from({ length: count }, (_, index) => view.getUint32(10 + 4 * index)),
    messagePath: decodeUtf8(bytes, 10 + 4 * count),
  };
}

/** A persistent session, as JSON. */
export interface SessionRecord {
  /** The broker that serves it, or served it last, and that broker's epoch. */
  readonly owner: string;
  readonly epoch: number;
  readonly connected: boolean;
  readonly version: ProtocolVersion;
  /** Session Expiry Interval in seconds. */
  readonly expiryInterval: number;
  /** While away: when it ends, in ms since 1970; null: never. */
  readonly expiresAt: number | null;
}

export function encodeSession(record: SessionRecord): Uint8Array {
  return encodeUtf8(JSON.stringify(record));
}

export function decodeSession(bytes: Uint8Array): SessionRecord {
  return JSON.parse(decodeUtf8(bytes)) as SessionRecord;
}

export function encodeSubscription({ filter, ...options }: Subscription): Uint8Array {
  return encodeUtf8(JSON.stringify(options));
}

export function decodeSubscription(filterText: string, bytes: Uint8Array): Subscription {
  const filter = parseFilter(filterText);
  if (filter === undefined) throw new Error(`the store holds the filter ${JSON.stringify(filterText)}, which is none`);
  return { filter, ...(JSON.parse(decodeUtf8(bytes)) as Omit<Subscription, "filter">) };
}

/** A will that waits for its connection to end. */
export interface WillRecord {
  readonly publish: Publish;
  /** Will Delay Interval in seconds. */
  readonly delay: number;
  /** Message Expiry Interval in ms, counted from its publication; Infinity: never. */
  readonly expiryMs: number;
  /** The incarnation of the broker that holds the connection. */
  readonly epoch: number;
}

/** A will: length of the JSON (u32), JSON of topic, retain, delay, expiry and the broker's epoch, then the message as stored. */
export function encodeWill({ publish, delay, expiryMs, epoch }: WillRecord): Uint8Array {
  const topic = decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd);
  const expiry = expiryMs === Infinity ? null : expiryMs;
  const head = encodeUtf8(JSON.stringify({ topic, retain: publish.retain, delay, expiry, epoch }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, head.length);
  return concatBytes([length, head, encodeMessage(publish, 0)]);
}

export function decodeWill(bytes: Uint8Array): WillRecord {
  const headEnd = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const head = JSON.parse(decodeUtf8(bytes, 4, headEnd)) as {
    topic: string;
    retain: boolean;
    delay: number;
    expiry: number | null;
    epoch: number;
  };
  const stored = decodeMessage(head.topic, bytes.slice(headEnd));
  const publish = makePublish(stored.topicBytes, stored.payloadBytes.slice(stored.payloadStart), {
    qos: stored.qos,
    retain: head.retain,
    properties: stored.propertyBytes.slice(stored.propertiesStart, stored.propertiesEnd),
  });
  return { publish, delay: head.delay, expiryMs: head.expiry ?? Infinity, epoch: head.epoch };
}

export const emptyRecord = noBytes;
