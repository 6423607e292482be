/** Jute, ZooKeeper's serialization: big-endian numbers, length-prefixed buffers and strings, counted vectors. */
import { decodeUtf8, readUint32, writeUint32 } from "../base/bytes.ts";
import { GrowingBytes } from "../base/growing-bytes.ts";

/** The lowest 64-bit number. */
export const lowestLong = -(1n << 63n);

/** Thrown when bytes end early or a length is impossible: the peer is no ZooKeeper server. */
export class JuteError extends Error {
  override readonly name = "JuteError";
}

export class JuteWriter extends GrowingBytes {
  constructor() {
    super(256);
  }

  /** A 64-bit number; zxids fit into a number's 53 bits for two million leader elections. */
  long(value: number | bigint): this {
    const at = this.reserve(8);
    if (typeof value === "bigint") this.bytes.writeBigInt64BE(value, at);
    else {
      writeUint32(this.bytes, at, Math.floor(value / 2 ** 32));
      writeUint32(this.bytes, at + 4, value);
    }
    return this;
  }

  bool(value: boolean): this {
    const at = this.reserve(1);
    this.bytes[at] = value ? 1 : 0;
    return this;
  }

  /** Bytes as they are, without their length. */
  raw(value: Uint8Array): this {
    const at = this.reserve(value.length);
    this.bytes.set(value, at);
    return this;
  }

  vector<Item>(items: readonly Item[], write: (to: this, item: Item) => void): this {
    this.int(items.length);
    for (const item of items) write(this, item);
    return this;
  }

  /** The bytes as one packet: its length in four bytes, then itself. */
  packet(): Uint8Array {
    const packet = new Uint8Array(4 + this.length);
    writeUint32(packet, 0, this.length);
    packet.set(this.bytes.subarray(0, this.length), 4);
    return packet;
  }
}

/**
 * Reads a range of bytes. Numbers are put together by hand: a view for every small packet costs more than its content.
 */
export class JuteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  int(): number {
    return readUint32(this.#bytes, this.#take(4)) | 0;
  }

  /** A 64-bit number. Throws `JuteError` if it does not fit into 53 bits. */
  long(): number {
    const at = this.#take(8);
    const value = (readUint32(this.#bytes, at) | 0) * 2 ** 32 + readUint32(this.#bytes, at + 4);
    if (!Number.isSafeInteger(value)) throw new JuteError("a 64-bit number does not fit into 53 bits");
    return value;
  }

  /** A 64-bit number that uses all its bits, as ids do. */
  bigLong(): bigint {
    const at = this.#take(8);
    const high = readUint32(this.#bytes, at);
    const low = readUint32(this.#bytes, at + 4);
    // The owners of almost all nodes.
    if (low === 0 && high === 0) return 0n;
    if (low === 0 && high === 2 ** 31) return lowestLong;
    return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
  }

  bool(): boolean {
    return this.#bytes[this.#take(1)] !== 0;
  }

  /** A copy; a null buffer (length -1) is empty. */
  buffer(): Uint8Array {
    const length = this.int();
    if (length <= 0) return new Uint8Array(0);
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  /** A text; a null one is empty. Throws `JuteError` if it is not UTF-8. */
  text(): string {
    const length = this.int();
    if (length <= 0) return "";
    const at = this.#take(length);
    try {
      return decodeUtf8(this.#bytes, at, at + length);
    } catch {
      throw new JuteError("a text is not UTF-8");
    }
  }

  /** Passes over a text or a buffer. */
  skip(): void {
    this.pass(Math.max(0, this.int()));
  }

  /** Passes over so many bytes. */
  pass(count: number): void {
    this.#take(count);
  }

  vector<Item>(read: (from: this) => Item): Item[] {
    const items: Item[] = [];
    for (let count = this.int(); count > 0; count--) items.push(read(this));
    return items;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count < 0 || at + count > this.#end) throw new JuteError(`a packet of ${this.#end} bytes ends early`);
    this.#at = at + count;
    return at;
  }
}
