/**
 * Cuts what ZooKeeper sends into packets, each behind its length of four bytes. One that comes in many chunks is
 * gathered in memory of its own: every byte of it is copied once, however large it is.
 */
import { readUint32 } from "../base/bytes.ts";
import { keeperReplyBytesMax } from "../base/store-limits.ts";
import { JuteError } from "./jute.ts";

const headBytes = 4;

export class Packets {
  /** The beginning of a packet that is not whole; undefined: there is none. */
  #held: Uint8Array | undefined;
  #heldLength = 0;

  /**
   * Takes a chunk and calls back with each packet that is whole by then, until it returns false: then the rest is
   * nobody's. Throws `JuteError` for a packet that is too long.
   */
  receive(chunk: Uint8Array, packet: (bytes: Uint8Array, start: number, end: number) => boolean): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#held === undefined) {
        const end = chunk.length - at < headBytes ? Infinity : at + headBytes + lengthAt(chunk, at);
        if (end <= chunk.length) {
          const start = at + headBytes;
          at = end;
          if (!packet(chunk, start, end)) return;
          continue;
        }
        this.#held = new Uint8Array(end === Infinity ? headBytes : end - at);
        this.#heldLength = 0;
      }
      at = this.#hold(chunk, at);
      const whole = this.#takeWhole();
      if (whole !== undefined && !packet(whole, headBytes, whole.length)) return;
    }
  }

  /** Copies what fits, and returns where it has got to. */
  #hold(chunk: Uint8Array, at: number): number {
    const held = this.#held!;
    const count = Math.min(held.length - this.#heldLength, chunk.length - at);
    held.set(chunk.subarray(at, at + count), this.#heldLength);
    this.#heldLength += count;
    return at + count;
  }

  /** Returns the packet that is held, if all of it has come; makes room for it when its length is known. */
  #takeWhole(): Uint8Array | undefined {
    const held = this.#held!;
    if (this.#heldLength < held.length) return undefined;
    const total = headBytes + lengthAt(held, 0);
    if (held.length < total) {
      this.#held = new Uint8Array(total);
      this.#held.set(held);
      return undefined;
    }
    this.#held = undefined;
    return held;
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  const length = readUint32(bytes, at);
  if (length > keeperReplyBytesMax) throw new JuteError(`a packet of ${length} bytes`);
  return length;
}
