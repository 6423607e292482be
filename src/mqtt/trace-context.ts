/**
 * Trace Context, as the W3C defines it, in MQTT 5's user properties `traceparent` and `tracestate`. What is malformed
 * counts as absent.
 */
import { concatBytes, encodeUtf8, equalRange } from "../base/bytes.ts";
import { PacketType, Property } from "./constants.ts";
import { walkProperties } from "./properties.ts";
import type { Publish } from "./publish.ts";

/** The span that has sent a message. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** Bit 0: the sender records the trace. */
  readonly flags: number;
}

const parentName = "traceparent";
/** Version, trace id, span id, flags; later versions may say more behind these. */
const parentForm = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const parentNameBytes = encodeUtf8(parentName);
/** The first bytes of such a property, the lengths of its name and of a value of version 00 among them. */
const parentHead = `\x26\0${String.fromCharCode(parentName.length)}${parentName}\0${String.fromCharCode(55)}00-`;

/** Shorter bytes are searched by hand: a call into native code takes longer. */
const searchByHandMax = 256;

/** Returns false for bytes in which no trace context can stand: a quick look. */
export function mentionsTrace(bytes: Uint8Array, start: number, end: number): boolean {
  const { length } = parentNameBytes;
  if (end - start > searchByHandMax)
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).includes(parentNameBytes);
  const first = parentNameBytes[0]!;
  for (let at = start; at + length <= end; at++)
    if (bytes[at] === first && equalRange(bytes, at, parentNameBytes, 0, length)) return true;
  return false;
}

/** Returns the trace context of a message; undefined: it has none. */
export function traceContextOf({ propertyBytes, propertiesStart, propertiesEnd }: Publish): TraceContext | undefined {
  if (!mentionsTrace(propertyBytes, propertiesStart, propertiesEnd)) return undefined;
  const parents: string[] = [];
  const visit = (id: number, start: number, end: number): void => {
    if (isParent(propertyBytes, id, start)) parents.push(textOf(propertyBytes, start + 5 + parentName.length, end));
  };
  walkProperties(propertyBytes, propertiesStart, propertiesEnd, { packetType: PacketType.publish, visit });
  // Of two nobody knows which is right.
  const [, version, traceId, spanId, flags, more] = (parents.length === 1 && parentForm.exec(parents[0]!)) || [];
  if (traceId === undefined || (version === "00" && more !== undefined)) return undefined;
  return { traceId, spanId: spanId!, flags: Number.parseInt(flags!, 16) };
}

/** Returns a message that owns its bytes, and carries another context in place of its own; `tracestate` stays. */
export function withTraceContext(publish: Publish, { traceId, spanId, flags }: TraceContext): Publish {
  // Ids and flags have the lengths of version 00.
  const own = encodeUtf8(`${parentHead}${traceId}-${spanId}-${flags < 16 ? "0" : ""}${flags.toString(16)}`);
  const kept = publish.kept();
  kept.propertyBytes = publish.propertiesStart === publish.propertiesEnd ? own : concatBytes([...others(publish), own]);
  kept.propertiesStart = 0;
  kept.propertiesEnd = kept.propertyBytes.length;
  kept.packetId = publish.packetId;
  kept.dup = publish.dup;
  return kept;
}

/** Returns the properties of a message that are no trace context. */
function others({ propertyBytes: bytes, propertiesStart, propertiesEnd }: Publish): Uint8Array[] {
  const found: Uint8Array[] = [];
  const visit = (id: number, start: number, end: number): void => {
    if (!isParent(bytes, id, start)) found.push(bytes.subarray(start, end));
  };
  walkProperties(bytes, propertiesStart, propertiesEnd, { packetType: PacketType.publish, visit });
  return found;
}

function isParent(bytes: Uint8Array, id: number, start: number): boolean {
  if (id !== Property.userProperty || ((bytes[start + 1]! << 8) | bytes[start + 2]!) !== parentName.length)
    return false;
  return textOf(bytes, start + 3, start + 3 + parentName.length) === parentName;
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
}
