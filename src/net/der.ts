/**
 * A reader of DER (ITU-T X.690), the encoding of certificates and of what belongs to them. It goes through the bytes
 * from left to right and copies nothing, so that a list of 100,000 revoked certificates costs no more than its bytes.
 */

/** Identifier octets (X.690, 8.1.2) of the types that X.509 is made of. */
export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/** Returns the identifier octet of a member that its type gives a number: `[2]`. */
export function contextTag(number: number, form: "primitive" | "constructed"): number {
  return (form === "constructed" ? 0xa0 : 0x80) | number;
}

/** The bytes are not what they should be; the message says which part is not, and how. */
export class DerError extends Error {}

/** The longest length of a length: four bytes are 4 GB. */
const lengthBytesMax = 4;

/** Reads the elements that follow each other in a stretch of bytes. Its methods throw `DerError`. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** The identifier octet of the next element; -1: there is none. */
  get tag(): number {
    return this.isAtEnd ? -1 : this.#bytes[this.#at]!;
  }

  /** The bytes that have not been read: a view. */
  get rest(): Uint8Array {
    return this.#bytes.subarray(this.#at, this.#end);
  }

  /** Goes past the next element, and returns a reader of its content. Throws `DerError` if it is not of that type. */
  read(tag: number, what: string): DerReader {
    if (this.isAtEnd) throw new DerError(`${what} is missing`);
    if (this.tag !== tag) throw new DerError(`${what} is of type ${this.tag}, not ${tag}`);
    const start = this.#contentStart(what);
    const end = start + this.#contentLength(start, what);
    this.#at = end;
    return new DerReader(this.#bytes, start, end);
  }

  /** As `read`; undefined, and goes nowhere, if the next element is of another type. */
  readIf(tag: number, what: string): DerReader | undefined {
    return this.tag === tag ? this.read(tag, what) : undefined;
  }

  /** Goes past the next element and returns it whole, with its type and length: a view. */
  readWhole(tag: number, what: string): Uint8Array {
    const from = this.#at;
    this.read(tag, what);
    return this.#bytes.subarray(from, this.#at);
  }

  /** Goes past the next element, of whatever type, and returns it whole: a view. */
  readAny(what: string): Uint8Array {
    return this.readWhole(this.tag, what);
  }

  /** Throws unless everything has been read. */
  finish(what: string): void {
    if (!this.isAtEnd) throw new DerError(`${what} is followed by something else`);
  }

  /** Returns where the content of the next element begins. */
  #contentStart(what: string): number {
    if ((this.tag & 0x1f) === 0x1f) throw new DerError(`${what} is of a type that X.509 does not have`);
    const first = this.#at + 1 < this.#end ? this.#bytes[this.#at + 1]! : 0;
    return this.#at + 2 + (first < 0x80 ? 0 : first & 0x7f);
  }

  /** Returns the length of the content that begins at `start`, which lies within this stretch. */
  #contentLength(start: number, what: string): number {
    const lengthBytes = start - this.#at - 2;
    if (start > this.#end) throw new DerError(`${what} is cut off`);
    let length = this.#bytes[this.#at + 1]!;
    if (length >= 0x80) {
      if (lengthBytes === 0 || lengthBytes > lengthBytesMax)
        throw new DerError(`${what} has no length that DER allows`);
      length = 0;
      for (let at = this.#at + 2; at < start; at++) length = length * 256 + this.#bytes[at]!;
      // X.690, 10.1: in as few bytes as it takes.
      if (length < (lengthBytes === 1 ? 0x80 : 256 ** (lengthBytes - 1)))
        throw new DerError(`${what} has a length in more bytes than it takes`);
    }
    if (start + length > this.#end) throw new DerError(`${what} is cut off`);
    return length;
  }
}

/** Returns bytes as the hexadecimal text by which they are compared. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/**
 * Returns an integer as it is compared and shown: in hexadecimal, without the zeros before it. Throws `DerError` if it
 * has no bytes.
 */
export function serialOf(integer: DerReader): string {
  const bytes = integer.rest;
  if (bytes.length === 0) throw new DerError("a serial number is empty");
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  return hexOf(bytes.subarray(from));
}

/**
 * Reads a time as X.509 writes it (RFC 5280, 4.1.2.5: with seconds, in UTC); in ms since 1970. Throws `DerError` if it
 * is none.
 */
export function readTime(from: DerReader, what: string): number {
  const isLong = from.tag === Tag.generalizedTime;
  const { rest } = from.read(isLong ? Tag.generalizedTime : Tag.utcTime, what);
  const text = Buffer.from(rest).toString("latin1");
  const [, year, ...parts] = (isLong ? longTime : shortTime).exec(text) ?? [];
  if (year === undefined) throw new DerError(`${what} is no time`);
  const [month, day, hour, minute, second] = parts.map(Number) as [number, number, number, number, number];
  const century = isLong ? 0 : Number(year) < 50 ? 2000 : 1900;
  const time = Date.UTC(century + Number(year), month - 1, day, hour, minute, second);
  // What is beyond its month or hour would be the next one's.
  if (new Date(time).toISOString().replace(/\D/g, "").slice(4, 14) !== parts.join(""))
    throw new DerError(`${what} is no time`);
  return time;
}

const longTime = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const shortTime = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** Returns an object identifier as people write it: `2.5.29.28`. */
export function dottedOf(hex: string): string {
  const bytes = Buffer.from(hex, "hex");
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of bytes) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first = 0, ...others] = arcs;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - 40 * top, ...others].join(".");
}
