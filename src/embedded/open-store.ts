/**
 * How the embedded store is opened: locked, judged before anything is changed, brought to the current format. A damaged
 * one is refused unless the operator has said that what is whole of it shall be served.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { messageOf, OperatingError } from "../base/errors.ts";
import { logPagesMax, storeCacheBytesMax } from "../base/store-limits.ts";
import { assess, busyTimeout, storePath } from "./assess.ts";
import { refusal, summary } from "./damage.ts";
import { create, currentFormat, formatOf, isEmpty, migrate } from "./formats.ts";
import { salvage } from "./salvage.ts";
import { isDamage } from "./scan.ts";
import { closeToOthers } from "./store-file.ts";
import { readWitness, Witness } from "./witness.ts";

export interface OpenOptions {
  /** Serve what is whole of a damaged store. */
  readonly acceptDamage: boolean;
  /** Hears what the operator should know. */
  readonly report: (words: string) => void;
}

export const defaultOpenOptions: OpenOptions = { acceptDamage: false, report() {} };

/** A store that nobody else may change. */
export interface OwnStore {
  readonly db: Database;
  readonly witness: Witness;
  /** Notes the last commit, by its number; and whether all was committed that belongs to an end in order. */
  close(zxid: number, isClean: boolean): void;
}

/** Opens or creates the store in a folder, and owns it. Throws `OperatingError` in words for the operator. */
export function openStore(folder: string, options: OpenOptions): OwnStore {
  let lock: Database | undefined;
  try {
    // Messages lie there as they were published: what others may read is the operator's to say.
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    lock = tryLock(folder);
    if (lock === undefined)
      throw new OperatingError(
        "EBUSY",
        `the data folder ${folder} is in use by another broker; choose another with --data`,
      );
    const store = open(folder, options, lock);
    closeToOthers(folder);
    return store;
  } catch (error) {
    lock?.close();
    throw inWords(error, folder);
  }
}

/** Opens a store that a broker may own. Throws what SQLite throws. */
export function openForReading(folder: string): Database {
  const db = new Database(storePath(folder), { readonly: true });
  db.exec(busyTimeout);
  return db;
}

/**
 * The lock goes with the process, also by kill -9: it is a file lock that SQLite holds. Undefined: another process has
 * it.
 */
export function tryLock(folder: string): Database | undefined {
  const lock = new Database(join(folder, "lock.db"));
  try {
    lock.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock.close();
    if (!/locked|busy/i.test(messageOf(error))) throw error;
    return undefined;
  }
}

/** An error of SQLite or of the disk as one for the operator; others are our bugs and stay as they are. */
export function inWords(error: unknown, folder?: string): unknown {
  if (error instanceof OperatingError) return error;
  if (!(error instanceof SQLiteError) && (error as { syscall?: string }).syscall === undefined) return error;
  const where = folder === undefined ? "" : `cannot use the data folder ${folder}: `;
  const { code } = error as { code?: string };
  if (code === "ENOSPC" || /^SQLITE_(FULL|IOERR_SHMSIZE)/.test(code ?? ""))
    return new OperatingError("EFULL", `${where}the disk is full`);
  if (isDamage(error)) return new OperatingError("EDAMAGED", `${where}the store is damaged (${messageOf(error)})`);
  return new OperatingError("ESTORE", `${where}${messageOf(error)}`);
}

function open(folder: string, { acceptDamage, report }: OpenOptions, lock: Database): OwnStore {
  const damage = assess(folder, report);
  if (damage !== undefined) {
    if (!acceptDamage) throw refusal(folder, damage);
    const { kept, dropped, aside } = salvage(folder);
    report(
      `the store was damaged and is served as far as it is whole: ${summary(damage)}; ` +
        `${kept} records are kept, ${dropped.length} are not; the damaged files are in ${aside}`,
    );
  }
  const wasClean = isCleanEnd(folder);
  const db = new Database(storePath(folder));
  try {
    db.exec(busyTimeout);
    db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=${logPagesMax};`);
    db.exec(`PRAGMA cache_size=${-storeCacheBytesMax / 1024}`);
    // An old store has no witness yet.
    const isNew = damage !== undefined || isEmpty(db) || formatOf(db) < currentFormat;
    if (isEmpty(db)) create(db);
    if (formatOf(db) < currentFormat) migrateWithCopy(db, folder, report);
    else if (wasClean) removeCopies(folder);
    if (readWitness(folder) === undefined && !isNew)
      report("tree.witness is missing: whether the last commits of the store are there cannot be told");
    const { zxid } = db.query<{ zxid: number }, []>("SELECT zxid FROM counter").get()!;
    const witness = new Witness(folder, zxid);
    return {
      db,
      witness,
      close(last, isClean) {
        db.close();
        if (isClean) witness.close(last);
        lock.close();
      },
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

function isCleanEnd(folder: string): boolean {
  const witness = readWitness(folder);
  return witness !== undefined && witness !== "damaged" && witness.isClean;
}

function copyPath(folder: string, format: number): string {
  return `${storePath(folder)}.before-${format}`;
}

/** An older program can be given the copy back, under the store's name. */
function migrateWithCopy(db: Database, folder: string, report: (words: string) => void): void {
  const format = formatOf(db);
  const copy = copyPath(folder, currentFormat);
  rmSync(`${copy}.new`, { force: true });
  // With what stands in the log, whoever reads it just now.
  db.query("VACUUM INTO ?").run(`${copy}.new`);
  sync(`${copy}.new`);
  renameSync(`${copy}.new`, copy);
  sync(folder);
  migrate(db);
  report(
    `the store had format ${format} and has ${currentFormat} now; ${copy} is as it was before, until the next start after a clean end`,
  );
}

function sync(path: string): void {
  const file = openSync(path, "r");
  fsyncSync(file);
  closeSync(file);
}

function removeCopies(folder: string): void {
  for (const name of readdirSync(folder)) if (/^tree\.db\.before-\d+$/.test(name)) rmSync(join(folder, name));
}
