/**
 * Judges a store before anybody serves it, and without changing it: what is damaged stays as it was found, for whoever
 * repairs it.
 */
import { Database } from "bun:sqlite";
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { scanReportMs, scanStoreBytesMax, storeBusyMs } from "../base/store-limits.ts";
import type { Damage } from "./damage.ts";
import { checkFormat, formatOf, hasOurTables, isEmpty } from "./formats.ts";
import { isUnreadable, scan } from "./scan.ts";
import { examineWal, rechainWal } from "./wal.ts";
import { readWitness, type Testimony } from "./witness.ts";

/** A tool that opens or leaves the store locks it for a moment. */
export const busyTimeout = `PRAGMA busy_timeout=${storeBusyMs}`;

export function storePath(folder: string): string {
  return join(folder, "tree.db");
}

export function walPath(folder: string): string {
  return join(folder, "tree.db-wal");
}

/**
 * Looks for damage in a store that nobody has open; undefined: there is none. `tell` hears in words how far it has
 * come. Throws `OperatingError` if the store is of a newer format.
 */
export function assess(folder: string, report: (words: string) => void): Damage | undefined {
  const witness = readWitness(folder);
  const findings = witness === "damaged" ? ["the file tree.witness is damaged"] : [];
  const testimony = witness === "damaged" ? undefined : witness;
  const wal = examineWal(walPath(folder));
  if (wal.state !== "damaged") return judge(folder, { testimony, findings, report });
  findings.push(
    `its log is damaged in the middle: what was committed after it, ${wal.frames - wal.readable - 1} of ${wal.frames} pages, would be forgotten`,
  );
  const copy = join(folder, "inspected");
  try {
    copyForReading(folder, copy);
    const before = findings.length;
    const damage = judge(copy, { testimony, findings, report });
    return findings.length > before ? damage : { findings: [...findings, "all of it can be put right"], lost: [] };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Looks for damage in a store that a broker is using, whose log is the broker's business and may grow meanwhile. */
export function assessRunning(folder: string): Damage | undefined {
  const witness = readWitness(folder);
  const testimony = witness === undefined || witness === "damaged" ? undefined : { ...witness, isClean: false };
  return judge(folder, { testimony, findings: [], report() {} });
}

/** A copy of the store that SQLite reads to the end of its log, whatever is damaged in that. */
export function copyForReading(folder: string, copy: string): void {
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { mode: 0o700 });
  if (existsSync(storePath(folder))) copyFileSync(storePath(folder), storePath(copy));
  rechainWal(walPath(folder), walPath(copy));
}

interface Case {
  readonly testimony: Testimony | undefined;
  readonly findings: string[];
  readonly report: (words: string) => void;
}

function judge(folder: string, { testimony, findings, report }: Case): Damage | undefined {
  let lost: readonly string[] = [];
  const path = storePath(folder);
  const size = existsSync(path) ? statSync(path).size + sizeOf(walPath(folder)) : 0;
  if (size === 0)
    return testimony === undefined
      ? undefined
      : { findings: [...findings, "the file tree.db is missing or empty"], lost };
  try {
    const db = new Database(path, { readonly: true });
    try {
      db.exec(busyTimeout);
      checkFormat(db, folder);
      if (isEmpty(db)) {
        if (testimony !== undefined) findings.push("the file tree.db is empty");
      } else if (formatOf(db) < 2) findings.push(...checkOld(db));
      else if (!hasOurTables(db)) findings.push("the description of its tables is damaged");
      else {
        const found = judgeRows(db, { size, testimony, report });
        findings.push(...found.findings);
        lost = found.lost;
      }
    } finally {
      db.close();
    }
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    findings.push(`SQLite cannot read it (${messageOf(error)})`);
  }
  return findings.length === 0 ? undefined : { findings, lost };
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/** The first format has no checksums: what SQLite itself can find. */
function checkOld(db: Database): string[] {
  const hasColumn = db.query("SELECT 1 FROM pragma_table_info('node') WHERE name = 'checksum'").get() !== null;
  return [...(hasColumn ? ["its format number is damaged"] : []), ...quickCheck(db)];
}

function quickCheck(db: Database): string[] {
  const rows = db.query<{ quick_check: string }, []>("PRAGMA quick_check(3)").all();
  return rows
    .filter(({ quick_check }) => quick_check !== "ok")
    .map(({ quick_check }) => `SQLite finds its pages in disorder (${quick_check.replaceAll("\n", " ")})`);
}

function judgeRows(
  db: Database,
  { size, testimony, report }: Omit<Case, "findings"> & { readonly size: number },
): { readonly findings: string[]; readonly lost: readonly string[] } {
  if (testimony?.isClean === true && size > scanStoreBytesMax) {
    report(
      `the store is large (${(size / 2 ** 30).toFixed(1)} GB) and was closed in order: its records are verified when they are read`,
    );
    return { findings: [], lost: [] };
  }
  let toldAt = systemClock.now();
  const { findings, lost, zxid, whole } = scan(db, (rows) => {
    if (systemClock.now() - toldAt < scanReportMs) return;
    toldAt = systemClock.now();
    report(`the store is being verified: ${rows} records have been read`);
  });
  const all = [...findings];
  if (zxid !== undefined && testimony !== undefined && zxid < testimony.zxid)
    all.push(`its last ${testimony.zxid - zxid} transactions are missing, that were acknowledged`);
  // After an end in order there is no log that could have been put in the wrong place.
  if (testimony?.isClean !== true && whole > 0) all.push(...quickCheck(db));
  return { findings: all, lost };
}
