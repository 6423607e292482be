/**
 * The one table: a row a znode, each with its checksum, which is looked at whenever the row is read. What the rows are
 * in all is kept beside them, so that rows that have vanished are missed.
 */
import type { Database, Statement } from "bun:sqlite";
import type { CreateMode } from "../coordinator/coordinator.ts";
import { checksumOf, checksumOfTotals, isWhole, type Row, type Totals, withoutRow, withRow } from "./checksum.ts";
import { DamagedRow } from "./damage.ts";
import { hasChecksums } from "./formats.ts";

export type Key = [parent: string, name: string];

/** A sequential node is a persistent one whose name the store completes. */
export const modes: readonly CreateMode[] = ["persistent", "ephemeral", "container"];

type Found = Omit<Row, "parent" | "name">;
export type Head = Pick<Row, "version" | "czxid" | "mzxid">;

export class NodeTable {
  readonly #find: Statement<Found, Key>;
  readonly #findWithChild: Statement<Found & { hasChild: number }, [path: string, ...Key]>;
  readonly #look: Statement<Head, Key>;
  readonly #insert: Statement;
  readonly #update: Statement;
  readonly #remove: Statement;
  readonly #children: Statement<{ name: string }, [string]>;
  readonly #count: Statement<{ count: number }, [string]>;
  readonly #hasChild: Statement<unknown, [string]>;
  readonly #below: Statement<Row, [string, string]>;
  readonly #saveTotals: Statement;
  readonly #hasChecksums: boolean;
  /** As of the statements that were run, committed or not. */
  totals: Totals;

  /** Opens the table of a store whose format is one that this program writes, or, for reading, an older one. */
  constructor(db: Database) {
    this.#hasChecksums = hasChecksums(db);
    const checksum = this.#hasChecksums ? "checksum" : "NULL AS checksum";
    this.#find = db.query(
      `SELECT data, mode, version, czxid, mzxid, sequence, ${checksum} FROM node WHERE parent = ? AND name = ?`,
    );
    this.#findWithChild = db.query(
      `SELECT data, mode, version, czxid, mzxid, sequence, ${checksum},
        EXISTS (SELECT 1 FROM node WHERE parent = ?) AS hasChild FROM node WHERE parent = ? AND name = ?`,
    );
    this.#look = db.query("SELECT version, czxid, mzxid FROM node WHERE parent = ? AND name = ?");
    this.#children = db.query("SELECT name FROM node WHERE parent = ? ORDER BY name");
    this.#count = db.query("SELECT COUNT(*) AS count FROM node WHERE parent = ?");
    this.#hasChild = db.query("SELECT 1 FROM node WHERE parent = ? LIMIT 1");
    // In the order of their keys each node comes before those below it.
    this.#below = db.query(
      `SELECT parent, name, data, mode, version, czxid, mzxid, sequence, ${checksum} FROM node
        WHERE parent >= ? AND parent < ? ORDER BY parent, name`,
    );
    this.#remove = db.query("DELETE FROM node WHERE parent = ? AND name = ?");
    const [insert, update, save] = this.#hasChecksums
      ? [
          "INSERT OR IGNORE INTO node VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
          "UPDATE node SET data = ?, version = ?, mzxid = ?, sequence = ?, checksum = ? WHERE parent = ? AND name = ?",
          "UPDATE counter SET zxid = ?, rows = ?, digest = ?, checksum = ?",
        ]
      : ["SELECT 1", "SELECT 1", "SELECT 1"];
    this.#insert = db.query(insert!);
    this.#update = db.query(update!);
    this.#saveTotals = db.query(save!);
    const columns = this.#hasChecksums ? "rows, digest" : "0 AS rows, 0 AS digest";
    this.totals = db.query<Totals, []>(`SELECT ${columns} FROM counter`).get()!;
  }

  /** Throws `DamagedRow` if it is not as it was written. */
  find(parent: string, name: string): Row | null {
    const found = this.#find.get(parent, name);
    return found === null ? null : this.#verified(parent, name, found);
  }

  /**
   * Finds a node that may be removed, and whether something stands below it: one statement, since each takes longer
   * than what it does. Throws `DamagedRow` if it is not as it was written.
   */
  findWithChild(path: string): { readonly row: Row | null; readonly hasChild: boolean } {
    const [parent, name] = split(path);
    const found = this.#findWithChild.get(path, parent, name);
    if (found === null) return { row: null, hasChild: false };
    return { row: this.#verified(parent, name, found), hasChild: found.hasChild !== 0 };
  }

  #verified(parent: string, name: string, found: Found): Row {
    const { data, mode, version, czxid, mzxid, sequence, checksum } = found;
    const row: Row = { parent, name, data, mode, version, czxid, mzxid, sequence, checksum };
    if (this.#hasChecksums && !isWhole(row)) throw new DamagedRow(parent, name);
    return row;
  }

  /** Reads a row without its data, so damage to the data goes unnoticed. */
  look(parent: string, name: string): Head | null {
    return this.#look.get(parent, name);
  }

  /** Makes a node. False: there is one of that name. */
  make(
    [parent, name]: Key,
    { data, mode, zxid }: { readonly data: Uint8Array; readonly mode: CreateMode; readonly zxid: number },
  ): boolean {
    const kind = Math.max(0, modes.indexOf(mode));
    return this.insert({ parent, name, data, mode: kind, version: 0, czxid: zxid, mzxid: zxid, sequence: 0 });
  }

  /** False: there is one of that name. */
  insert(row: Omit<Row, "checksum">): boolean {
    const checksum = checksumOf(row);
    const { parent, name, data, mode, version, czxid, mzxid, sequence } = row;
    const { changes } = this.#insert.run(parent, name, data, mode, version, czxid, mzxid, sequence, checksum);
    if (changes > 0) this.totals = withRow(this.totals, checksum);
    return changes > 0;
  }

  update(before: Row, change: Partial<Omit<Row, "checksum" | "parent" | "name">>): void {
    const row = { ...before, ...change };
    const checksum = checksumOf(row);
    this.#update.run(row.data, row.version, row.mzxid, row.sequence, checksum, row.parent, row.name);
    this.totals = withRow(withoutRow(this.totals, before.checksum!), checksum);
  }

  remove({ parent, name, checksum }: Pick<Row, "parent" | "name" | "checksum">): void {
    this.#remove.run(parent, name);
    this.totals = withoutRow(this.totals, checksum!);
  }

  /**
   * Removes a node of that mode that is empty and that nothing stands below; else false. Throws `DamagedRow` if it is
   * not as it was written.
   */
  removeEmptyLevel(path: string, mode: CreateMode): boolean {
    const { row, hasChild } = this.findWithChild(path);
    if (row === null || modes[row.mode] !== mode || row.data.length > 0 || hasChild) return false;
    this.remove(row);
    return true;
  }

  /** Takes out a row that is damaged: of its checksum only what stands there is known. */
  removeDamaged(parent: string, name: string): void {
    const row = this.#find.get(parent, name);
    if (row !== null) this.remove({ parent, name, checksum: Number(row.checksum) });
  }

  /** Belongs into every transaction that changes rows. */
  saveTotals(zxid: number): void {
    const { rows, digest } = this.totals;
    this.#saveTotals.run(zxid, rows, digest, checksumOfTotals(this.totals, zxid));
  }

  children(path: string): string[] {
    return this.#children.all(path).map(({ name }) => name);
  }

  /** Reads all nodes below a path, each before those below it. Throws `DamagedRow`. */
  *below(path: string): Generator<Row> {
    // What begins with the path and goes on with "/" comes before what goes on with "0".
    for (const row of this.#below.iterate(path, `${path}0`)) {
      if (row.parent !== path && !row.parent.startsWith(`${path}/`)) continue;
      yield this.#verified(row.parent, row.name, row);
    }
  }

  count(path: string): number {
    return this.#count.get(path)!.count;
  }

  hasChild(path: string): boolean {
    return this.#hasChild.get(path) !== null;
  }
}

/** Parent and name: the table's key. */
export function split(path: string): Key {
  const slash = path.lastIndexOf("/");
  return [slash === 0 ? "/" : path.slice(0, slash), path.slice(slash + 1)];
}
