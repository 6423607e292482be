/**
 * The checksums of the store's own: one in each row, over everything that the row says, and one over all of them
 * together. A disk that changes a bit is found by the first, one that loses or brings back whole pages by the second.
 * SQLite itself has none in its database.
 */

/** A znode as it lies in the table; `mode` indexes the modes of `database.ts`. */
export interface Row {
  readonly parent: string;
  readonly name: string;
  readonly data: Uint8Array;
  readonly mode: number;
  readonly version: number;
  readonly czxid: number;
  readonly mzxid: number;
  /** The number of the next sequential child. */
  readonly sequence: number;
  /** Null in a store of the first format, which has none. */
  readonly checksum: number | null;
}

/** The sums over all rows of the table: changed with every row, committed with it. */
export interface Totals {
  readonly rows: number;
  /** Exclusive or of all rows' checksums, whatever their order. */
  readonly digest: number;
}

export const noRows: Totals = { rows: 0, digest: 0 };

const numbers = new Float64Array(5);
/** Rows that follow each other have the same parent, mostly. */
let lastParent = "";
let parentSum = Bun.hash.crc32("");

/** CRC-32 of a row, as a signed number of 32 bits: SQLite is handed such ones fastest. */
export function checksumOf(row: Omit<Row, "checksum">): number {
  if (row.parent !== lastParent) {
    lastParent = row.parent;
    parentSum = Bun.hash.crc32(`${lastParent}\0`);
  }
  numbers[0] = row.mode;
  numbers[1] = row.version;
  numbers[2] = row.czxid;
  numbers[3] = row.mzxid;
  numbers[4] = row.sequence;
  return Bun.hash.crc32(row.data, Bun.hash.crc32(numbers, Bun.hash.crc32(row.name, parentSum))) | 0;
}

/** A damaged row may hold anything, also another type than its column's: null would count as 0. */
export function isWhole(row: Row): boolean {
  const { parent, name, data, mode, version, czxid, mzxid, sequence, checksum } = row;
  if (typeof parent !== "string" || typeof name !== "string" || !(data instanceof Uint8Array)) return false;
  if (typeof mode !== "number" || typeof version !== "number" || typeof sequence !== "number") return false;
  return typeof czxid === "number" && typeof mzxid === "number" && checksum === checksumOf(row);
}

/** CRC-32 of the totals and of the last transaction's number. */
export function checksumOfTotals({ rows, digest }: Totals, zxid: number): number {
  return Bun.hash.crc32(`${zxid} ${rows} ${digest}`) | 0;
}

export function withRow({ rows, digest }: Totals, checksum: number): Totals {
  return { rows: rows + 1, digest: digest ^ checksum };
}

export function withoutRow({ rows, digest }: Totals, checksum: number): Totals {
  return { rows: rows - 1, digest: digest ^ checksum };
}
