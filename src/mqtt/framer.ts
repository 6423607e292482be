/**
 * Cuts the byte stream into packets. A packet that lies whole in its chunk is handed out where it lies; only
 * one that spans chunks is gathered, in memory that grows with what has arrived and not with what was announced.
 */

import { concatBytes, noBytes, readVarint, varintSize } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { malformed } from "./properties.ts";
import { Reason } from "./reason.ts";

/** First byte and up to four bytes of length. */
const headerBytesMax = 5;

/**
 * When this part of a packet has come, there is room for all of it: memory that nothing was written to costs nothing.
 */
const announcedPart = 64;

export class Framer {
  /** The packet that `next` found: `bytes[start]` is its first byte, its body is `body`…`end`. */
  bytes: Uint8Array = noBytes;
  start = 0;
  body = 0;
  end = 0;

  /** True if the packet lies in memory of its own, which nothing else will be written to. */
  isApart = false;

  /** Larger packets are refused with 0x95 as soon as their length is known; in bytes, header included. */
  packetBytesMax: number;

  #chunk: Uint8Array = noBytes;
  #at = 0;
  #held: Uint8Array | undefined;
  #heldLength = 0;

  constructor(packetBytesMax: number) {
    this.packetBytesMax = packetBytesMax;
  }

  /** Gives the next chunk; what was not taken of the one before stays in front of it. */
  feed(chunk: Uint8Array): void {
    this.#chunk = this.pending ? concatBytes([this.#chunk.subarray(this.#at), chunk]) : chunk;
    this.#at = 0;
  }

  /** True while the chunk has bytes that `next` has not looked at. */
  get pending(): boolean {
    return this.#at < this.#chunk.length;
  }

  /** Bytes of the chunk that `next` has not looked at. */
  get pendingBytes(): number {
    return this.#chunk.length - this.#at;
  }

  /** Bytes held of a packet that is not complete. */
  get heldLength(): number {
    return this.#heldLength;
  }

  /**
   * The memory that it keeps, in bytes: the whole chunk, what it has gathered, and the packet at hand. Room for what
   * has not come yet takes none.
   */
  get memoryBytes(): number {
    const apart = this.bytes === this.#chunk || this.bytes === this.#held ? 0 : this.bytes.length;
    return this.#chunk.length + this.#heldLength + apart;
  }

  /** Forgets the chunk once it is used up, so that its memory can go. */
  release(): void {
    this.#chunk = noBytes;
    this.#at = 0;
    this.bytes = noBytes;
  }

  /** Forgets all that has come: nothing more is read. */
  close(): void {
    this.release();
    this.#held = undefined;
    this.#heldLength = 0;
  }

  /**
   * Moves to the next packet; false: none is complete. Throws `ProtocolError` if its length is none, or more than
   * `packetBytesMax`.
   */
  next(): boolean {
    if (this.#held !== undefined) return this.#complete();
    const chunk = this.#chunk;
    const start = this.#at;
    if (start >= chunk.length) return false;
    let length = start + 1 < chunk.length ? chunk[start + 1]! : -1;
    if (length >= 0x80 || length < 0) length = readVarint(chunk, start + 1, chunk.length);
    if (length < -1) throw malformed("the remaining length is not a variable byte integer");
    if (length >= 0) {
      const body = start + 1 + varintSize(length);
      const end = body + length;
      if (end - start > this.packetBytesMax) throw tooLarge(end - start, this.packetBytesMax);
      if (end <= chunk.length) {
        this.bytes = chunk;
        this.isApart = false;
        this.start = start;
        this.body = body;
        this.end = end;
        this.#at = end;
        return true;
      }
    }
    this.#held = new Uint8Array(Math.max(headerBytesMax, chunk.length - start));
    this.#heldLength = 0;
    this.#hold(chunk.length - start);
    return false;
  }

  /** Continues a packet that began in an earlier chunk. */
  #complete(): boolean {
    while (this.#at < this.#chunk.length) {
      const length = readVarint(this.#held!, 1, this.#heldLength);
      if (length < -1) throw malformed("the remaining length is not a variable byte integer");
      if (length < 0) {
        this.#hold(1);
      } else if (this.#gather(1 + varintSize(length) + length, length)) {
        return true;
      }
    }
    return this.#heldLength > 1 && this.#isWhole();
  }

  /** Has `next` find the present packet once more: it cannot be handled yet. */
  putBack(): void {
    const { bytes, start, end } = this;
    if (bytes === this.#chunk) {
      this.#at = start;
      return;
    }
    // It was gathered from several chunks.
    this.#chunk = concatBytes([bytes.subarray(start, end), this.#chunk.subarray(this.#at)]);
    this.#at = 0;
  }

  #isWhole(): boolean {
    const length = readVarint(this.#held!, 1, this.#heldLength);
    return length >= 0 && this.#gather(1 + varintSize(length) + length, length);
  }

  #gather(total: number, length: number): boolean {
    if (total > this.packetBytesMax) throw tooLarge(total, this.packetBytesMax);
    this.#hold(Math.min(total - this.#heldLength, this.#chunk.length - this.#at), total);
    if (this.#heldLength < total) return false;
    this.bytes = this.#held!;
    this.isApart = this.bytes.length === total;
    this.start = 0;
    this.body = 1 + varintSize(length);
    this.end = total;
    this.#held = undefined;
    this.#heldLength = 0;
    return true;
  }

  /** `total`: what the packet will come to, if that is known. */
  #hold(count: number, total = Infinity): void {
    const needed = this.#heldLength + count;
    if (needed > this.#held!.length) {
      // To double the memory of a large packet again and again would be to copy all of it in one turn.
      const isSure = needed >= total / announcedPart;
      const grown = new Uint8Array(isSure ? total : Math.max(needed, this.#held!.length * 2));
      grown.set(this.#held!.subarray(0, this.#heldLength));
      this.#held = grown;
    }
    this.#held!.set(this.#chunk.subarray(this.#at, this.#at + count), this.#heldLength);
    this.#heldLength = needed;
    this.#at += count;
  }
}

function tooLarge(size: number, max: number): ProtocolError {
  return new ProtocolError(Reason.packetTooLarge, `a packet of ${size} bytes; the limit is ${max}`);
}
