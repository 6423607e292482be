/**
 * The checksums of the store's own: one in each row, over everything that the row says, and one over all of them together. A disk that
 * changes a bit is found by the first, one that loses or brings back whole pages by the second. SQLite itself has none in its database.
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

/** What the table holds in all: changed with every row, committed with it. */
export interface Totals {
  readonly rows: number;
  /** Exclusive or of all rows' checksums, whatever their order. */
  readonly digest: number;
}

export const noRows: Totals = { rows: 0, digest: 0 };

/** CRC-32 of a row. */
export function checksumOf({
  parent,
  name,
  data,
  mode,
  version,
  czxid,
  mzxid,
  sequence,
}: Omit<Row, "checksum">): number {
  const head = Bun.hash.crc32(`${parent}\0${name}\0${mode} ${version} ${czxid} ${mzxid} ${sequence}`);
  return Bun.hash.crc32(data, head);
}

/** A damaged row may hold anything, also another type than its column's. */
export function isWhole(row: Row): boolean {
  return row.data instanceof Uint8Array && row.checksum === checksumOf(row);
}

/** CRC-32 of the totals and of the last transaction's number. */
export function checksumOfTotals({ rows, digest }: Totals, zxid: number): number {
  return Bun.hash.crc32(`${zxid} ${rows} ${digest}`);
}

export function withRow({ rows, digest }: Totals, checksum: number): Totals {
  return { rows: rows + 1, digest: (digest ^ checksum) >>> 0 };
}

export function withoutRow({ rows, digest }: Totals, checksum: number): Totals {
  return { rows: rows - 1, digest: (digest ^ checksum) >>> 0 };
}
