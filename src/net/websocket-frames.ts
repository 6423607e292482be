/** WebSocket's frames (RFC 6455, 5.2), as both sides read and write them, and what makes an upgrade theirs. */
import { createHash } from "node:crypto";
import { noBytes } from "../base/bytes.ts";

/** The peer has broken the protocol. */
export class FrameError extends Error {
  /** True if it sent text, where bytes are spoken [MQTT-6.0.0-1]. */
  readonly isWrongData: boolean;

  constructor(message: string, isWrongData = false) {
    super(message);
    this.isWrongData = isWrongData;
  }
}

/** Returns the server's proof that it has read the client's `Sec-WebSocket-Key` (4.2.2). */
export function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

const opcodeText = 1;
const opcodeBinary = 2;
const opcodeClose = 8;
const opcodePing = 9;
const opcodePong = 10;
const controlBytesMax = 125;
const headBytesMax = 14;
/** Bytes from which on it pays to unmask four at once. */
const wordsBytesMin = 128;

/** Writes the head of an unmasked, final frame; returns its length. */
export function writeFrameHead(to: Uint8Array, opcode: number, count: number): number {
  to[0] = 0x80 | opcode;
  if (count < 126) {
    to[1] = count;
    return 2;
  }
  to[1] = 126;
  to[2] = count >> 8;
  to[3] = count & 0xff;
  return 4;
}

/** Writes a masked, final frame, as clients send them; returns its length. `to` must have room for 8 bytes more. */
export function writeMaskedFrame(to: Uint8Array, opcode: number, payload: Uint8Array, mask: Uint8Array): number {
  const head = writeFrameHead(to, opcode, payload.length);
  to[1]! |= 0x80;
  to.set(mask, head);
  const start = head + mask.length;
  for (let at = 0; at < payload.length; at++) to[start + at] = payload[at]! ^ mask[at & 3]!;
  return start + payload.length;
}

/** Cuts a stream into frames, whatever chunks it comes in. A client may send a frame with every six bytes. */
export class FrameParser {
  /** The frames of clients are masked, those of servers are not. */
  readonly #isMasked: boolean;
  /** The beginning of a head that has come in part. */
  readonly #head = new Uint8Array(headBytesMax);
  #headLength = 0;
  #opcode = 0;
  /** Payload bytes of the frame that have not come. */
  #left = 0;
  /** The mask's four bytes, the first of them lowest. */
  #mask = 0;
  /** How far the mask has been used. */
  #maskAt = 0;
  /** A fragmented message is under way. */
  #isFragmented = false;
  /** The payload of the control frame that is under way, and how long it is. */
  #control: Uint8Array | undefined;
  #controlLength = 0;
  #isControl = false;
  /** The payload of the last ping of this chunk. */
  #ping: Uint8Array | undefined;
  #pingLength = 0;

  constructor(from: "client" | "server" = "client") {
    this.#isMasked = from === "client";
  }

  /**
   * Moves the payloads of data frames in `bytes`, unmasked, to its beginning, and returns how many bytes they are.
   * Hands out Close frames as they end, and the last of the pings that end in `bytes`: who answers that has answered
   * all (5.5.3), and a client may send 40,000 in a chunk. Nobody is told of pongs. Throws `FrameError`.
   */
  unwrap(bytes: Uint8Array, onControl: (opcode: number, payload: Uint8Array) => void): number {
    let at = 0;
    let length = 0;
    while (at < bytes.length) {
      if (this.#left === 0) {
        at = this.#takeHead(bytes, at);
      } else if (this.#isControl) {
        at = this.#takeControl(bytes, at);
      } else {
        const count = Math.min(this.#left, bytes.length - at);
        this.#take(bytes, at, length, count);
        length += count;
        at += count;
      }
      if (this.#isControl && this.#left === 0) this.#endControl(onControl);
    }
    this.#endPings(onControl);
    return length;
  }

  #takeControl(bytes: Uint8Array, start: number): number {
    const end = Math.min(bytes.length, start + this.#left);
    this.#control ??= new Uint8Array(controlBytesMax);
    const control = this.#control;
    let to = this.#controlLength - this.#left;
    this.#left -= end - start;
    for (let at = start; at < end; at++, to++) control[to] = bytes[at]! ^ (this.#mask >> ((to & 3) << 3));
    return end;
  }

  #endControl(onControl: (opcode: number, payload: Uint8Array) => void): void {
    this.#isControl = false;
    if (this.#opcode === opcodePing) {
      const free = this.#ping;
      this.#ping = this.#control ?? noBytes;
      this.#pingLength = this.#controlLength;
      this.#control = free === noBytes ? undefined : free;
    } else if (this.#opcode === opcodeClose) {
      onControl(opcodeClose, this.#control?.slice(0, this.#controlLength) ?? noBytes);
    }
  }

  #endPings(onControl: (opcode: number, payload: Uint8Array) => void): void {
    const ping = this.#ping;
    this.#ping = undefined;
    if (!this.#isControl) this.#control = undefined;
    if (ping !== undefined) onControl(opcodePing, ping.subarray(0, this.#pingLength));
  }

  /** Reads as much of a head as there is. */
  #takeHead(bytes: Uint8Array, start: number): number {
    if (this.#headLength === 0 && start + 1 < bytes.length) {
      const end = start + this.#lengthOfHead(bytes[start]!, bytes[start + 1]!);
      if (end <= bytes.length) {
        this.#begin(bytes, start, end);
        return end;
      }
    }
    let at = start;
    const head = this.#head;
    while (at < bytes.length) {
      head[this.#headLength++] = bytes[at++]!;
      if (this.#headLength < 2) continue;
      // At once, whatever is still to come.
      const needed = this.#lengthOfHead(head[0]!, head[1]!);
      if (this.#headLength < needed) continue;
      this.#headLength = 0;
      this.#begin(head, 0, needed);
      return at;
    }
    return at;
  }

  #lengthOfHead(first: number, second: number): number {
    if ((first & 0x70) !== 0) throw new FrameError("reserved bits are set");
    if (second >= 0x80 !== this.#isMasked)
      throw new FrameError(
        this.#isMasked ? "a client's frames must be masked" : "a server's frames must not be masked", // 5.1
      );
    const short = second & 0x7f;
    return (this.#isMasked ? 6 : 2) + (short === 126 ? 2 : short === 127 ? 8 : 0);
  }

  /** Begins the frame whose head stands there. */
  #begin(head: Uint8Array, start: number, end: number): void {
    const isFinal = head[start]! >= 0x80;
    const opcode = head[start]! & 0x0f;
    const length = lengthIn(head, start);
    if (this.#isMasked)
      this.#mask = head[end - 4]! | (head[end - 3]! << 8) | (head[end - 2]! << 16) | (head[end - 1]! << 24);
    this.#opcode = opcode;
    this.#left = length;
    this.#maskAt = 0;
    if (opcode >= opcodeClose) {
      if (opcode > opcodePong) throw new FrameError(`opcode ${opcode}`);
      // 5.5
      if (!isFinal || length > controlBytesMax) throw new FrameError("a control frame that is fragmented or too long");
      this.#isControl = true;
      this.#controlLength = length;
      return;
    }
    if (opcode === opcodeText) throw new FrameError("text, where MQTT sends binary frames", true);
    if (opcode > opcodeBinary) throw new FrameError(`opcode ${opcode}`);
    if ((opcode === 0) !== this.#isFragmented) throw new FrameError("fragments of messages are mixed up"); // 5.4
    this.#isFragmented = !isFinal;
  }

  /** Moves so many bytes of a data frame to where they belong, and unmasks them there. */
  #take(bytes: Uint8Array, from: number, to: number, count: number): void {
    this.#left -= count;
    const end = to + count;
    let at = to;
    if (!this.#isMasked || count >= wordsBytesMin) {
      if (to !== from) bytes.copyWithin(to, from, from + count);
      if (!this.#isMasked) return;
      at = this.#unmaskWords(bytes, to, end);
      from = at;
    }
    const mask = this.#mask;
    let turn = this.#maskAt;
    for (; at < end; at++, from++, turn++) bytes[at] = bytes[from]! ^ (mask >> ((turn & 3) << 3));
    this.#maskAt = turn & 3;
  }

  /** Unmasks what lies in words of four bytes, and what is before it; returns where that ends. */
  #unmaskWords(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#mask;
    let at = start;
    for (; (bytes.byteOffset + at) % 4 !== 0; this.#maskAt++) bytes[at++]! ^= mask >> ((this.#maskAt & 3) << 3);
    const count = (end - at) >> 2;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, count);
    const used = (this.#maskAt & 3) << 3;
    const key = used === 0 ? mask : (mask >>> used) | (mask << (32 - used));
    for (let index = 0; index < count; index++) words[index]! ^= key;
    return at + count * 4;
  }
}

function lengthIn(head: Uint8Array, start: number): number {
  const short = head[start + 1]! & 0x7f;
  if (short < 126) return short;
  if (short === 126) return (head[start + 2]! << 8) | head[start + 3]!;
  const length = new DataView(head.buffer, head.byteOffset + start + 2).getBigUint64(0);
  if (length > Number.MAX_SAFE_INTEGER) throw new FrameError("a frame of an impossible length");
  return Number(length);
}
