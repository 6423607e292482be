/** Packets in words, for whoever follows a client: each as it is on the wire, without secrets. */
import { concatBytes, noBytes, readUint16, readVarint, varintSize } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { ackReason, ackText } from "../../mqtt/acks.ts";
import { nameOfType, PacketType, type ProtocolVersion } from "../../mqtt/constants.ts";
import { decodeConnect, decodeControl, decodeFromServer, type Frame } from "../../mqtt/control.ts";
import { Publish, parsePublish, topicOf } from "../../mqtt/publish.ts";
import { describeReason, Reason } from "../../mqtt/reason.ts";

export type Direction = "received" | "sent";

/** Bytes of a packet that are looked at: of a larger one only the beginning. */
const lookedAtMax = 64 * 1024;
/** Filters and reason codes of one packet that are told. */
const toldMax = 20;

/** Cuts a stream of bytes into packets; of one that comes in pieces, or is large, only the beginning is kept. */
export class PacketCutter {
  #head: Uint8Array = noBytes;
  /** Bytes of the packet that are still to come, behind those that are kept. */
  #skip = 0;
  #isLost = false;

  /** Takes the next bytes; `found` is called for each packet with its beginning, and its size in bytes. */
  feed(bytes: Uint8Array, found: (packet: Uint8Array, size: number) => void): void {
    let rest = this.#head.length === 0 ? bytes : concatBytes([this.#head, bytes]);
    this.#head = noBytes;
    while (rest.length > 0 && !this.#isLost) {
      const skipped = Math.min(this.#skip, rest.length);
      this.#skip -= skipped;
      rest = rest.subarray(skipped);
      const size = sizeOf(rest);
      if (size === undefined) break;
      this.#isLost = size < 0;
      if (this.#isLost || (rest.length < size && rest.length < lookedAtMax)) break;
      found(rest.subarray(0, Math.min(size, lookedAtMax)), size);
      this.#skip = Math.max(0, size - rest.length);
      rest = rest.subarray(Math.min(size, rest.length));
    }
    // What is kept must not hold a whole chunk.
    if (!this.#isLost) this.#head = rest.slice();
  }
}

/** Returns the size of the packet that begins here; undefined: that has not come yet; -1: it is none. */
function sizeOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < 2) return undefined;
  const length = readVarint(bytes, 1, Math.min(bytes.length, 5));
  if (length >= 0) return 1 + varintSize(length) + length;
  return bytes.length >= 5 ? -1 : undefined;
}

/** A packet in words. */
export interface PacketWords {
  readonly text: string;
  readonly topic?: string | undefined;
  readonly payload?: Uint8Array | undefined;
  readonly reason?: number | undefined;
  readonly claims?: Claims | undefined;
}

/** The names that a CONNECT gives, and the version by which its client speaks. */
export interface Claims {
  readonly clientId: string;
  readonly user: string;
  readonly version: ProtocolVersion;
}

interface How {
  readonly direction: Direction;
  readonly version: ProtocolVersion;
  readonly size: number;
}

/** Describes a packet, of which `bytes` is the beginning; `size`: all of its bytes. */
export function describePacket(bytes: Uint8Array, how: How): PacketWords {
  const type = bytes[0]! >> 4;
  const name = nameOfType(type).toUpperCase();
  const body = 1 + varintSize(readVarint(bytes, 1, bytes.length));
  const frame = { bytes, start: 0, body, end: bytes.length };
  try {
    if (type === PacketType.publish) return publishWords(frame, how);
    if (bytes.length < how.size) return { text: `${name} of ${how.size} bytes` };
    if (type >= PacketType.puback && type <= PacketType.pubcomp) return ackWords(frame, name);
    if (type === PacketType.connect) return connectWords(frame);
    if (type === PacketType.subscribe || type === PacketType.unsubscribe) return filterWords(frame, how, name);
    if (type === PacketType.pingreq || type === PacketType.pingresp) return { text: name };
    if (how.direction === "received") decodeControl(frame, how.version);
    return otherWords(frame, how, name);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { text: `${name} of ${how.size} bytes, malformed: ${error.message}` };
  }
}

function publishWords({ bytes, body, end }: Frame, { version, size }: How): PacketWords {
  if (end < size) {
    const topicEnd = body + 2 + readUint16(bytes, body);
    const topic = topicEnd <= end ? Buffer.from(bytes.subarray(body + 2, topicEnd)).toString("utf8") : undefined;
    return { topic, text: `PUBLISH ${topic ?? ""}: QoS ${(bytes[0]! >> 1) & 3}, ${size} bytes with all of it` };
  }
  const publish = new Publish();
  parsePublish(publish, bytes, bytes[0]!, body, end, version);
  const isNamed = publish.topicEnd > publish.topicStart;
  const topic = isNamed ? topicOf(publish) : undefined;
  const alias = publish.alias === 0 ? "" : `, alias ${publish.alias}`;
  const flags = `${publish.retain ? ", retain" : ""}${(bytes[0]! & 8) === 0 ? "" : ", again (DUP)"}`;
  const id = publish.qos === 0 ? "" : `, packet id ${publish.packetId}`;
  const payload = bytes.slice(publish.payloadStart, publish.payloadEnd);
  const text = `PUBLISH ${topic ?? "(by alias)"}: QoS ${publish.qos}${id}${flags}${alias}, ${payload.length} bytes`;
  return { topic, payload, text };
}

function ackWords({ bytes, body, end }: Frame, name: string): PacketWords {
  if (end - body < 2) return { text: `${name} without a packet id` };
  const reason = ackReason(bytes, body, end);
  const why = ackText(bytes, body, end);
  const words = reason === Reason.success ? "" : `: ${describeReason(reason)}${why === undefined ? "" : `: ${why}`}`;
  return { reason, text: `${name}: packet id ${readUint16(bytes, body)}${words}` };
}

function connectWords(frame: Frame): PacketWords {
  const { packet, facts } = decodeConnect(frame);
  const { clientId, clean, keepalive, will, properties } = packet;
  const user = packet.username ?? "";
  const expiry = properties?.sessionExpiryInterval;
  const willWords = will === undefined ? "" : `, will on ${will.topic} at QoS ${will.qos}`;
  const said = [
    `client id ${JSON.stringify(clientId)}`,
    user === "" ? "no user" : `user ${user}`,
    clean === true ? "clean start" : "goes on with its session",
    ...(expiry === undefined ? [] : [`session expiry ${expiry} s`]),
    `keep alive ${keepalive} s`,
  ];
  return { text: `CONNECT: ${said.join(", ")}${willWords}`, claims: { clientId, user, version: facts.version } };
}

function filterWords(frame: Frame, { version }: How, name: string): PacketWords {
  const control = decodeControl(frame, version);
  if (control.cmd !== "subscribe" && control.cmd !== "unsubscribe") return { text: name };
  const asked: string[] = [];
  const { filters } = control;
  for (let one = filters.next(); one !== undefined && asked.length < toldMax; one = filters.next())
    asked.push(name === "SUBSCRIBE" ? `${one.topic} at QoS ${one.qos}` : one.topic);
  return { text: `${name}: packet id ${filters.packetId}, ${asked.join(", ")}` };
}

/** Describes packets that have no path by hand. */
function otherWords(frame: Frame, { version }: How, name: string): PacketWords {
  // Whatever mqtt-packet makes of it; only what is told is looked at.
  const packet = decodeFromServer(frame, version) as unknown as {
    readonly reasonCode?: number;
    readonly returnCode?: number;
    readonly sessionPresent?: boolean;
    readonly messageId?: number;
    readonly granted?: readonly number[];
    readonly properties?: { readonly reasonString?: string; readonly assignedClientIdentifier?: string };
  };
  const { granted, sessionPresent, messageId, properties } = packet;
  const reason = packet.reasonCode ?? packet.returnCode ?? granted?.find((code) => code >= Reason.unspecifiedError);
  const said = [
    ...(messageId === undefined ? [] : [`packet id ${messageId}`]),
    ...(granted === undefined ? [] : [granted.slice(0, toldMax).map(describeGranted).join(", ")]),
    ...(sessionPresent === undefined ? [] : [`session ${sessionPresent ? "present" : "new"}`]),
    ...(reason === undefined || granted !== undefined ? [] : [describeReason(reason)]),
    ...(properties?.assignedClientIdentifier === undefined ? [] : [`is called ${properties.assignedClientIdentifier}`]),
    ...(properties?.reasonString === undefined ? [] : [properties.reasonString]),
  ];
  return { reason, text: said.length === 0 ? name : `${name}: ${said.join(", ")}` };
}

function describeGranted(code: number): string {
  return code <= 2 ? `QoS ${code}` : describeReason(code);
}
