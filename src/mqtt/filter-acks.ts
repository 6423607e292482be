/** SUBACK and UNSUBACK by hand: an answer may have as many reason codes as a packet has filters. */
import { encodeUtf8, varintSize, writeUint16, writeVarint } from "../base/bytes.ts";
import { PacketType, Property, type ProtocolVersion } from "./constants.ts";

export interface FilterAck {
  readonly type: typeof PacketType.suback | typeof PacketType.unsuback;
  readonly packetId: number;
  /** A reason code for each filter; before MQTT 5 UNSUBACK has none. */
  readonly codes: readonly number[];
  /** Words for people (MQTT 5). */
  readonly reasonString?: string | undefined;
}

/** Encodes an answer to SUBSCRIBE or UNSUBSCRIBE. */
export function encodeFilterAck(
  { type, packetId, codes, reasonString }: FilterAck,
  version: ProtocolVersion,
): Uint8Array {
  const properties = version === 5 ? encodeProperties(reasonString) : emptySection;
  const count = version < 5 && type === PacketType.unsuback ? 0 : codes.length;
  const length = 2 + properties.length + count;
  const bytes = new Uint8Array(1 + varintSize(length) + length);
  bytes[0] = type << 4;
  writeVarint(bytes, 1, length);
  let at = 1 + varintSize(length);
  writeUint16(bytes, at, packetId);
  bytes.set(properties, at + 2);
  at += 2 + properties.length;
  for (let index = 0; index < count; index++) bytes[at + index] = codes[index]!;
  return bytes;
}

const emptySection = new Uint8Array(0);

function encodeProperties(reasonString: string | undefined): Uint8Array {
  if (reasonString === undefined) return Uint8Array.of(0);
  const text = encodeUtf8(reasonString);
  const length = 3 + text.length;
  const bytes = new Uint8Array(varintSize(length) + length);
  writeVarint(bytes, 0, length);
  const at = varintSize(length);
  bytes[at] = Property.reasonString;
  writeUint16(bytes, at + 1, text.length);
  bytes.set(text, at + 3);
  return bytes;
}
