/**
 * MQTT 5 properties as bytes: which exist, of which type, in which packets, how often (2.2.2.2), and the walk
 * that checks a section of them. mqtt-packet turns checked sections of control packets into objects; PUBLISH
 * keeps its section as bytes.
 */
import { isMqttText, readUint16, readUint32, readVarint, varintSize } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { propertiesPerPacketMax } from "../base/limits.ts";
import { PacketType, Property } from "./constants.ts";
import { Reason } from "./reason.ts";

type PropertyType = "byte" | "uint16" | "uint32" | "varint" | "text" | "pair" | "binary";

interface Rule {
  readonly name: string;
  readonly type: PropertyType;
  /** Bit n: allowed in the packet of type n; bit 0: in a will. */
  readonly packets: number;
  /** May stand more than once. */
  readonly repeats: boolean;
  readonly max: number;
  readonly min: number;
}

/** Stands for the will's section among the packet types. */
export const willSection = 0;

const everywhere = 0xffff;
const acknowledgements: (keyof typeof PacketType)[] = ["puback", "pubrec", "pubrel", "pubcomp", "suback", "unsuback"];

function bits(packets: readonly (keyof typeof PacketType | "will")[]): number {
  return packets.reduce((mask, packet) => mask | (1 << (packet === "will" ? willSection : PacketType[packet])), 0);
}

const rules: (Rule | undefined)[] = [];

function rule(
  name: keyof typeof Property,
  type: PropertyType,
  packets: number,
  range?: readonly [number, number],
): void {
  const [min, max] = range ?? [0, Number.MAX_SAFE_INTEGER];
  const repeats = name === "userProperty";
  rules[Property[name]] = { name, type, packets, repeats, min, max };
}

const flag = [0, 1] as const;
const positive = [1, Number.MAX_SAFE_INTEGER] as const;
rule("payloadFormatIndicator", "byte", bits(["publish", "will"]), flag);
rule("messageExpiryInterval", "uint32", bits(["publish", "will"]));
rule("contentType", "text", bits(["publish", "will"]));
rule("responseTopic", "text", bits(["publish", "will"]));
rule("correlationData", "binary", bits(["publish", "will"]));
rule("subscriptionIdentifier", "varint", bits(["publish", "subscribe"]), positive);
rule("sessionExpiryInterval", "uint32", bits(["connect", "connack", "disconnect"]));
rule("assignedClientIdentifier", "text", bits(["connack"]));
rule("serverKeepAlive", "uint16", bits(["connack"]));
rule("authenticationMethod", "text", bits(["connect", "connack", "auth"]));
rule("authenticationData", "binary", bits(["connect", "connack", "auth"]));
rule("requestProblemInformation", "byte", bits(["connect"]), flag);
rule("willDelayInterval", "uint32", bits(["will"]));
rule("requestResponseInformation", "byte", bits(["connect"]), flag);
rule("responseInformation", "text", bits(["connack"]));
rule("serverReference", "text", bits(["connack", "disconnect"]));
rule("reasonString", "text", bits(["connack", "disconnect", "auth", ...acknowledgements]));
rule("receiveMaximum", "uint16", bits(["connect", "connack"]), positive);
rule("topicAliasMaximum", "uint16", bits(["connect", "connack"]));
rule("topicAlias", "uint16", bits(["publish"]));
rule("maximumQoS", "byte", bits(["connack"]), flag);
rule("retainAvailable", "byte", bits(["connack"]), flag);
rule("userProperty", "pair", everywhere);
rule("maximumPacketSize", "uint32", bits(["connect", "connack"]), positive);
rule("wildcardSubscriptionAvailable", "byte", bits(["connack"]), flag);
rule("subscriptionIdentifiersAvailable", "byte", bits(["connack"]), flag);
rule("sharedSubscriptionAvailable", "byte", bits(["connack"]), flag);

/** Called for each property: its identifier, where it begins (at the identifier) and where it ends. */
export type PropertyVisitor = (id: number, start: number, end: number) => void;

/**
 * Checks the properties in `start`…`end` (the section without its length) of a packet type, or of a will.
 * Throws 0x81 for what cannot be parsed or does not belong there, 0x82 for repeats and forbidden values.
 */
export function walkProperties(
  bytes: Uint8Array,
  start: number,
  end: number,
  { packetType, visit }: { packetType: number; visit?: PropertyVisitor },
): void {
  const seen = new Set<number>();
  let count = 0;
  for (let at = start; at < end; ) {
    if (++count > propertiesPerPacketMax)
      throw new ProtocolError(Reason.quotaExceeded, `more than ${propertiesPerPacketMax} properties in one packet`);
    const id = bytes[at]!;
    const known = rules[id];
    if (known === undefined) throw malformed(`property identifier 0x${id.toString(16)} does not exist`);
    if ((known.packets & (1 << packetType)) === 0) throw malformed(`${known.name} does not belong in this packet`);
    if (
      seen.has(id) &&
      !known.repeats &&
      !(id === Property.subscriptionIdentifier && packetType === PacketType.publish)
    ) {
      throw new ProtocolError(Reason.protocolError, `${known.name} stands more than once`);
    }
    seen.add(id);
    const next = valueEnd(bytes, at + 1, end, known);
    visit?.(id, at, next);
    at = next;
  }
}

function valueEnd(bytes: Uint8Array, at: number, end: number, known: Rule): number {
  switch (known.type) {
    case "byte":
      return checkNumber(at + 1, end, known, () => bytes[at]!);
    case "uint16":
      return checkNumber(at + 2, end, known, () => readUint16(bytes, at));
    case "uint32":
      return checkNumber(at + 4, end, known, () => readUint32(bytes, at));
    case "varint": {
      const value = readVarint(bytes, at, end);
      if (value < 0) throw malformed(`${known.name} is not a variable byte integer`);
      return checkNumber(at + varintSize(value), end, known, () => value);
    }
    case "text":
      return textEnd(bytes, at, end, known.name);
    case "pair":
      return textEnd(bytes, textEnd(bytes, at, end, known.name), end, known.name);
    case "binary":
      return binaryEnd(bytes, at, end, known.name);
  }
}

function checkNumber(next: number, end: number, known: Rule, read: () => number): number {
  if (next > end) throw malformed(`${known.name} is cut off`);
  const value = read();
  if (value < known.min || value > known.max) {
    throw new ProtocolError(Reason.protocolError, `${known.name} must not be ${value}`);
  }
  return next;
}

/** The position after a UTF-8 Encoded String that is checked. Throws `ProtocolError`. */
export function textEnd(bytes: Uint8Array, at: number, end: number, name: string): number {
  const next = binaryEnd(bytes, at, end, name);
  if (!isMqttText(bytes, at + 2, next)) throw malformed(`${name} is not well-formed UTF-8 without U+0000`);
  return next;
}

/** The position after Binary Data. Throws `ProtocolError`. */
export function binaryEnd(bytes: Uint8Array, at: number, end: number, name: string): number {
  const next = at + 2 > end ? end + 1 : at + 2 + readUint16(bytes, at);
  if (next > end) throw malformed(`${name} is cut off`);
  return next;
}

/** The range of a section that begins with its length, not yet walked. Throws `ProtocolError`. */
export function sectionRange(bytes: Uint8Array, at: number, end: number): { start: number; end: number } {
  const length = readVarint(bytes, at, end);
  if (length < 0) throw malformed("the property length is not a variable byte integer");
  const start = at + varintSize(length);
  if (start + length > end) throw malformed("the properties are cut off");
  return { start, end: start + length };
}

export function malformed(message: string): ProtocolError {
  return new ProtocolError(Reason.malformedPacket, message);
}
