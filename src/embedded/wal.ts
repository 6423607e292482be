/**
 * SQLite's write-ahead log, examined before SQLite sees it. SQLite takes the first frame whose checksum is wrong for
 * the torn end of a crash, and forgets in silence whatever was committed after it. But each commit is synced before the
 * next one begins: so a frame that is wrong, with a whole commit and more behind it, was whole once.
 *
 * The format is SQLite's (https://sqlite.org/fileformat2.html, "The Write-Ahead Log"). The checksum of a frame goes on
 * from the one that stands in the frame before, so a frame can be judged whatever lies further ahead.
 */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";

const headerBytes = 32;
const frameHeaderBytes = 24;
const magicBase = 0x377f0682;

export interface WalReport {
  /** torn: as a crash may leave it. */
  readonly state: "none" | "whole" | "torn" | "damaged";
  /** Frames that belong to this log, up to the last one that is whole. */
  readonly frames: number;
  /** Frames that SQLite would read: those before the first that is wrong. */
  readonly readable: number;
}

/** Damaged: what SQLite would forget in silence. A file that is not there is none. */
export function examineWal(path: string): WalReport {
  const wal = read(path);
  return wal === undefined ? { state: "none", frames: 0, readable: 0 } : wal.report();
}

/**
 * Writes a log that SQLite reads to its last commit: the frames as they are, with checksums that are right. What was
 * wrong in them is left to the rows' own checksums.
 */
export function rechainWal(path: string, to: string): void {
  const wal = read(path);
  if (wal === undefined) return;
  writeFileSync(to, wal.rechained());
}

/** Puts the pages of a log that is whole where they belong in a database file, as SQLite would. */
export function applyWal(path: string, database: string): void {
  const wal = read(path);
  if (wal === undefined) return;
  const file = openSync(database, "r+");
  try {
    for (const { at, bytes } of wal.pages()) writeSync(file, bytes, 0, bytes.length, at);
  } finally {
    closeSync(file);
  }
}

function read(path: string): Wal | undefined {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
  return bytes.length <= headerBytes ? undefined : new Wal(bytes);
}

type Sum = readonly [number, number];

class Wal {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #pageBytes: number;
  readonly #isLittle: boolean;
  readonly #count: number;
  readonly #isHeaderWhole: boolean;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const magic = this.#view.getUint32(0);
    this.#isLittle = magic !== magicBase + 1;
    const pageBytes = this.#view.getUint32(8);
    const isPageSize = pageBytes >= 512 && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0;
    this.#pageBytes = isPageSize ? pageBytes : 4096;
    this.#count = Math.floor((bytes.length - headerBytes) / this.#frameBytes);
    const [first, second] = this.#sum(0, 24, [0, 0]);
    const isMagic = magic === magicBase || magic === magicBase + 1;
    this.#isHeaderWhole = isMagic && this.#view.getUint32(24) === first && this.#view.getUint32(28) === second;
  }

  report(): WalReport {
    const frames = this.#lastWhole() + 1;
    if (!this.#isHeaderWhole) return { state: frames > 1 ? "damaged" : "torn", frames, readable: 0 };
    let readable = 0;
    while (readable < this.#count && this.#hasSalts(readable) && this.#isChained(readable)) readable++;
    if (readable >= frames) return { state: readable < this.#count ? "torn" : "whole", frames, readable };
    // The transaction that was not synced yet may have come to disk in pieces, but nothing can stand behind it.
    for (let index = readable + 1; index + 1 < frames; index++) {
      if (!this.#isCommit(index) || !this.#hasSalts(index + 1)) continue;
      if (this.#isChained(index) && this.#isChained(index + 1)) return { state: "damaged", frames, readable };
    }
    return { state: "torn", frames, readable };
  }

  rechained(): Uint8Array {
    let end = this.#lastWhole() + 1;
    while (end > 0 && !this.#isCommit(end - 1)) end--;
    const kept = Array.from({ length: end }, (_, index) => index).filter((index) => this.#hasPlace(index, end));
    const bytes = new Uint8Array(headerBytes + kept.length * this.#frameBytes);
    bytes.set(this.#bytes.subarray(0, headerBytes));
    for (const [place, index] of kept.entries())
      bytes.set(this.#bytes.subarray(this.#at(index), this.#at(index + 1)), headerBytes + place * this.#frameBytes);
    new Wal(bytes).#rechain(kept.length, this.#saltsOfLog());
    return bytes;
  }

  /** A frame whose page number is damaged may belong anywhere: one that lies outside the database is left out. */
  #hasPlace(index: number, end: number): boolean {
    if (this.#isChained(index)) return true;
    const page = this.#view.getUint32(this.#at(index));
    return page > 0 && page <= this.#view.getUint32(this.#at(end - 1) + 4);
  }

  /** Each page that a frame holds, and where it belongs in the file. */
  *pages(): Generator<{ readonly at: number; readonly bytes: Uint8Array }> {
    for (let index = 0; index < this.#count; index++) {
      const at = this.#at(index);
      const bytes = this.#bytes.subarray(at + frameHeaderBytes, this.#at(index + 1));
      yield { at: (this.#view.getUint32(at) - 1) * this.#pageBytes, bytes };
    }
  }

  #rechain(end: number, [salt1, salt2]: Sum): void {
    const view = this.#view;
    view.setUint32(0, magicBase + (this.#isLittle ? 0 : 1));
    view.setUint32(4, 3_007_000);
    view.setUint32(8, this.#pageBytes);
    view.setUint32(16, salt1);
    view.setUint32(20, salt2);
    let sum = this.#sum(0, 24, [0, 0]);
    this.#put(24, sum);
    for (let index = 0; index < end; index++) {
      const at = this.#at(index);
      view.setUint32(at + 8, salt1);
      view.setUint32(at + 12, salt2);
      sum = this.#frameSum(index, sum);
      this.#put(at + 16, sum);
    }
  }

  #put(at: number, [first, second]: Sum): void {
    this.#view.setUint32(at, first);
    this.#view.setUint32(at + 4, second);
  }

  get #frameBytes(): number {
    return frameHeaderBytes + this.#pageBytes;
  }

  #at(index: number): number {
    return headerBytes + index * this.#frameBytes;
  }

  /** The last frame of this log that is whole; -1: none. What lies behind it is of an older one. */
  #lastWhole(): number {
    for (let index = this.#count - 1; index >= 0; index--)
      if (this.#hasSalts(index) && this.#isChained(index)) return index;
    return -1;
  }

  /** The salts tell the frames of this log from older ones; where the header is damaged, the first frames say them. */
  #saltsOfLog(): Sum {
    const at = this.#isHeaderWhole || this.#count === 0 ? 16 : this.#at(0) + 8;
    return [this.#view.getUint32(at), this.#view.getUint32(at + 4)];
  }

  #hasSalts(index: number): boolean {
    const at = this.#at(index) + 8;
    const [salt1, salt2] = this.#saltsOfLog();
    return this.#view.getUint32(at) === salt1 && this.#view.getUint32(at + 4) === salt2;
  }

  #isCommit(index: number): boolean {
    return this.#view.getUint32(this.#at(index) + 4) !== 0;
  }

  /** Whether its checksum goes on from the one that stands before it. */
  #isChained(index: number): boolean {
    const before = index === 0 ? 24 : this.#at(index - 1) + 16;
    const seed: Sum = [this.#view.getUint32(before), this.#view.getUint32(before + 4)];
    const [first, second] = this.#frameSum(index, seed);
    const at = this.#at(index) + 16;
    return this.#view.getUint32(at) === first && this.#view.getUint32(at + 4) === second;
  }

  #frameSum(index: number, seed: Sum): Sum {
    const at = this.#at(index);
    return this.#sum(at + frameHeaderBytes, this.#pageBytes, this.#sum(at, 8, seed));
  }

  #sum(at: number, length: number, [seed1, seed2]: Sum): Sum {
    const view = this.#view;
    const isLittle = this.#isLittle;
    let first = seed1;
    let second = seed2;
    for (let place = at; place < at + length; place += 8) {
      first = (first + view.getUint32(place, isLittle) + second) >>> 0;
      second = (second + view.getUint32(place + 4, isLittle) + first) >>> 0;
    }
    return [first, second];
  }
}
