/**
 * Bytes that are put one behind the other, in a buffer that grows by doubling: what the writers of binary formats
 * share.
 */
import { Buffer } from "node:buffer";
import { writeUint32 } from "./bytes.ts";

export class GrowingBytes {
  /**
   * The buffer that is written to, `length` bytes of which are taken. Valid until the next `reserve`, which may replace
   * it.
   */
  bytes: Buffer;
  length = 0;

  /** `bytesMin`: the size that the buffer begins with. */
  constructor(bytesMin: number) {
    this.bytes = Buffer.allocUnsafe(bytesMin);
  }

  /** Takes `count` more bytes and returns where they begin; the caller must write all of them. */
  reserve(count: number): number {
    const at = this.length;
    const end = at + count;
    if (end > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(end, 2 * this.bytes.length));
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    this.length = end;
    return at;
  }

  /** Appends 32 bits, most significant byte first. */
  int(value: number): this {
    // Room first: it may replace the buffer.
    const at = this.reserve(4);
    writeUint32(this.bytes, at, value);
    return this;
  }

  /** Appends a text in UTF-8, after its length in four bytes. */
  text(value: string): this {
    // A unit of UTF-16 is three bytes of UTF-8 at most; what is not needed is given back.
    const at = this.reserve(4 + 3 * value.length);
    const written = this.bytes.write(value, at + 4);
    writeUint32(this.bytes, at, written);
    this.length = at + 4 + written;
    return this;
  }

  /** Appends bytes, after their length in four bytes. */
  buffer(value: Uint8Array): this {
    this.int(value.length);
    const at = this.reserve(value.length);
    this.bytes.set(value, at);
    return this;
  }

  /** A copy with memory of its own, which may be kept or handed over. */
  copy(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.bytes.subarray(0, this.length));
  }
}
