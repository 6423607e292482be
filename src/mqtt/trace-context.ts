/**
 * Trace Context, as the W3C defines it, in MQTT 5's user properties `traceparent` and `tracestate`. What is malformed
 * counts as absent.
 */
import { encodeUtf8, writeUint16 } from "../base/bytes.ts";
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
const parentNameBytes = Buffer.from(parentName);

/** Returns false for bytes in which no trace context can stand: a quick look. */
export function mentionsTrace(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < parentNameBytes.length) return false;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).includes(parentNameBytes);
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
  const { propertyBytes: bytes, propertiesStart, propertiesEnd } = publish;
  const parts: Uint8Array[] = [];
  const visit = (id: number, start: number, end: number): void => {
    if (!isParent(bytes, id, start)) parts.push(bytes.subarray(start, end));
  };
  walkProperties(bytes, propertiesStart, propertiesEnd, { packetType: PacketType.publish, visit });
  parts.push(userProperty(parentName, `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, "0")}`));
  const kept = publish.kept();
  kept.propertyBytes = new Uint8Array(Buffer.concat(parts));
  kept.propertiesStart = 0;
  kept.propertiesEnd = kept.propertyBytes.length;
  kept.packetId = publish.packetId;
  kept.dup = publish.dup;
  return kept;
}

function isParent(bytes: Uint8Array, id: number, start: number): boolean {
  if (id !== Property.userProperty || ((bytes[start + 1]! << 8) | bytes[start + 2]!) !== parentName.length)
    return false;
  return textOf(bytes, start + 3, start + 3 + parentName.length) === parentName;
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
}

function userProperty(name: string, value: string): Uint8Array {
  const [nameBytes, valueBytes] = [encodeUtf8(name), encodeUtf8(value)];
  const out = new Uint8Array(5 + nameBytes.length + valueBytes.length);
  out[0] = Property.userProperty;
  writeUint16(out, 1, nameBytes.length);
  out.set(nameBytes, 3);
  writeUint16(out, 3 + nameBytes.length, valueBytes.length);
  out.set(valueBytes, 5 + nameBytes.length);
  return out;
}
