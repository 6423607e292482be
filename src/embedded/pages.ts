/**
 * Reads rows out of the database file itself, page by page, where SQLite gives up: a page that is damaged hides none
 * but its own rows. Only rows whose checksum is right are taken, so whatever else looks like one does no harm. What
 * lies in free pages was removed.
 *
 * The format is SQLite's (https://sqlite.org/fileformat2.html, "B-tree Pages", "Record Format", "The Freelist"): the
 * table has no rowid, so its tree is that of an index, whose inner pages hold rows too.
 */
import { readFileSync } from "node:fs";
import { isWhole, type Row } from "./checksum.ts";

const leafPage = 0x0a;
const innerPage = 0x02;
/** The file begins with these, before the first page's own head. */
const fileHeaderBytes = 100;
const columnCount = 9;

/** Visits each row that is whole, in any order; one that was moved may come twice. */
export function readPages(path: string, visit: (row: Row) => void): void {
  const file = new PageFile(readFileSync(path));
  const free = file.freePages();
  for (let number = 1; number <= file.count; number++) {
    if (free.has(number)) continue;
    for (const payload of file.payloads(number)) {
      const row = decodeRow(payload);
      if (row !== undefined && isWhole(row)) visit(row);
    }
  }
}

class PageFile {
  readonly count: number;
  readonly #bytes: Buffer;
  readonly #pageBytes: number;

  constructor(bytes: Buffer) {
    const told = bytes.length < fileHeaderBytes ? 0 : bytes.readUInt16BE(16);
    const isSize = told >= 512 && (told & (told - 1)) === 0;
    this.#pageBytes = told === 1 ? 65_536 : isSize ? told : 4096;
    this.#bytes = bytes;
    this.count = Math.floor(bytes.length / this.#pageBytes);
  }

  /** As far as their list can be followed. */
  freePages(): Set<number> {
    const free = new Set<number>();
    if (this.count === 0) return free;
    for (let trunk = this.#bytes.readUInt32BE(32); this.#has(trunk) && !free.has(trunk); ) {
      free.add(trunk);
      const page = this.#page(trunk);
      const leaves = Math.min(page.readUInt32BE(4), this.#pageBytes / 4 - 2);
      for (let index = 0; index < leaves; index++) free.add(page.readUInt32BE(8 + 4 * index));
      trunk = page.readUInt32BE(0);
    }
    return free;
  }

  /** The records in one page; none if it is no page of a table like ours. */
  *payloads(number: number): Generator<Buffer> {
    const page = this.#page(number);
    const head = number === 1 ? fileHeaderBytes : 0;
    const type = page[head]!;
    if (type !== leafPage && type !== innerPage) return;
    const first = head + (type === leafPage ? 8 : 12);
    for (let index = 0; index < page.readUInt16BE(head + 3); index++) {
      const pointer = first + 2 * index;
      if (pointer + 2 > page.length) return;
      const payload = this.#payload(page, page.readUInt16BE(pointer) + (type === leafPage ? 0 : 4));
      if (payload !== undefined) yield payload;
    }
  }

  #payload(page: Buffer, at: number): Buffer | undefined {
    const [bytes, start] = varint(page, at);
    if (bytes === 0 || start >= page.length || bytes > this.#bytes.length) return undefined;
    // A long record goes on in a chain of other pages.
    const most = Math.floor(((this.#pageBytes - 12) * 64) / 255) - 23;
    const least = Math.floor(((this.#pageBytes - 12) * 32) / 255) - 23;
    const rest = least + ((bytes - least) % (this.#pageBytes - 4));
    const local = bytes <= most ? bytes : rest <= most ? rest : least;
    const pieces = [page.subarray(start, start + local)];
    if (local === bytes) return pieces[0];
    if (start + local + 4 > page.length) return undefined;
    let next = page.readUInt32BE(start + local);
    for (let left = bytes - local; left > 0; left -= this.#pageBytes - 4) {
      if (!this.#has(next)) return undefined;
      const more = this.#page(next);
      pieces.push(more.subarray(4, 4 + Math.min(left, this.#pageBytes - 4)));
      next = more.readUInt32BE(0);
    }
    return Buffer.concat(pieces);
  }

  #has(number: number): boolean {
    return number >= 1 && number <= this.count;
  }

  #page(number: number): Buffer {
    return this.#bytes.subarray((number - 1) * this.#pageBytes, number * this.#pageBytes);
  }
}

/**
 * Seven bits a byte, the first bit says whether more follow. Returns the number and where it ends; beyond the end it is
 * 0.
 */
function varint(bytes: Buffer, at: number): [value: number, end: number] {
  let value = 0;
  for (let index = at; index < at + 9; index++) {
    const byte = bytes[index];
    if (byte === undefined) return [0, bytes.length];
    if (index === at + 8) return [value * 256 + byte, index + 1];
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return [value, index + 1];
  }
  return [0, bytes.length];
}

function decodeRow(record: Buffer): Row | undefined {
  let [headEnd, at] = varint(record, 0);
  let place = headEnd;
  const values: unknown[] = [];
  while (at < headEnd && values.length < columnCount) {
    const [type, end] = varint(record, at);
    at = end;
    const length = lengthOf(type);
    if (place + length > record.length) return undefined;
    values.push(valueFrom(type, record.subarray(place, place + length)));
    place += length;
  }
  if (values.length < columnCount) return undefined;
  const [parent, name, data, mode, version, czxid, mzxid, sequence, checksum] = values;
  return { parent, name, data, mode, version, czxid, mzxid, sequence, checksum } as Row;
}

/** Bytes of a value, by its serial type. */
function lengthOf(type: number): number {
  if (type >= 12) return Math.floor((type - 12) / 2);
  return [0, 1, 2, 3, 4, 6, 8, 8, 0, 0][type] ?? 0;
}

function valueFrom(type: number, bytes: Buffer): unknown {
  if (type >= 12) return type % 2 === 0 ? new Uint8Array(bytes) : bytes.toString();
  if (type === 8 || type === 9) return type - 8;
  if (type === 6) return Number(bytes.readBigInt64BE());
  return type >= 1 && type <= 5 ? bytes.readIntBE(0, bytes.length) : undefined;
}
