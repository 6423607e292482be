/** Reads the whole table once and says whether every row is as it was written, and whether all are there. */
import type { Database } from "bun:sqlite";
import { messageOf } from "../base/errors.ts";
import { scanBytesMax, scanRowsMax } from "../base/store-limits.ts";
import { messageMark, sessionsPath, topicsPath } from "../coordinator/paths.ts";
import { checksumOfTotals, isWhole, noRows, type Row, type Totals, withRow } from "./checksum.ts";
import { pathOf, whatIs } from "./damage.ts";
import { hasChecksums } from "./formats.ts";

export interface Scan {
  /** The damage, each in words; empty: there is none. */
  readonly findings: readonly string[];
  readonly lost: readonly string[];
  /** Rows that are as they were written. */
  readonly whole: number;
  /** The last transaction in the store; undefined where that is damaged. */
  readonly zxid: number | undefined;
}

interface Counter extends Totals {
  readonly zxid: number;
  readonly checksum: number;
}

/**
 * Scans a store of the current format in one snapshot. `progress` is told now and then how many rows have been read.
 * Damage is a result; other trouble with the disk is thrown.
 */
export function scan(db: Database, progress: (rows: number) => void = () => {}): Scan {
  db.exec("BEGIN");
  try {
    const counter = readCounter(db);
    return (counter && scanFast(db, counter, progress)) ?? scanThoroughly(db, counter);
  } finally {
    if (db.inTransaction) db.exec("ROLLBACK");
  }
}

function readCounter(db: Database): Counter | undefined {
  try {
    const counter = db.query<Counter, []>("SELECT zxid, rows, digest, checksum FROM counter").get();
    return counter?.checksum === checksumOfTotals(counter!, counter!.zxid) ? counter : undefined;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return undefined;
  }
}

/** SQLite's own word for what it cannot make sense of. */
export function isDamage(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(codeOf(error)) || /malformed|not a database/i.test(messageOf(error));
}

/** True if a statement that is right failed because of damage: one that lacks a table or a column is damaged, too. */
export function isUnreadable(error: unknown): boolean {
  return isDamage(error) || codeOf(error) === "SQLITE_ERROR";
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? "";
}

type Columns = [string, string, Uint8Array, number, number, number, number, number, number];

const rowColumns = "parent, name, data, mode, version, czxid, mzxid, sequence, checksum";

/** Page by page; undefined as soon as anything is wrong. */
function scanFast(db: Database, counter: Counter, progress: (rows: number) => void): Scan | undefined {
  const page = db.query<unknown, [string, string, number]>(
    `SELECT ${rowColumns} FROM node WHERE (parent, name) > (?, ?) ORDER BY parent, name LIMIT ?`,
  );
  let totals: Totals = noRows;
  let last: [string, string] = ["", ""];
  let limit = 16;
  try {
    for (;;) {
      const rows = page.values(...last, limit) as Columns[];
      if (rows.length === 0) break;
      let bytes = 0;
      for (const [parent, name, data, mode, version, czxid, mzxid, sequence, checksum] of rows) {
        if (!isWhole({ parent, name, data, mode, version, czxid, mzxid, sequence, checksum })) return undefined;
        totals = withRow(totals, checksum);
        bytes += data.length;
      }
      last = [rows.at(-1)![0], rows.at(-1)![1]];
      progress(totals.rows);
      // Large rows are read few at a time.
      limit = Math.max(1, Math.min(scanRowsMax, 2 * limit, Math.floor((scanBytesMax * rows.length) / (bytes + 1))));
    }
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return undefined;
  }
  if (totals.rows !== counter.rows || totals.digest !== counter.digest) return undefined;
  return { findings: [], lost: [], whole: totals.rows, zxid: counter.zxid };
}

/** Reads every row that can be reached, since something is wrong, and finds out what. */
function scanThoroughly(db: Database, counter: Counter | undefined): Scan {
  const findings: string[] = [];
  const lost = new Lost();
  let totals: Totals = noRows;
  const seen = walkRows(db, (row) => {
    if (!isWhole(row)) return lost.damaged(row);
    lost.whole(row);
    totals = withRow(totals, row.checksum!);
  });
  const bad = lost.bad.length;
  if (seen.malformed !== undefined) findings.push(`SQLite cannot read all of it (${seen.malformed})`);
  if (bad > 0)
    findings.push(`${bad} of ${totals.rows + bad} records are not as they were written: their checksums differ`);
  if (counter === undefined) findings.push("the count of its records is damaged");
  else if (counter.rows > totals.rows + bad)
    findings.push(`${counter.rows - totals.rows - bad} of ${counter.rows} records are missing`);
  else if (counter.rows < totals.rows + bad)
    findings.push(`${totals.rows + bad - counter.rows} records are there that should not be`);
  else if (bad === 0 && counter.digest !== totals.digest)
    findings.push("some of its records are older ones than were written last");
  return { findings, lost: lost.named(), whole: totals.rows, zxid: counter?.zxid };
}

/**
 * Visits each row that SQLite can reach: from the beginning, and where it cannot go on, from the end. Says what SQLite
 * says if it does not reach all.
 */
export function walkRows(db: Database, visit: (row: Row) => void): { readonly malformed: string | undefined } {
  const columns = hasChecksums(db) ? rowColumns : rowColumns.replace("checksum", "NULL AS checksum");
  const seen = new Set<string>();
  let malformed: string | undefined;
  for (const direction of ["ASC", "DESC"]) {
    try {
      const rows = db.query<Row, []>(`SELECT ${columns} FROM node ORDER BY parent ${direction}, name ${direction}`);
      for (const row of rows.iterate()) {
        const key = `${row.parent}\0${row.name}`;
        if (seen.has(key)) continue;
        seen.add(key);
        visit(row);
      }
      if (malformed === undefined) break;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      malformed ??= messageOf(error);
    }
  }
  return { malformed };
}

/**
 * The client whose mailbox a row lies in, and the message that it owes; undefined: it is no slip of a stored message.
 */
export function slipIn({ parent, data }: Row): { readonly client: string; readonly message: string } | undefined {
  const [, root, , client, mail] = parent.split("/");
  if (`/${root}` !== sessionsPath || mail !== "mail") return undefined;
  // A slip ends with the path of its message.
  const at = Buffer.from(data.buffer, data.byteOffset, data.length).indexOf(`${topicsPath}/`);
  return at === -1 ? undefined : { client: client!, message: Buffer.from(data.subarray(at)).toString() };
}

/** Collects what is lost, and for whom it was. */
class Lost {
  readonly bad: string[] = [];
  readonly #messages = new Set<string>();
  /** The clients that wait for a message, by its path. */
  readonly #waiting = new Map<string, Set<string>>();

  damaged({ parent, name }: Row): void {
    this.bad.push(pathOf(parent, name));
  }

  whole(row: Row): void {
    const { parent, name } = row;
    if (name.startsWith(messageMark) && parent.startsWith(`${topicsPath}/`)) this.#messages.add(pathOf(parent, name));
    const slip = slipIn(row);
    if (slip === undefined) return;
    const { message, client } = slip;
    this.#waiting.set(message, (this.#waiting.get(message) ?? new Set()).add(client));
  }

  /** Damaged records, and messages that somebody waits for and that are not there. */
  named(): string[] {
    const missing = [...this.#waiting.keys()].filter((path) => !this.#messages.has(path));
    const others = this.bad.filter((path) => !this.#waiting.has(path));
    return [
      ...missing.map((path) => {
        const clients = [...this.#waiting.get(path)!].map((name) => JSON.stringify(name));
        return `${whatIs(path)} for client ${clients.slice(0, 5).join(", ")}${clients.length > 5 ? " and others" : ""}`;
      }),
      ...others.map(whatIs),
    ];
  }
}
