/** Where encoded packets go. The writer of a connection is one; so is a test's array. */
export interface Sink {
  /** Counts the packets that are appended, but for PUBLISH: who encodes one adds it. */
  packets: number;
  /** Valid until the next `reserve` or `append`. */
  readonly buffer: Uint8Array;
  /** Makes room for `count` more bytes and returns where in `buffer` the caller must write all of them. */
  reserve(count: number): number;
  /** Appends a range. It is read before the turn ends, so the bytes must not change until then. */
  append(bytes: Uint8Array, start: number, end: number): void;
  /** Appends a range that never changes: it may be read long after. */
  lend(bytes: Uint8Array, start: number, end: number): void;
}

/** A sink that keeps everything, for packets that are encoded once and sent elsewhere, and for tests. */
export class MemorySink implements Sink {
  packets = 0;
  buffer = new Uint8Array(64);
  length = 0;

  reserve(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.buffer.length) {
      const grown = new Uint8Array(Math.max(this.length, this.buffer.length * 2));
      grown.set(this.buffer);
      this.buffer = grown;
    }
    return at;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const at = this.reserve(end - start);
    this.buffer.set(bytes.subarray(start, end), at);
  }

  lend(bytes: Uint8Array, start: number, end: number): void {
    this.append(bytes, start, end);
  }

  take(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}
