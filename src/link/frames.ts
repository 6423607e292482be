/**
 * The frames that brokers send each other: length (u32), type (u8), body, big-endian. Publishes travel as the MQTT
 * packets they are; rare frames are JSON.
 */
import { decodeUtf8, encodeUtf8, readUint16, readUint32, writeUint16, writeUint32 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { linkStrangerBytesMax } from "../base/limits.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Sink } from "../mqtt/sink.ts";
import { type ClockOffset, pingBodyBytes } from "./clock-offset.ts";

export const FrameType = {
  /** Handshake, see `handshake.ts`. */
  challenge: 0,
  hello: 1,
  welcome: 2,
  confirm: 3,
  /** How many numbered frames have been received: u32. */
  ack: 4,
  /** The sender's time, see `clock-offset.ts`; earlier brokers send an empty one, and do not look into others'. */
  ping: 5,
  /** QoS 0: u8 (1: MQTT 5 packets), how many (u32), then PUBLISH packets on one topic. Not numbered: at most once. */
  run: 6,
  /** QoS 0 for members of shared subscriptions: a delivery. Not numbered. */
  offer: 7,
  // From here on frames are numbered: they arrive exactly once and in order, also over a reconnect.
  /** A delivery that must be settled. */
  publish: 8,
  /** Deliveries that are settled: u32 each. */
  settled: 9,
  /** JSON: receivers of a delivery that are not here any more. The delivery is settled for all others. */
  remain: 10,
  /** JSON: one `Control`. */
  control: 11,
  /** QoS 1 for sessions that end with their connections: id (u32), then as a run. Settled as one delivery. */
  bundle: 12,
} as const;

const firstNumbered = FrameType.publish;
export const frameHeadBytes = 5;

export function isNumbered(type: number): boolean {
  return type >= firstNumbered;
}

export interface Hello {
  /** The handshake that is meant: "mqttzoo-link-1" or "mqttzoo-link-2". */
  readonly protocol: string;
  readonly id: string;
  readonly epoch: number;
  /** Random, so that a proof holds for this connection only. */
  readonly nonce: string;
}

export interface Challenge {
  readonly nonce: string;
}

export interface Welcome extends Hello {
  /** Numbered frames received from this incarnation of the other side. */
  readonly received: number;
  readonly proof: string;
}

export interface Confirm {
  readonly received: number;
  readonly proof: string;
}

/** The frames that are rare enough to be JSON. `say` is a message's type; links carry it under that name. */
export type Control =
  /** A client has come to the sender: the broker that has its session gives it up. */
  | {
      readonly say: "claim";
      readonly number: number;
      readonly clientId: string;
      readonly stamp: number;
      readonly clean: boolean;
      /** The user that the client has logged in as, "": none; undefined: the sender does not say so. */
      readonly user?: string | undefined;
      /** True if the sender can be told that the client has been here since; see `newest`. */
      readonly maybeLate?: true | undefined;
    }
  /**
   * `isAnothers`: it is not granted, since the session is another user's. `newest`: nor is it if it has come late, for
   * the client has come here by a claim of that stamp; a sender whose client still waits claims by a newer one.
   * `willRemains`: it is granted, but the client's earlier will may be in the store, and cannot be removed here now.
   */
  | {
      readonly say: "claimed";
      readonly number: number;
      readonly granted: boolean;
      readonly isAnothers?: true | undefined;
      readonly newest?: number | undefined;
      readonly willRemains?: true | undefined;
    }
  /** Persistent sessions that are connected at the sender now, under numbers that deliveries name. */
  | { readonly say: "hosting"; readonly sessions: readonly (readonly [handle: number, clientId: string])[] }
  | { readonly say: "unhosting"; readonly handles: readonly number[] }
  /** Asks to be told when everything up to a transaction is known. */
  | { readonly say: "see"; readonly number: number; readonly zxid: number }
  | { readonly say: "seen"; readonly number: number }
  /** The mailbox of a session that the receiver keeps is full; told only to brokers that say `endsSessions`. */
  | { readonly say: "full"; readonly clientId: string }
  /** Messages that the receiver's branch of the bank pays for are gone. */
  | { readonly say: "freed"; readonly paths: readonly string[] }
  /** Answers a `Remain` that was unpaid. */
  | { readonly say: "remained" }
  /** The sender's branch is short of credits, and the vault is empty: who has more than it needs gives some back. */
  | { readonly say: "short" }
  /** An operator's question, and the answer; told only to brokers that say `answersQuestions`. */
  | { readonly say: "ask"; readonly number: number; readonly question: string }
  | { readonly say: "answered"; readonly number: number; readonly answer: string }
  /** A subscriber there is behind: send less, and go on. */
  | { readonly say: "hold" }
  | { readonly say: "go" };

/** A message for receivers at another broker. */
export interface Delivery {
  /** 0: nothing has to be settled. */
  readonly id: number;
  /** The sender's last commit to the mailboxes of these sessions: nothing may overtake it. */
  readonly zxid: number;
  /** Sessions there that end with their connection. */
  readonly toInterest: boolean;
  /** Persistent sessions there, by their numbers. */
  readonly handles: readonly number[];
  /** Shared subscriptions of which a member there is to be chosen. */
  readonly groups: readonly string[];
  /**
   * The user who pays for what is stored of it, "": anonymous clients; undefined: the receiver does not know such
   * frames, or the sender does not say.
   */
  readonly payer?: string | undefined;
}

export interface Remain {
  readonly id: number;
  /**
   * The other broker could not pay for what may have to be stored. It is answered with `remained`: until then
   * everything else for persistent sessions is sent back as well, so that nothing overtakes.
   */
  readonly unpaid?: true;
  readonly handles: readonly number[];
  readonly groups: readonly string[];
}

/** A frame whose body is still to be written: returns where. */
function begin(to: Sink, type: number, bodyBytes: number): number {
  const at = to.reserve(frameHeadBytes + bodyBytes);
  writeUint32(to.buffer, at, 1 + bodyBytes);
  to.buffer[at + 4] = type;
  return at + frameHeadBytes;
}

function frame(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(frameHeadBytes + body.length);
  writeUint32(bytes, 0, 1 + body.length);
  bytes[4] = type;
  bytes.set(body, frameHeadBytes);
  return bytes;
}

export function jsonFrame(type: number, body: object): Uint8Array {
  return frame(type, encodeUtf8(JSON.stringify(body)));
}

export function writeAckFrame(to: Sink, received: number): void {
  const at = begin(to, FrameType.ack, 4);
  writeUint32(to.buffer, at, received);
}

/** `moment`: by this machine's clock. */
export function writePing(to: Sink, offset: ClockOffset, moment: { now: number; wall: number }): void {
  const at = begin(to, FrameType.ping, pingBodyBytes);
  offset.write(viewOf(to.buffer, at, at + pingBodyBytes), moment);
}

/** Reads a ping whose body lies between `start` and `end`. */
export function readPing(bytes: Uint8Array, start: number, end: number): DataView {
  return viewOf(bytes, start, end);
}

function viewOf(bytes: Uint8Array, start: number, end: number): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
}

/** PUBLISH packets that follow each other. If there are several, each may be passed on as it is. */
export interface Packets {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly count: number;
  readonly version5: boolean;
}

const runHeadBytes = 5;

export function writeRun(to: Sink, { bytes, start, end, count, version5 }: Packets): void {
  const at = to.reserve(frameHeadBytes + runHeadBytes);
  writeUint32(to.buffer, at, 1 + runHeadBytes + end - start);
  to.buffer[at + 4] = FrameType.run;
  to.buffer[at + 5] = version5 ? 1 : 0;
  writeUint32(to.buffer, at + 6, count);
  to.append(bytes, start, end);
}

/** Reads a run of QoS 0 packets; they are not copied. Throws `ProtocolError`. */
export function decodeRun(bytes: Uint8Array, start: number, end: number): Packets {
  if (end - start <= runHeadBytes) throw new ProtocolError(Reason.malformedPacket, "a run ends early");
  return { version5: bytes[start] === 1, count: readUint32(bytes, start + 1), bytes, start: start + runHeadBytes, end };
}

export function bundleFrame(id: number, { bytes, start, end, count, version5 }: Packets): Uint8Array {
  const body = new Uint8Array(4 + runHeadBytes + end - start);
  writeUint32(body, 0, id);
  body[4] = version5 ? 1 : 0;
  writeUint32(body, 5, count);
  body.set(bytes.subarray(start, end), 4 + runHeadBytes);
  return frame(FrameType.bundle, body);
}

export function decodeBundle(bytes: Uint8Array, start: number, end: number): Packets & { readonly id: number } {
  return { id: readUint32(bytes, start), ...decodeRun(bytes, start + 4, end) };
}

export function settledFrame(ids: readonly number[]): Uint8Array {
  const body = new Uint8Array(4 * ids.length);
  for (let index = 0; index < ids.length; index++) writeUint32(body, 4 * index, ids[index]!);
  return frame(FrameType.settled, body);
}

export function decodeSettled(bytes: Uint8Array, start: number, end: number): number[] {
  const ids: number[] = [];
  for (let at = start; at + 4 <= end; at += 4) ids.push(readUint32(bytes, at));
  return ids;
}

/**
 * A delivery: id (u32), zxid (u64), flags (u8; bit 0: to interest, bit 1: it names a user), number of handles (u32),
 * each (u32), number of groups (u16), each as length (u16) and UTF-8; with bit 1 the user, as length (u16) and UTF-8;
 * then the message as an MQTT 5 PUBLISH packet. Only brokers that say `knowsPayers` are sent bit 1.
 */
export function deliveryFrame(type: number, delivery: Delivery, packet: Uint8Array): Uint8Array {
  const { payer } = delivery;
  // The user stands where one more group would.
  const texts = (payer === undefined ? delivery.groups : [...delivery.groups, payer]).map(encodeUtf8);
  const textBytes = texts.reduce((sum, text) => sum + 2 + text.length, 0);
  const headBytes = 4 + 8 + 1 + 4 + 4 * delivery.handles.length + 2 + textBytes;
  const bytes = new Uint8Array(frameHeadBytes + headBytes + packet.length);
  writeUint32(bytes, 0, 1 + headBytes + packet.length);
  bytes[4] = type;
  let at = frameHeadBytes;
  writeUint32(bytes, at, delivery.id);
  writeUint32(bytes, at + 4, Math.floor(delivery.zxid / 2 ** 32));
  writeUint32(bytes, at + 8, delivery.zxid % 2 ** 32);
  bytes[at + 12] = (delivery.toInterest ? 1 : 0) | (payer === undefined ? 0 : 2);
  writeUint32(bytes, at + 13, delivery.handles.length);
  at += 17;
  for (const handle of delivery.handles) {
    writeUint32(bytes, at, handle);
    at += 4;
  }
  writeUint16(bytes, at, delivery.groups.length);
  at += 2;
  for (const text of texts) {
    writeUint16(bytes, at, text.length);
    bytes.set(text, at + 2);
    at += 2 + text.length;
  }
  bytes.set(packet, at);
  return bytes;
}

/** The number of a receiver that was taken out of a delivery. It is nobody's; 0 is every session's that is away. */
const withdrawn = 0xffff_ffff;

/**
 * Takes a receiver out of a delivery that waits to be sent, perhaps again. The frame keeps its length, so a part of it
 * may be on its way.
 */
export function withdrawReceiver(delivery: Uint8Array, handle: number): void {
  const first = frameHeadBytes + 17;
  const count = readUint32(delivery, first - 4);
  for (let index = 0; index < count; index++)
    if (readUint32(delivery, first + 4 * index) === handle) writeUint32(delivery, first + 4 * index, withdrawn);
}

/** Reads a delivery. `packetStart`: where the PUBLISH packet begins. Throws `ProtocolError`. */
export function decodeDelivery(bytes: Uint8Array, start: number, end: number): Delivery & { packetStart: number } {
  // Returns where so many bytes begin, if they are there.
  const take = (count: number): number => {
    const from = at;
    at += count;
    if (at > end) throw new ProtocolError(Reason.malformedPacket, "a delivery ends early");
    return from;
  };
  let at = start;
  take(17);
  const handles: number[] = [];
  for (let left = readUint32(bytes, start + 13); left > 0; left--) handles.push(readUint32(bytes, take(4)));
  const groups: string[] = [];
  const takeText = (): string => {
    const length = readUint16(bytes, take(2));
    return textOf(bytes, take(length), at);
  };
  for (let left = readUint16(bytes, take(2)); left > 0; left--) groups.push(takeText());
  const payer = (bytes[start + 12]! & 2) === 0 ? undefined : takeText();
  return {
    id: readUint32(bytes, start),
    zxid: readUint32(bytes, start + 4) * 2 ** 32 + readUint32(bytes, start + 8),
    toInterest: (bytes[start + 12]! & 1) === 1,
    handles,
    groups,
    payer,
    packetStart: at,
  };
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  try {
    return decodeUtf8(bytes, start, end);
  } catch {
    throw new ProtocolError(Reason.malformedPacket, "a text is not UTF-8");
  }
}

/** Cuts a stream into frames. Only a frame that comes in several chunks is copied. */
export class FrameReader {
  /** The beginning of a frame, in a buffer of its size once that is known; and how much of it is there. */
  #pending: Uint8Array | undefined;
  #filled = 0;
  /** The largest frame that is taken. A peer that has not shaken hands yet may not make us keep room for much. */
  frameBytesMax = linkStrangerBytesMax;

  /**
   * Calls `visit` with each whole frame: its type, and where its body lies. Throws `ProtocolError` for impossible
   * lengths.
   */
  feed(chunk: Uint8Array, visit: FrameVisitor): void {
    let at = this.#pending === undefined ? 0 : this.#complete(chunk, visit);
    while (at + frameHeadBytes <= chunk.length) {
      const end = at + 4 + this.#lengthAt(chunk, at);
      if (end > chunk.length) break;
      visit(chunk[at + 4]!, chunk, at + frameHeadBytes, end);
      at = end;
    }
    if (at >= chunk.length) return;
    const rest = chunk.subarray(at);
    this.#pending = new Uint8Array(rest.length < frameHeadBytes ? frameHeadBytes : 4 + this.#lengthAt(rest, 0));
    this.#pending.set(rest);
    this.#filled = rest.length;
  }

  /** Adds to the frame that was incomplete; returns where what follows it begins. */
  #complete(chunk: Uint8Array, visit: FrameVisitor): number {
    let at = this.#fill(chunk, 0);
    if (this.#filled < frameHeadBytes) return at;
    const bytes = 4 + this.#lengthAt(this.#pending!, 0);
    if (this.#pending!.length < bytes) {
      const whole = new Uint8Array(bytes);
      whole.set(this.#pending!);
      this.#pending = whole;
      at = this.#fill(chunk, at);
    }
    if (this.#filled < bytes) return at;
    const frame = this.#pending!;
    this.#pending = undefined;
    visit(frame[4]!, frame, frameHeadBytes, bytes);
    return at;
  }

  #lengthAt(bytes: Uint8Array, at: number): number {
    const length = readUint32(bytes, at);
    if (length < 1 || length > this.frameBytesMax)
      throw new ProtocolError(Reason.malformedPacket, `a frame of ${length} bytes`);
    return length;
  }

  #fill(chunk: Uint8Array, at: number): number {
    const pending = this.#pending!;
    const end = Math.min(chunk.length, at + pending.length - this.#filled);
    pending.set(chunk.subarray(at, end), this.#filled);
    this.#filled += end - at;
    return end;
  }
}

type FrameVisitor = (type: number, bytes: Uint8Array, start: number, end: number) => void;
