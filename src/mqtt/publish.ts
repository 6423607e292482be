/**
 * PUBLISH by hand, for the fast path. A `Publish` is a view over bytes that somebody else owns: parsing makes
 * no object, forwarding copies ranges. `kept()` gives one that owns its bytes, for what outlives the turn.
 */
import {
  copyBytes,
  decodeUtf8,
  equalRange,
  isMqttText,
  noBytes,
  readUint16,
  readUint32,
  readVarint,
  varintSize,
  writeUint16,
  writeUint32,
  writeVarint,
} from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { PacketType, Property, type ProtocolVersion, type QoS } from "./constants.ts";
import type { MessageTrace } from "./message-trace.ts";
import { malformed, sectionRange, walkProperties } from "./properties.ts";
import { Reason } from "./reason.ts";
import type { Sink } from "./sink.ts";

const dupFlag = 0x08;
const retainFlag = 0x01;

export class Publish {
  qos: QoS = 0;
  retain = false;
  dup = false;
  packetId = 0;
  /** Topic alias as the sender gave it; 0: none. */
  alias = 0;
  /** Subscription identifiers, as a server sends them; a client must not [MQTT-3.3.4-6]. */
  subscriptionIds: number[] = [];
  /** When the message expires, in milliseconds since 1970; Infinity: never. */
  expiresAt = Infinity;
  /** The time until which a stored copy is kept, in ms since 1970; Infinity: as long as it is needed. */
  keepUntil = Infinity;
  /** The time until which a copy of a retained message lies in a mail drop, in ms since 1970; 0: there is none. */
  copyUntil = 0;
  /** The user who pays for what is stored of it, as `payerOf` in `mail/paid.ts` names him; "": anonymous clients. */
  payer = "";

  topicBytes: Uint8Array = noBytes;
  topicStart = 0;
  topicEnd = 0;
  /** Properties that are forwarded as they came: without alias, expiry and subscription identifiers. */
  propertyBytes: Uint8Array = noBytes;
  propertiesStart = 0;
  propertiesEnd = 0;
  payloadBytes: Uint8Array = noBytes;
  payloadStart = 0;
  payloadEnd = 0;
  /**
   * True if topic, packet id, properties and payload lie in one buffer as a receiver of the same kind (MQTT 5,
   * or before) would get them, so that the packet can be forwarded as it is.
   */
  verbatim = false;
  /** The kind that `verbatim` speaks of. */
  hasSection = false;
  /** True if its bytes are its own and never change: they need not be copied to be kept, or to be sent later. */
  isApart = false;
  /** The trace of its way; undefined: it is not traced. */
  trace: MessageTrace | undefined = undefined;
  #kept: Publish | undefined;

  get payloadLength(): number {
    return this.payloadEnd - this.payloadStart;
  }

  /** Another message is about to be read into this view. */
  reset(): void {
    this.#kept = undefined;
  }

  /** A copy that owns its bytes: one for all who need it. A kept message keeps itself. */
  kept(): Publish {
    this.#kept ??= this.#keep();
    return this.#kept;
  }

  #keep(): Publish {
    const kept = new Publish();
    kept.qos = this.qos;
    kept.retain = this.retain;
    kept.expiresAt = this.expiresAt;
    kept.keepUntil = this.keepUntil;
    kept.copyUntil = this.copyUntil;
    kept.payer = this.payer;
    kept.trace = this.trace;
    kept.#kept = kept;
    kept.isApart = true;
    if (this.isApart) return kept.#share(this);
    if (this.topicBytes === this.payloadBytes && this.propertyBytes === this.payloadBytes) {
      // As it came: one copy, of the packet without its head.
      const from = this.topicStart;
      kept.topicBytes = kept.propertyBytes = kept.payloadBytes = this.payloadBytes.slice(from, this.payloadEnd);
      kept.topicEnd = this.topicEnd - from;
      kept.propertiesStart = this.propertiesStart - from;
      kept.propertiesEnd = this.propertiesEnd - from;
      kept.payloadStart = this.payloadStart - from;
      kept.payloadEnd = this.payloadEnd - from;
      return kept;
    }
    const topicLength = this.topicEnd - this.topicStart;
    const propertiesLength = this.propertiesEnd - this.propertiesStart;
    const bytes = new Uint8Array(topicLength + propertiesLength + this.payloadLength);
    bytes.set(this.topicBytes.subarray(this.topicStart, this.topicEnd));
    bytes.set(this.propertyBytes.subarray(this.propertiesStart, this.propertiesEnd), topicLength);
    bytes.set(this.payloadBytes.subarray(this.payloadStart, this.payloadEnd), topicLength + propertiesLength);
    kept.topicBytes = kept.propertyBytes = kept.payloadBytes = bytes;
    kept.topicEnd = kept.propertiesStart = topicLength;
    kept.propertiesEnd = kept.payloadStart = topicLength + propertiesLength;
    kept.payloadEnd = bytes.length;
    return kept;
  }

  /** Returns the message as another user pays for it: itself, if that is the same. Only for a kept one. */
  paidBy(payer: string): Publish {
    if (payer === this.payer) return this;
    const copy = this.#keep();
    copy.payer = payer;
    return copy;
  }

  #share(from: Publish): Publish {
    this.topicBytes = from.topicBytes;
    this.topicStart = from.topicStart;
    this.topicEnd = from.topicEnd;
    this.propertyBytes = from.propertyBytes;
    this.propertiesStart = from.propertiesStart;
    this.propertiesEnd = from.propertiesEnd;
    this.payloadBytes = from.payloadBytes;
    this.payloadStart = from.payloadStart;
    this.payloadEnd = from.payloadEnd;
    return this;
  }

  /** Bytes of memory that a kept copy holds, about. */
  get size(): number {
    return this.topicEnd - this.topicStart + (this.propertiesEnd - this.propertiesStart) + this.payloadLength;
  }
}

/** True if two messages on one topic say the same: one of them may only have been read anew from the store. */
export function isSameMessage(a: Publish, b: Publish): boolean {
  // The store keeps whole milliseconds.
  const isSameTime = a.expiresAt === b.expiresAt || Math.abs(a.expiresAt - b.expiresAt) < 1;
  return a.qos === b.qos && isSameTime && a.copyUntil === b.copyUntil && hasSameBytes(a, b);
}

function hasSameBytes(a: Publish, b: Publish): boolean {
  const length = a.propertiesEnd - a.propertiesStart;
  if (a.payloadLength !== b.payloadLength || length !== b.propertiesEnd - b.propertiesStart) return false;
  return (
    equalRange(a.propertyBytes, a.propertiesStart, b.propertyBytes, b.propertiesStart, length) &&
    equalRange(a.payloadBytes, a.payloadStart, b.payloadBytes, b.payloadStart, a.payloadLength)
  );
}

/** A message of the broker's own, or of its client library. */
export function makePublish(
  topic: Uint8Array,
  payload: Uint8Array,
  options: { qos: QoS; retain: boolean; properties?: Uint8Array },
): Publish {
  const publish = new Publish();
  publish.qos = options.qos;
  publish.retain = options.retain;
  publish.topicBytes = topic;
  publish.topicEnd = topic.length;
  publish.propertyBytes = options.properties ?? noBytes;
  publish.propertiesEnd = publish.propertyBytes.length;
  publish.payloadBytes = payload;
  publish.payloadEnd = payload.length;
  return publish.kept();
}

/**
 * Reads a PUBLISH into `to`: its body is `body`…`end`. The topic's characters are not looked at (the topic cache
 * does that once per topic), its properties are. Throws `ProtocolError`. Six arguments, against the house's
 * rule: an object for them would be made for every packet.
 */
export function parsePublish(
  to: Publish,
  bytes: Uint8Array,
  firstByte: number,
  body: number,
  end: number,
  version: ProtocolVersion,
): void {
  const qos = (firstByte >> 1) & 3;
  if (qos === 3) throw malformed("PUBLISH with QoS 3"); // [MQTT-3.3.1-4]
  to.qos = qos as QoS;
  to.dup = (firstByte & dupFlag) !== 0;
  to.retain = (firstByte & retainFlag) !== 0;
  to.packetId = 0;
  to.reset();
  to.alias = 0;
  to.expiresAt = Infinity;
  if (to.subscriptionIds.length > 0) to.subscriptionIds = [];
  if (body + 2 > end) throw malformed("PUBLISH is cut off in its topic");
  let at = body + 2 + readUint16(bytes, body);
  if (at > end) throw malformed("PUBLISH is cut off in its topic");
  to.topicBytes = to.propertyBytes = to.payloadBytes = bytes;
  to.topicStart = body + 2;
  to.topicEnd = at;
  if (qos > 0) {
    if (at + 2 > end) throw malformed("PUBLISH is cut off in its packet identifier");
    to.packetId = readUint16(bytes, at);
    if (to.packetId === 0) throw new ProtocolError(Reason.protocolError, "packet identifier 0"); // [MQTT-2.2.1-3]
    at += 2;
  } else if (to.dup) {
    throw malformed("DUP is set on QoS 0"); // [MQTT-3.3.1-2]
  }
  to.verbatim = true;
  to.hasSection = version === 5;
  to.propertiesStart = to.propertiesEnd = at;
  if (version === 5) at = parseSection(to, bytes, at, end);
  to.payloadStart = at;
  to.payloadEnd = end;
}

function parseSection(to: Publish, bytes: Uint8Array, at: number, end: number): number {
  if (at < end && bytes[at] === 0) {
    to.propertiesStart = to.propertiesEnd = at + 1;
    return at + 1;
  }
  const section = sectionRange(bytes, at, end);
  // What a server sends most: one subscription identifier, and nothing else.
  const isLone = section.end - section.start <= 5 && bytes[section.start] === Property.subscriptionIdentifier;
  const id = isLone ? readVarint(bytes, section.start + 1, section.end) : -1;
  if (id > 0 && section.start + 1 + varintSize(id) === section.end) {
    to.subscriptionIds.push(id);
    to.propertiesStart = to.propertiesEnd = section.end;
    to.verbatim = false;
    return section.end;
  }
  to.propertiesStart = section.start;
  to.propertiesEnd = section.end;
  readProperties(to, bytes, section, PacketType.publish);
  return section.end;
}

const stripped: ReadonlySet<number> = new Set([
  Property.topicAlias,
  Property.messageExpiryInterval,
  Property.subscriptionIdentifier,
  Property.willDelayInterval,
]);

/**
 * Walks a section of properties of a PUBLISH or of a will: takes alias and expiry out, checks the rest.
 * `expiresAt` is left as the interval in milliseconds: the caller, who knows the time, makes it a time.
 */
export function readProperties(
  to: Publish,
  bytes: Uint8Array,
  section: { readonly start: number; readonly end: number },
  packetType: number,
): void {
  const kept: [number, number][] = [];
  const visit = (id: number, start: number, end: number): void => {
    if (id === Property.topicAlias) {
      to.alias = readUint16(bytes, start + 1);
      if (to.alias === 0) throw new ProtocolError(Reason.topicAliasInvalid, "topic alias 0"); // [MQTT-3.3.2-8]
    } else if (id === Property.messageExpiryInterval) {
      to.expiresAt = readUint32(bytes, start + 1) * 1000;
    } else if (id === Property.subscriptionIdentifier) {
      to.subscriptionIds.push(readVarint(bytes, start + 1, end));
    } else if (
      id === Property.responseTopic &&
      bytes.subarray(start + 3, end).some((byte) => byte === 0x23 || byte === 0x2b)
    ) {
      throw new ProtocolError(Reason.protocolError, "a wildcard in the response topic"); // [MQTT-3.3.2-14]
    }
    if (!stripped.has(id)) kept.push([start, end]);
  };
  walkProperties(bytes, section.start, section.end, { packetType, visit });
  let length = 0;
  for (const [start, end] of kept) length += end - start;
  if (length === section.end - section.start) return;
  const own = new Uint8Array(length);
  let at = 0;
  for (const [start, end] of kept) {
    own.set(bytes.subarray(start, end), at);
    at += end - start;
  }
  to.propertyBytes = own;
  to.propertiesStart = 0;
  to.propertiesEnd = length;
  to.verbatim = false;
}

/** How a PUBLISH is sent to one receiver: everything that is not the message itself. */
export class Envelope {
  qos: QoS = 0;
  retain = false;
  dup = false;
  packetId = 0;
  version5 = false;
  /** Topic alias to send; 0: none. */
  alias = 0;
  /** The receiver knows the alias: the topic is left empty. */
  aliasKnown = false;
  subscriptionIds: readonly number[] = [];
}

/** Bytes of the properties section's content. */
function sectionLength(publish: Publish, envelope: Envelope): number {
  let length = publish.propertiesEnd - publish.propertiesStart;
  if (publish.expiresAt !== Infinity) length += 5;
  if (envelope.alias !== 0) length += 3;
  for (const id of envelope.subscriptionIds) length += 1 + varintSize(id);
  return length;
}

/** The whole packet's size in bytes, as `writePublish` would write it. */
export function publishSize(publish: Publish, envelope: Envelope): number {
  const length = remainingLength(publish, envelope);
  return 1 + varintSize(length) + length;
}

function remainingLength(publish: Publish, envelope: Envelope): number {
  let length = 2 + publish.payloadLength;
  if (!envelope.aliasKnown) length += publish.topicEnd - publish.topicStart;
  if (envelope.qos > 0) length += 2;
  if (envelope.version5) {
    const section = sectionLength(publish, envelope);
    length += varintSize(section) + section;
  }
  return length;
}

/** Appends the PUBLISH. `wall` (ms since 1970) decides how long the message has left to live [MQTT-3.3.2-6]. */
export function writePublish(sink: Sink, publish: Publish, envelope: Envelope, wall: number): void {
  const length = remainingLength(publish, envelope);
  // A large payload is appended as a range: the sink may then send it from where it lies.
  const payloadApart = publish.payloadLength > 4096;
  const head = 1 + varintSize(length) + length - publish.payloadLength;
  let at = sink.reserve(payloadApart ? head : head + publish.payloadLength);
  const out = sink.buffer;
  out[at++] =
    (PacketType.publish << 4) | (envelope.dup ? dupFlag : 0) | (envelope.qos << 1) | (envelope.retain ? retainFlag : 0);
  at = writeVarint(out, at, length);
  const topicLength = envelope.aliasKnown ? 0 : publish.topicEnd - publish.topicStart;
  writeUint16(out, at, topicLength);
  at += 2;
  copyBytes(out, at, publish.topicBytes, publish.topicStart, publish.topicStart + topicLength);
  at += topicLength;
  if (envelope.qos > 0) {
    writeUint16(out, at, envelope.packetId);
    at += 2;
  }
  if (envelope.version5) at = writeSection(out, at, publish, envelope, wall);
  const { payloadBytes, payloadStart, payloadEnd } = publish;
  if (payloadApart && publish.isApart) sink.lend(payloadBytes, payloadStart, payloadEnd);
  else if (payloadApart) sink.append(payloadBytes, payloadStart, payloadEnd);
  else copyBytes(out, at, publish.payloadBytes, publish.payloadStart, publish.payloadEnd);
}

function writeSection(out: Uint8Array, start: number, publish: Publish, envelope: Envelope, wall: number): number {
  let at = writeVarint(out, start, sectionLength(publish, envelope));
  if (publish.expiresAt !== Infinity) {
    out[at] = Property.messageExpiryInterval;
    writeUint32(out, at + 1, Math.max(0, Math.ceil((publish.expiresAt - wall) / 1000)));
    at += 5;
  }
  if (envelope.alias !== 0) {
    out[at] = Property.topicAlias;
    writeUint16(out, at + 1, envelope.alias);
    at += 3;
  }
  copyBytes(out, at, publish.propertyBytes, publish.propertiesStart, publish.propertiesEnd);
  at += publish.propertiesEnd - publish.propertiesStart;
  for (const id of envelope.subscriptionIds) {
    out[at] = Property.subscriptionIdentifier;
    at = writeVarint(out, at + 1, id);
  }
  return at;
}

/** True if the bytes may be a topic name: checked once per topic, by the topic cache. */
export function isTopicBytes(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end || !isMqttText(bytes, start, end)) return false;
  for (let at = start; at < end; at++) {
    if (bytes[at] === 0x23 || bytes[at] === 0x2b) return false;
  }
  return true;
}

export function topicOf({ topicBytes, topicStart, topicEnd }: Publish): string {
  return decodeUtf8(topicBytes, topicStart, topicEnd);
}
