/**
 * Bytes that are put one behind the other, in a buffer that grows by doubling: what the writers of binary formats
 * share.
 */
import { Buffer } from "node:buffer";

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

  /** A copy with memory of its own, which may be kept or handed over. */
  copy(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.bytes.subarray(0, this.length));
  }
}
