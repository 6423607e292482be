/**
 * Makes a whole store of a damaged one: everything that is as it was written goes into a new file, and the damaged
 * files are kept aside.
 *
 * Invariant: the damaged files are aside before anything changes, and a crash in between leaves a store that is
 * refused, or the new one.
 */
import { Database } from "bun:sqlite";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { noBytes } from "../base/bytes.ts";
import { systemClock } from "../base/clock.ts";
import {
  bankPath,
  messageMark,
  nameOf,
  parentPath,
  publishersPath,
  sessionsPath,
  subscribersPath,
  topicsPath,
} from "../coordinator/paths.ts";
import { copyForReading, storePath, walPath } from "./assess.ts";
import { isWhole, type Row } from "./checksum.ts";
import { pathOf, whatIs } from "./damage.ts";
import { create, hasChecksums, hasOurTables, isEmpty } from "./formats.ts";
import { NodeTable } from "./node-table.ts";
import { readPages } from "./pages.ts";
import { isUnreadable, slipIn, walkRows } from "./scan.ts";
import { applyWal } from "./wal.ts";
import { readWitness, witnessPath } from "./witness.ts";

export interface Salvage {
  /** Records that the new store has. */
  readonly kept: number;
  /** Records that were found and are not whole, and those that cannot be without them, in words. */
  readonly dropped: readonly string[];
  /** The folder in which the damaged files lie. */
  readonly aside: string;
}

/** The caller has the lock. */
export function salvage(folder: string): Salvage {
  const aside = join(folder, `damaged-${new Date(systemClock.wall()).toISOString().replace(/[:.]/g, "-")}`);
  mkdirSync(aside, { mode: 0o700 });
  for (const path of [storePath(folder), walPath(folder), witnessPath(folder)])
    if (existsSync(path)) copyFileSync(path, join(aside, nameOf(path)));
  const work = join(folder, "salvaged");
  copyForReading(folder, work);
  const fresh = join(work, "new.db");
  const { kept, dropped } = fill(fresh, { from: work, zxid: zxidOf(folder) });
  if (dropped.length > 0)
    writeFileSync(join(aside, "lost.txt"), `${dropped.map(({ path }) => path).join("\n")}\n`, { mode: 0o600 });
  sync(fresh);
  // A log belongs to no file by name alone: the old one must not be found beside the new file.
  rmSync(walPath(folder), { force: true });
  rmSync(`${storePath(folder)}-shm`, { force: true });
  renameSync(fresh, storePath(folder));
  rmSync(witnessPath(folder), { force: true });
  sync(folder);
  rmSync(work, { recursive: true, force: true });
  return { kept, dropped: dropped.map(({ words }) => words), aside };
}

interface Dropped {
  readonly path: string;
  readonly words: string;
}

function zxidOf(folder: string): number {
  const witness = readWitness(folder);
  return witness === undefined || witness === "damaged" ? 0 : witness.zxid;
}

function sync(path: string): void {
  const file = openSync(path, "r");
  fsyncSync(file);
  closeSync(file);
}

function fill(
  fresh: string,
  { from, zxid }: { readonly from: string; readonly zxid: number },
): { kept: number; dropped: Dropped[] } {
  const dropped: Dropped[] = [];
  const to = new Database(fresh);
  to.exec("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF");
  create(to);
  const table = new NodeTable(to);
  let last = zxid;
  to.exec("BEGIN");
  eachRow(from, (row) => {
    if (!isUsable(row)) {
      dropped.push({ path: pathOf(row.parent, row.name), words: whatIs(pathOf(row.parent, row.name)) });
      return;
    }
    last = Math.max(last, row.mzxid, row.czxid);
    table.insert(row);
  });
  dropped.push(...mend(to, table));
  table.saveTotals(last);
  to.exec("COMMIT");
  to.close();
  return { kept: table.totals.rows, dropped };
}

/** A row of the first format has no checksum to be judged by. */
function isUsable(row: Row): boolean {
  return row.checksum === null ? row.data instanceof Uint8Array : isWhole(row);
}

/** Each row that can be found, once: as SQLite reads them, and where it cannot, as they lie in the pages. */
function eachRow(folder: string, visit: (row: Row) => void): void {
  const seen = new Set<string>();
  const once = (row: Row): void => {
    const key = `${row.parent}\0${row.name}`;
    if (seen.has(key)) return;
    seen.add(key);
    visit(row);
  };
  if (walk(folder, once) || !existsSync(storePath(folder))) return;
  applyWal(walPath(folder), storePath(folder));
  const newest = new Map<string, Row>();
  readPages(storePath(folder), (row) => {
    const key = `${row.parent}\0${row.name}`;
    const other = newest.get(key);
    if (other === undefined || row.mzxid > other.mzxid) newest.set(key, row);
  });
  for (const row of newest.values()) once(row);
}

/** True if SQLite has read all. */
function walk(folder: string, visit: (row: Row) => void): boolean {
  try {
    const db = new Database(storePath(folder), { readonly: true });
    try {
      // One without our table has lost it.
      if (isEmpty(db) || (hasChecksums(db) && !hasOurTables(db))) return false;
      return walkRows(db, visit).malformed === undefined;
    } finally {
      db.close();
    }
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return false;
  }
}

const ephemeralMode = 1;
const containerMode = 2;

/** Makes levels anew that were lost above others, and takes out what cannot be without what was lost. */
function mend(db: Database, table: NodeTable): Dropped[] {
  const dropped: Dropped[] = [];
  const below = db.query<Row, [string]>("SELECT * FROM node WHERE parent = ?");
  const parents = db.query<{ parent: string }, []>("SELECT DISTINCT parent FROM node ORDER BY length(parent)").all();
  const exists = (path: string): boolean => path === "/" || table.find(parentPath(path), nameOf(path)) !== null;
  const drop = (parent: string): void => {
    for (const row of below.all(parent)) {
      table.remove(row);
      const path = pathOf(parent, row.name);
      dropped.push({ path, words: whatIs(path) });
      drop(path);
    }
  };
  const ensure = (path: string): void => {
    if (exists(path) || path === bankPath) return;
    ensure(parentPath(path));
    table.insert({
      ...levelAt(path),
      sequence: 1 + Math.max(-1, ...below.all(path).map(({ name }) => numberOf(name))),
    });
  };
  for (const { parent } of parents) {
    const owner = ownerOf(parent);
    if (owner !== undefined && !exists(owner)) drop(parent);
    else if (!exists(parent) && below.all(parent).length > 0) ensure(parent);
  }
  for (const row of db.query<Row, [number]>("SELECT * FROM node WHERE mode = ?").all(ephemeralMode)) table.remove(row);
  // A place in a mailbox for a message that is lost is nothing, either.
  for (const row of db.query<Row, [string]>("SELECT * FROM node WHERE parent GLOB ?").all(`${sessionsPath}/*/mail`)) {
    const slip = slipIn(row);
    if (slip === undefined || exists(slip.message)) continue;
    table.remove(row);
    dropped.push({
      path: pathOf(row.parent, row.name),
      words: `${whatIs(slip.message)} for client ${JSON.stringify(slip.client)}`,
    });
  }
  return dropped;
}

/** The session or the message that everything at a path and below it is nothing without. */
function ownerOf(path: string): string | undefined {
  const levels = path.split("/");
  if (path.startsWith(`${sessionsPath}/`)) return levels.length < 4 ? undefined : levels.slice(0, 4).join("/");
  const message = levels.findIndex((level, index) => index > 1 && level.startsWith(messageMark));
  return path.startsWith(`${topicsPath}/`) && message !== -1 ? levels.slice(0, message + 1).join("/") : undefined;
}

function levelAt(path: string): Omit<Row, "checksum" | "sequence"> {
  const isContainer = [topicsPath, subscribersPath, publishersPath].some((root) => path.startsWith(`${root}/`));
  const mode = isContainer ? containerMode : 0;
  return { parent: parentPath(path), name: nameOf(path), data: noBytes, mode, version: 0, czxid: 0, mzxid: 0 };
}

/** The number at the end of a sequential child's name; -1: it is none. */
function numberOf(name: string): number {
  const [number] = /\d{10}$/.exec(name) ?? ["-1"];
  return Number(number);
}
