/**
 * Every packet but PUBLISH, its acks and lists of filters, through mqtt-packet. What comes in has passed `validate.ts`,
 * so that mqtt-packet sees only what it decodes rightly; an error from it all the same closes the connection.
 */

import { Buffer } from "node:buffer";
import type { IAuthPacket, IConnectPacket, IDisconnectPacket, Packet } from "mqtt-packet";
import * as mqttPacket from "mqtt-packet";
import { readUint16, readVarint, varintSize, writeVarint } from "../base/bytes.ts";
import { messageOf, ProtocolError } from "../base/errors.ts";
import { controlBytesMax } from "../base/limits.ts";
import { PacketType, type ProtocolVersion } from "./constants.ts";
import { FilterList } from "./filter-list.ts";
import { malformed } from "./properties.ts";
import { Reason } from "./reason.ts";
import { type ConnectFacts, checkConnect, checkControl, checkHeaderFlags } from "./validate.ts";

export type {
  IConnectPacket as ConnectPacket,
  Packet,
} from "mqtt-packet";

/** One packet of a client, without its header: `bytes[start]` is the first byte, the body is `body`…`end`. */
export interface Frame {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly body: number;
  readonly end: number;
}

export interface Connect {
  readonly packet: IConnectPacket;
  readonly facts: ConnectFacts;
}

export type Control =
  | { readonly cmd: "subscribe" | "unsubscribe"; readonly filters: FilterList }
  | IDisconnectPacket
  | IAuthPacket
  | { readonly cmd: "pingreq" };

/** Decodes CONNECT. Throws `ProtocolError`; reason 0x84 may be answered with a CONNACK. */
export function decodeConnect(frame: Frame): Connect {
  checkHeaderFlags(frame.bytes[frame.start]!);
  const facts = checkConnect(frame.bytes, frame.body, frame.end);
  const packet = decode(frame, facts.version) as IConnectPacket;
  return { packet, facts };
}

/**
 * Decodes what a client sends after CONNECT, PUBLISH and its acks apart; filters are read later. Throws
 * `ProtocolError`.
 */
export function decodeControl(frame: Frame, version: ProtocolVersion): Control {
  const firstByte = frame.bytes[frame.start]!;
  const type = firstByte >> 4;
  checkHeaderFlags(firstByte, version);
  checkControl(frame.bytes, frame.body, frame.end, { type, version });
  if (type === PacketType.pingreq) return { cmd: "pingreq" };
  if (type === PacketType.subscribe) return { cmd: "subscribe", filters: new FilterList(frame, { type, version }) };
  if (type === PacketType.unsubscribe) return { cmd: "unsubscribe", filters: new FilterList(frame, { type, version }) };
  if (frame.end - frame.body > controlBytesMax)
    throw new ProtocolError(Reason.packetTooLarge, `a control packet of ${frame.end - frame.body} bytes`);
  return decode(frame, version) as Control;
}

/** Decodes what a server sends, PUBLISH and its acks apart. Throws `ProtocolError`. */
export function decodeFromServer(frame: Frame, version: ProtocolVersion): Packet {
  return decode(frame, version);
}

/** A parser of mqtt-packet, and what came of the last packet. */
interface Decoder {
  readonly parser: mqttPacket.Parser;
  decoded: Packet | undefined;
  failure: string | undefined;
}

/**
 * Decoders that are used again: to make one costs several times what decoding does. One that has failed is not:
 * something may be left in it.
 */
const decoders = new Map<ProtocolVersion, Decoder>();

function newDecoder(version: ProtocolVersion): Decoder {
  const parser = mqttPacket.parser({ protocolVersion: version });
  const decoder: Decoder = { parser, decoded: undefined, failure: undefined };
  parser.on("packet", (packet) => {
    decoder.decoded = packet;
  });
  parser.on("error", (error: unknown) => {
    decoder.failure = messageOf(error);
  });
  return decoder;
}

function decode(frame: Frame, version: ProtocolVersion): Packet {
  const decoder = decoders.get(version) ?? newDecoder(version);
  decoders.delete(version);
  const { bytes, start, end } = frame;
  const left = decoder.parser.parse(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start));
  const { decoded, failure } = decoder;
  if (failure !== undefined) throw malformed(failure);
  if (decoded === undefined) throw malformed("the packet's parts do not add up to its length");
  decoder.decoded = undefined;
  // It holds the last CONNECT, with the client's password and will, and goes by it with the packets after it.
  (decoder.parser as unknown as { settings: object }).settings = { protocolVersion: version };
  if (left === 0) decoders.set(version, decoder);
  return decoded;
}

/** Encodes a packet as mqtt-packet does. */
export function encodeControl(packet: Packet, version: ProtocolVersion): Uint8Array {
  return mqttPacket.generate(packet, { protocolVersion: version });
}

/**
 * Encodes CONNECT. Throws an `Error` for what mqtt-packet, or a broker that goes by the standard, would not take.
 * mqtt-packet knows no password without a user name, which MQTT 5 has: it is given an empty one, which is cut out.
 */
export function encodeConnect(packet: IConnectPacket, version: ProtocolVersion): Uint8Array {
  const { username, password } = packet;
  const isAlone = password !== undefined && username === undefined;
  const whole = encodeControl(isAlone ? { ...packet, username: "" } : packet, version);
  const bytes = isAlone ? withoutUsername(whole, 2 + password.length) : whole;
  checkConnect(bytes, bodyOf(bytes), bytes.length);
  return bytes;
}

/** Returns where a whole packet's body begins. */
function bodyOf(packet: Uint8Array): number {
  return 1 + varintSize(readVarint(packet, 1, packet.length));
}

/** Cuts out the empty user name, which stands before the last `tail` bytes. */
function withoutUsername(connect: Uint8Array, tail: number): Uint8Array {
  const usernameAt = connect.length - tail - 2;
  const bodyAt = bodyOf(connect);
  const body = new Uint8Array(connect.length - bodyAt - 2);
  body.set(connect.subarray(bodyAt, usernameAt));
  body.set(connect.subarray(usernameAt + 2), usernameAt - bodyAt);
  // Behind the protocol's name and level.
  body[2 + readUint16(body, 0) + 1]! &= ~0x80;
  const bytes = new Uint8Array(1 + varintSize(body.length) + body.length);
  bytes[0] = connect[0]!;
  writeVarint(bytes, 1, body.length);
  bytes.set(body, bytes.length - body.length);
  return bytes;
}

/** The content of a DISCONNECT besides its reason code. */
export interface DisconnectDetails {
  /** The reason in words, for people. */
  readonly reasonString?: string | undefined;
  /** Where to go instead: `host:port`. */
  readonly serverReference?: string | undefined;
}

/**
 * DISCONNECT of MQTT 5. What would make it larger than `bytesMax` is left out: first the words, then where to go
 * [MQTT-3.14.2-3]. Undefined: not even the reason code fits [MQTT-3.1.2-24].
 */
export function encodeDisconnect(reason: number, details: DisconnectDetails, bytesMax: number): Uint8Array | undefined {
  const { reasonString, serverReference } = details;
  const reference = serverReference === undefined ? {} : { serverReference };
  const said = [reasonString === undefined ? reference : { ...reference, reasonString }, reference, {}];
  return firstThatFits(
    said.map((properties) => ({ cmd: "disconnect", reasonCode: reason, properties }) as Packet),
    bytesMax,
  );
}

/**
 * CONNACK of MQTT 5 that refuses. `reasonString` is left out where the packet would be larger than `bytesMax`
 * [MQTT-3.2.2-19]. Undefined: not even the reason code fits.
 */
export function encodeRefusal(
  reason: number,
  reasonString: string | undefined,
  bytesMax: number,
): Uint8Array | undefined {
  const refusal = { cmd: "connack", sessionPresent: false, reasonCode: reason } as const;
  const said = reasonString === undefined ? [] : [{ ...refusal, properties: { reasonString } }];
  return firstThatFits([...said, refusal], bytesMax);
}

function firstThatFits(packets: readonly Packet[], bytesMax: number): Uint8Array | undefined {
  for (const packet of packets) {
    const bytes = encodeControl(packet, 5);
    if (bytes.length <= bytesMax) return bytes;
  }
  return undefined;
}

export const pingrespBytes: Uint8Array = new Uint8Array([PacketType.pingresp << 4, 0]);
