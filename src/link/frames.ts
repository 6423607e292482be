/**
 * The frames that brokers send each other: length (u32), type (u8), body, big-endian. Publishes travel as the MQTT
 * packets they are; rare frames are JSON.
 */
import { encodeUtf8, readUint32, writeUint32 } from "../base/bytes.ts";
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
