/** PUBACK, PUBREC, PUBREL, PUBCOMP by hand: two bytes of packet id and, in MQTT 5, sometimes a reason. */
import { decodeUtf8, encodeUtf8, readUint16, varintSize, writeUint16, writeVarint } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { PacketType, Property, type ProtocolVersion } from "./constants.ts";
import { malformed, sectionRange, walkProperties } from "./properties.ts";
import { Reason } from "./reason.ts";
import type { Sink } from "./sink.ts";

/**
 * Checks an ack's body and returns its packet id; `ackReason` returns the reason of the same body. Throws
 * `ProtocolError`.
 */
export function parseAck(bytes: Uint8Array, body: number, end: number, head: AckHead): number {
  if (end - body < 2) throw malformed("an ack without a packet identifier");
  const packetId = readUint16(bytes, body);
  if (packetId === 0) throw new ProtocolError(Reason.protocolError, "packet identifier 0");
  if (end - body === 2) return packetId;
  if (head.version < 5) throw malformed("bytes follow the packet identifier of an ack");
  if (!isAckReason(head.type, bytes[body + 2]!)) throw malformed(`reason code ${bytes[body + 2]} in an ack`);
  if (end - body === 3) return packetId;
  const section = sectionRange(bytes, body + 3, end);
  if (section.end !== end) throw malformed("bytes follow the properties of an ack");
  walkProperties(bytes, section.start, section.end, { packetType: head.type });
  return packetId;
}

export interface AckHead {
  readonly type: number;
  readonly version: ProtocolVersion;
}

/** The reason code of a body that `parseAck` accepted; 0 if it was left out. */
export function ackReason(bytes: Uint8Array, body: number, end: number): number {
  return end - body > 2 ? bytes[body + 2]! : Reason.success;
}

/** The Reason String of a body that `parseAck` accepted, if it has one. */
export function ackText(bytes: Uint8Array, body: number, end: number): string | undefined {
  if (end - body <= 4) return undefined;
  const { start } = sectionRange(bytes, body + 3, end);
  let text: string | undefined;
  const visit = (id: number, from: number, to: number): void => {
    if (id === Property.reasonString) text = decodeUtf8(bytes, from + 3, to);
  };
  walkProperties(bytes, start, end, { packetType: PacketType.puback, visit });
  return text;
}

const publishReasons: ReadonlySet<number> = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);

function isAckReason(type: number, reason: number): boolean {
  if (type === PacketType.puback || type === PacketType.pubrec) return publishReasons.has(reason);
  return reason === Reason.success || reason === Reason.packetIdentifierNotFound;
}

/** Appends an ack. The reason is left out where it is success, and before MQTT 5, which has none. */
export function writeAck(sink: Sink, type: number, packetId: number, reason: number): void {
  const at = sink.reserve(reason === Reason.success ? 4 : 5);
  sink.packets++;
  const out = sink.buffer;
  out[at] = (type << 4) | (type === PacketType.pubrel ? 2 : 0);
  out[at + 1] = reason === Reason.success ? 2 : 3;
  writeUint16(out, at + 2, packetId);
  if (reason !== Reason.success) out[at + 4] = reason;
}

/** The size in bytes of an ack that `writeAckWithText` appends. */
export function ackWithTextSize(text: string): number {
  const section = 3 + encodeUtf8(text).length;
  const length = 3 + varintSize(section) + section;
  return 1 + varintSize(length) + length;
}

/** Appends an ack of MQTT 5 that says in words why. */
export function writeAckWithText(
  sink: Sink,
  type: number,
  packetId: number,
  because: { reason: number; text: string },
): void {
  const text = encodeUtf8(because.text);
  const section = 3 + text.length;
  const length = 3 + varintSize(section) + section;
  let at = sink.reserve(1 + varintSize(length) + length);
  sink.packets++;
  const out = sink.buffer;
  out[at++] = (type << 4) | (type === PacketType.pubrel ? 2 : 0);
  at = writeVarint(out, at, length);
  writeUint16(out, at, packetId);
  out[at + 2] = because.reason;
  at = writeVarint(out, at + 3, section);
  out[at] = Property.reasonString;
  writeUint16(out, at + 1, text.length);
  out.set(text, at + 3);
}
