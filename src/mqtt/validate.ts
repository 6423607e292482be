/**
 * The structure of every control packet but PUBLISH and its acks, checked byte by byte before mqtt-packet may
 * decode it: mqtt-packet accepts what the standard forbids (packet id 0, malformed UTF-8, trailing bytes,
 * repeated properties), and the reason code to close with must be the standard's.
 */
import { encodeUtf8, equalRange, readUint16 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { filtersPerPacketMax } from "../base/limits.ts";
import { PacketType, type ProtocolVersion } from "./constants.ts";
import { binaryEnd, malformed, sectionRange, textEnd, walkProperties, willSection } from "./properties.ts";
import { Reason } from "./reason.ts";

/** Facts of CONNECT's bytes that its decoded form no longer tells. */
export interface ConnectFacts {
  readonly version: ProtocolVersion;
  /** A bridge of mosquitto's kind: the version's high bit is set. */
  readonly bridge: boolean;
  /** The will's properties as they came, in their order [MQTT-3.1.3-10]; empty without. */
  readonly willProperties: { readonly start: number; readonly end: number };
}

/**
 * Checks that header flags are as the standard reserves them [MQTT-2.1.3-1]. In MQTT 3.1 packets that are sent at QoS 1
 * may bear DUP (2.1 there). Throws `ProtocolError`.
 */
export function checkHeaderFlags(firstByte: number, version: ProtocolVersion = 5): void {
  const type = firstByte >> 4;
  const wanted = type === PacketType.pubrel || type === PacketType.subscribe || type === PacketType.unsubscribe ? 2 : 0;
  const dup = version === 3 && wanted === 2 ? 0x08 : 0;
  if ((firstByte & 0x0f & ~dup) !== wanted)
    throw malformed(`reserved header flags 0x${(firstByte & 0x0f).toString(16)}`);
}

/** Checks CONNECT's body. Throws 0x84 where the client may be told that its version is not supported. */
export function checkConnect(bytes: Uint8Array, start: number, end: number): ConnectFacts {
  let at = textEnd(bytes, start, end, "protocol name");
  const name = String.fromCharCode(...bytes.subarray(start + 2, Math.min(at, start + 8)));
  if (name !== "MQTT" && name !== "MQIsdp") throw malformed("the protocol name is neither MQTT nor MQIsdp");
  if (at + 4 > end) throw malformed("CONNECT is cut off");
  const bridge = bytes[at]! >= 0x80;
  const version = bytes[at]! & 0x7f;
  if (!(name === "MQIsdp" ? version === 3 : version === 4 || (version === 5 && !bridge))) {
    throw new ProtocolError(Reason.unsupportedProtocolVersion, `protocol ${name} ${version} is not supported`);
  }
  const flags = bytes[at + 1]!;
  checkConnectFlags(flags, version);
  at += 4;
  if (version === 5) at = checkSection(bytes, at, end, PacketType.connect);
  at = textEnd(bytes, at, end, "client identifier");
  let willProperties = { start: at, end: at };
  if ((flags & 0x04) !== 0) {
    if (version === 5) {
      willProperties = sectionRange(bytes, at, end);
      walkProperties(bytes, willProperties.start, willProperties.end, { packetType: willSection });
      at = willProperties.end;
    }
    at = textEnd(bytes, at, end, "will topic");
    at = binaryEnd(bytes, at, end, "will payload");
  }
  if ((flags & 0x80) !== 0) at = textEnd(bytes, at, end, "user name");
  if ((flags & 0x40) !== 0) at = binaryEnd(bytes, at, end, "password");
  if (at !== end) throw malformed("bytes follow the end of CONNECT");
  return { version: version as ProtocolVersion, bridge, willProperties };
}

function checkConnectFlags(flags: number, version: number): void {
  if ((flags & 0x01) !== 0) throw malformed("CONNECT's reserved flag is set"); // [MQTT-3.1.2-3]
  const willQoS = (flags >> 3) & 0x03;
  if (willQoS === 3) throw malformed("will QoS 3"); // [MQTT-3.1.2-12]
  if ((flags & 0x04) === 0 && (flags & 0x38) !== 0) throw malformed("will QoS or retain without will flag");
  // [MQTT-3.1.2-22 of 3.1.1]; 5.0 allows a password alone.
  if (version < 5 && (flags & 0xc0) === 0x40) throw malformed("a password without a user name");
}

/**
 * Checks the body of SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH, PINGREQ as a client sends them. Throws `ProtocolError`.
 */
export function checkControl(bytes: Uint8Array, start: number, end: number, packet: ControlHead): void {
  switch (packet.type) {
    case PacketType.subscribe:
    case PacketType.unsubscribe:
      return checkFilters(bytes, start, end, packet);
    case PacketType.disconnect:
    case PacketType.auth:
      return checkReasonAndProperties(bytes, start, end, packet);
    case PacketType.pingreq:
      if (start !== end) throw malformed("PINGREQ has no body");
      return;
    default:
      throw new ProtocolError(Reason.protocolError, `packet type ${packet.type} is not for a client to send`);
  }
}

export interface ControlHead {
  readonly type: number;
  readonly version: ProtocolVersion;
}

function checkFilters(bytes: Uint8Array, start: number, end: number, { type, version }: ControlHead): void {
  if (start + 2 > end) throw malformed("the packet identifier is cut off");
  // [MQTT-2.2.1-3]
  if (readUint16(bytes, start) === 0) throw new ProtocolError(Reason.protocolError, "packet identifier 0");
  let at = version === 5 ? checkSection(bytes, start + 2, end, type) : start + 2;
  // [MQTT-3.8.3-2], [MQTT-3.10.3-2]
  if (at === end) throw new ProtocolError(Reason.protocolError, "no topic filter");
  for (let count = 1; at < end; count++) {
    if (count > filtersPerPacketMax)
      throw new ProtocolError(Reason.quotaExceeded, `more than ${filtersPerPacketMax} topic filters in one packet`);
    const next = textEnd(bytes, at, end, "topic filter");
    if (next === at + 2) throw malformed("a topic filter must have at least one character"); // [MQTT-4.7.3-1]
    if (type === PacketType.subscribe) {
      checkSubscriptionOptions(bytes, next, end, version);
      // [MQTT-3.8.3-4]
      if ((bytes[next]! & 0x04) !== 0 && isShared(bytes, at + 2, next))
        throw new ProtocolError(Reason.protocolError, "No Local on a shared subscription");
      at = next + 1;
    } else at = next;
  }
}

const sharePrefix = encodeUtf8("$share/");

function isShared(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start > sharePrefix.length && equalRange(bytes, start, sharePrefix, 0, sharePrefix.length);
}

function checkSubscriptionOptions(bytes: Uint8Array, at: number, end: number, version: ProtocolVersion): void {
  if (at >= end) throw malformed("the subscription options are missing");
  const options = bytes[at]!;
  // [MQTT-3.8.3-5]
  if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed("reserved subscription options are set");
  if ((options & 0x03) === 3) throw malformed("subscription QoS 3");
  if ((options & 0x30) === 0x30) throw new ProtocolError(Reason.protocolError, "retain handling 3");
}

/** The reason codes that a client may give in DISCONNECT (3.14.2.1), and in AUTH (3.15.2.1). */
const disconnectReasons: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
]);
const authReasons: ReadonlySet<number> = new Set([0x00, 0x18, 0x19]);

function checkReasonAndProperties(bytes: Uint8Array, start: number, end: number, { type, version }: ControlHead): void {
  if (version < 5) {
    if (type === PacketType.auth) throw new ProtocolError(Reason.protocolError, "AUTH does not exist before MQTT 5");
    if (start !== end) throw malformed("DISCONNECT has no body before MQTT 5");
    return;
  }
  if (start === end) return;
  const reasons = type === PacketType.auth ? authReasons : disconnectReasons;
  // [MQTT-3.14.2-1], [MQTT-3.15.2-1]
  if (!reasons.has(bytes[start]!)) throw malformed(`reason code ${bytes[start]} is not for a client to give`);
  if (end - start === 1) return;
  if (checkSection(bytes, start + 1, end, type) !== end) throw malformed("bytes follow the properties");
}

function checkSection(bytes: Uint8Array, at: number, end: number, packetType: number): number {
  const section = sectionRange(bytes, at, end);
  walkProperties(bytes, section.start, section.end, { packetType });
  return section.end;
}
