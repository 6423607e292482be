/** WebSocket's frames (RFC 6455, 5.2), as both sides read and write them, and what makes an upgrade theirs. */
import { createHash } from "node:crypto";

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
const opcodeCloseMin = 8;
const opcodePongMax = 10;
const controlBytesMax = 125;
const headBytesMax = 14;
/** Bytes from which on it pays to unmask four at once. */
const wordsBytesMin = 64;

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

/** Cuts a stream into frames, whatever chunks it comes in. */
export class FrameParser {
  /** The frames of clients are masked, those of servers are not. */
  readonly #isMasked: boolean;
  readonly #head = new Uint8Array(headBytesMax);
  #headLength = 0;
  #opcode = 0;
  /** Payload bytes of the frame that have not come. */
  #left = 0;
  /** How far the mask has been used. */
  #maskAt = 0;
  /** A fragmented message is under way. */
  #isFragmented = false;
  #control: Uint8Array | undefined;

  constructor(from: "client" | "server" = "client") {
    this.#isMasked = from === "client";
  }

  /**
   * Moves the payloads of data frames in `bytes`, unmasked, to its beginning, and returns how many bytes they are;
   * control frames are handed out as they end. Throws `FrameError`.
   */
  unwrap(bytes: Uint8Array, onControl: (opcode: number, payload: Uint8Array) => void): number {
    let at = 0;
    let length = 0;
    while (at < bytes.length || (this.#control !== undefined && this.#left === 0)) {
      if (this.#control !== undefined) {
        at = this.#takeControl(bytes, at, onControl);
        continue;
      }
      if (this.#left === 0) {
        at = this.#takeHead(bytes, at);
        continue;
      }
      const count = Math.min(this.#left, bytes.length - at);
      if (length !== at) bytes.copyWithin(length, at, at + count);
      this.#unmask(bytes, length, length + count);
      this.#left -= count;
      length += count;
      at += count;
    }
    return length;
  }

  #takeControl(bytes: Uint8Array, at: number, onControl: (opcode: number, payload: Uint8Array) => void): number {
    const control = this.#control!;
    const count = Math.min(this.#left, bytes.length - at);
    control.set(bytes.subarray(at, at + count), control.length - this.#left);
    this.#left -= count;
    if (this.#left === 0) {
      this.#maskAt = 0;
      this.#unmask(control, 0, control.length);
      this.#control = undefined;
      onControl(this.#opcode, control);
    }
    return at + count;
  }

  /** Reads as much of a head as there is. */
  #takeHead(bytes: Uint8Array, start: number): number {
    let at = start;
    const head = this.#head;
    while (at < bytes.length) {
      head[this.#headLength++] = bytes[at++]!;
      if (this.#headLength < 2) continue;
      // At once, whatever is still to come.
      if ((head[0]! & 0x70) !== 0) throw new FrameError("reserved bits are set");
      if (head[1]! >= 0x80 !== this.#isMasked)
        throw new FrameError(
          this.#isMasked ? "a client's frames must be masked" : "a server's frames must not be masked", // 5.1
        );
      const short = head[1]! & 0x7f;
      const needed = (this.#isMasked ? 6 : 2) + (short === 126 ? 2 : short === 127 ? 8 : 0);
      if (this.#headLength < needed) continue;
      this.#headLength = 0;
      this.#begin(short, needed);
      return at;
    }
    return at;
  }

  #begin(short: number, headLength: number): void {
    const head = this.#head;
    const view = new DataView(head.buffer);
    const isFinal = head[0]! >= 0x80;
    const opcode = head[0]! & 0x0f;
    const length = short === 126 ? view.getUint16(2) : short === 127 ? Number(view.getBigUint64(2)) : short;
    if (length > Number.MAX_SAFE_INTEGER) throw new FrameError("a frame of an impossible length");
    head.copyWithin(0, headLength - 4, headLength);
    this.#opcode = opcode;
    this.#left = length;
    this.#maskAt = 0;
    if (opcode >= opcodeCloseMin) {
      if (opcode > opcodePongMax) throw new FrameError(`opcode ${opcode}`);
      // 5.5
      if (!isFinal || length > controlBytesMax) throw new FrameError("a control frame that is fragmented or too long");
      this.#control = new Uint8Array(length);
      return;
    }
    if (opcode === opcodeText) throw new FrameError("text, where MQTT sends binary frames", true);
    if (opcode > opcodeBinary) throw new FrameError(`opcode ${opcode}`);
    if ((opcode === 0) !== this.#isFragmented) throw new FrameError("fragments of messages are mixed up"); // 5.4
    this.#isFragmented = !isFinal;
  }

  /** The mask stands at the beginning of the head. */
  #unmask(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#isMasked) return;
    const mask = this.#head;
    let at = start;
    let turn = this.#maskAt;
    if (end - start >= wordsBytesMin) {
      while ((bytes.byteOffset + at) % 4 !== 0) bytes[at++]! ^= mask[turn++ & 3]!;
      const count = (end - at) >> 2;
      const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, count);
      const key = new Uint32Array(Uint8Array.of(...[0, 1, 2, 3].map((step) => mask[(turn + step) & 3]!)).buffer)[0]!;
      for (let index = 0; index < count; index++) words[index]! ^= key;
      at += count * 4;
    }
    while (at < end) bytes[at++]! ^= mask[turn++ & 3]!;
    this.#maskAt = turn & 3;
  }
}
