/**
 * The door to disk: the tree of znodes in one SQLite table. Runs in a worker, so that an fsync never holds up
 * the event loop that serves clients. WAL with `synchronous=FULL`: what `run` has returned for is on disk.
 */
import { Database, SQLiteError, type Statement } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf, OperatingError } from "../base/errors.ts";
import { storeBusyMs } from "../base/limits.ts";
import type {
  CoordinatorErrorCode,
  CreateMode,
  ReadOperation,
  ReadResult,
  Stat,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import { isValidPath, mayBeLookedFor } from "../coordinator/valid-path.ts";
import { EmptyLevels } from "./empty-levels.ts";
import { encodeNames } from "./encode-names.ts";

export type Request =
  /** If it is refused and can be repaired, nothing is run after it. */
  | { readonly kind: "write"; readonly operations: readonly WriteOperation[]; readonly canBeRepaired: boolean }
  | { readonly kind: "read"; readonly operations: readonly ReadOperation[] };

export type Reply =
  /** Paths of results are empty where they are as asked. */
  | { readonly kind: "written"; readonly results: readonly WriteResult[]; readonly zxid: number }
  | { readonly kind: "read"; readonly results: readonly ReadResult[] }
  | { readonly kind: "failed"; readonly code: CoordinatorErrorCode; readonly path: string; readonly index: number };

/** A sequential node is a persistent one whose name the store completes. */
const modes: readonly CreateMode[] = ["persistent", "ephemeral", "container"];

/** Nodes whose modes are remembered, since children are made below them. */
const cachedParentsMax = 100_000;

interface Row {
  readonly data: Uint8Array;
  readonly mode: number;
  readonly version: number;
  readonly czxid: number;
  readonly mzxid: number;
}

/** Thrown inside a multi, to undo it. */
class Refusal extends Error {
  readonly code: CoordinatorErrorCode;

  constructor(code: CoordinatorErrorCode) {
    super(code);
    this.code = code;
  }
}

const schema = `
  CREATE TABLE IF NOT EXISTS node (
    parent TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, mode INTEGER NOT NULL,
    version INTEGER NOT NULL, czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS ephemeral ON node (parent, name) WHERE mode = 1;
  CREATE TABLE IF NOT EXISTS counter (zxid INTEGER NOT NULL);
  INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
`;

/** What SQLite keeps as `user_version`. 1: all that is above U+FFFF is encoded in names. */
const storeFormat = 1;

/** A tool that opens or leaves the store locks it for a moment. */
const busyTimeout = `PRAGMA busy_timeout=${storeBusyMs}`;

export class TreeDatabase {
  readonly #db: Database;
  readonly #lock: Database | undefined;
  readonly #find: Statement<Row, [string, string]>;
  readonly #insert: Statement;
  readonly #update: Statement;
  readonly #remove: Statement;
  readonly #sequenceOf: Statement<{ sequence: number }, [string, string]>;
  readonly #setSequence: Statement;
  readonly #children: Statement<{ name: string }, [string]>;
  readonly #count: Statement<{ count: number }, [string]>;
  readonly #savepoint: Statement;
  readonly #release: Statement;
  readonly #hasChild: Statement<unknown, [string]>;
  readonly #list: Statement<{ parent: string; name: string; mode: number; czxid: number }, [string, string, number]>;
  #zxid: number;
  /** The last transaction of the life before this one. */
  readonly #startedAt: number;
  /** A check that holds, as long as nothing but creates has come after it: many requests bring the same one. */
  #held: WriteOperation | undefined;
  /** Modes of nodes that have children, by path: looked at for every child that is made. */
  readonly #parents = new Map<string, CreateMode>();
  /** Next numbers of sequential nodes, by parent; those that must be written before the commit. */
  readonly #sequences = new Map<string, number>();
  readonly #unwritten = new Set<string>();
  /** Parents that have lost a child, and may be empty containers. */
  readonly #empty = new EmptyLevels();
  /** Where the search for what an earlier life has left goes on; undefined: it is over. */
  #searchAfter: { readonly parent: string; readonly name: string } | undefined = { parent: "", name: "" };

  /**
   * Opens or creates the store in a folder; to "read" it, though a broker may own it. Throws `OperatingError` in words for
   * the operator.
   */
  constructor(folder: string, how: "own" | "read" = "own") {
    try {
      if (how === "own") {
        mkdirSync(folder, { recursive: true });
        this.#lock = lockFolder(folder);
        this.#db = new Database(join(folder, "tree.db"));
        this.#db.exec(busyTimeout);
        this.#db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000;");
        this.#db.exec(schema);
        migrate(this.#db);
      } else {
        this.#db = new Database(join(folder, "tree.db"), { readonly: true });
        this.#db.exec(busyTimeout);
      }
    } catch (error) {
      if (error instanceof OperatingError) throw error;
      throw new OperatingError("ESTORE", `cannot use the data folder ${folder}: ${messageOf(error)}`);
    }
    this.#find = this.#db.prepare("SELECT data, mode, version, czxid, mzxid FROM node WHERE parent = ? AND name = ?");
    this.#insert = this.#db.prepare("INSERT OR IGNORE INTO node VALUES (?, ?, ?, ?, 0, ?, ?, 0)");
    this.#update = this.#db.prepare(
      "UPDATE node SET data = ?, version = version + 1, mzxid = ? WHERE parent = ? AND name = ?",
    );
    this.#sequenceOf = this.#db.prepare("SELECT sequence FROM node WHERE parent = ? AND name = ?");
    this.#setSequence = this.#db.prepare("UPDATE node SET sequence = ? WHERE parent = ? AND name = ?");
    this.#remove = this.#db.prepare("DELETE FROM node WHERE parent = ? AND name = ?");
    this.#children = this.#db.prepare("SELECT name FROM node WHERE parent = ? ORDER BY name");
    this.#count = this.#db.prepare("SELECT COUNT(*) AS count FROM node WHERE parent = ?");
    this.#savepoint = this.#db.prepare("SAVEPOINT multi");
    this.#release = this.#db.prepare("RELEASE multi");
    this.#hasChild = this.#db.prepare("SELECT 1 FROM node WHERE parent = ? LIMIT 1");
    this.#list = this.#db.prepare(
      "SELECT parent, name, mode, czxid FROM node WHERE (parent, name) > (?, ?) ORDER BY parent, name LIMIT ?",
    );
    this.#zxid = (this.#db.prepare("SELECT zxid FROM counter").get() as { zxid: number }).zxid;
    this.#startedAt = this.#zxid;
    if (how === "own") this.endSession();
  }

  /**
   * Runs requests in order, in one transaction and one sync; as many replies as were run. Throws `OperatingError` if the disk is full or
   * fails; then nothing happened, and the same may be tried again.
   */
  run(requests: readonly Request[]): Reply[] {
    const writes = requests.some((request) => request.kind === "write");
    const zxid = this.#zxid;
    this.#held = undefined;
    try {
      if (writes) this.#db.exec("BEGIN IMMEDIATE");
      const replies: Reply[] = [];
      for (const request of requests) {
        const reply = this.#answer(request);
        replies.push(reply);
        if (reply.kind === "failed" && request.kind === "write" && request.canBeRepaired) break;
      }
      if (writes) {
        for (const parent of this.#unwritten) this.#setSequence.run(this.#sequences.get(parent)!, ...split(parent));
        this.#unwritten.clear();
        this.#db.exec(`UPDATE counter SET zxid = ${this.#zxid}`);
        this.#db.exec("COMMIT");
      }
      return replies;
    } catch (error) {
      this.#zxid = zxid;
      this.#forgetAll();
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      throw error instanceof SQLiteError ? new OperatingError("ESTORE", error.message) : error;
    }
  }

  /** True if there are containers to be looked at by `sweepContainers`. */
  get mustSweep(): boolean {
    return this.#empty.isDue || this.#searchAfter !== undefined;
  }

  /** Time has passed: containers that were emptied until now go with the next calls of `sweepContainers`. */
  ageContainers(): void {
    this.#empty.look();
  }

  /**
   * Looks at so many containers that may have become empty, and at the parents of those that had; removes the empty ones in one
   * transaction and returns their paths. Throws `OperatingError` if the disk is full or fails: they come again later.
   */
  sweepContainers(most: number): string[] {
    const removed: string[] = [];
    this.#search(most);
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      for (const path of this.#empty.take(most)) {
        const [parent, name] = split(path);
        if (path === "/" || modes[this.#find.get(parent, name)?.mode ?? 0] !== "container") continue;
        if (this.#hasChild.get(path) !== null) continue;
        this.#remove.run(parent, name);
        this.#forget(path);
        this.#empty.hurry(parent);
        removed.push(path);
      }
      this.#db.exec("COMMIT");
      return removed;
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      for (const path of removed) this.#empty.note(path);
      throw error instanceof SQLiteError ? new OperatingError("ESTORE", error.message) : error;
    }
  }

  /** Goes on through the whole tree, once: an earlier life may have ended before it removed what was empty. */
  #search(most: number): void {
    const after = this.#searchAfter;
    if (after === undefined) return;
    const rows = this.#list.all(after.parent, after.name, most);
    for (const { parent, name, mode, czxid } of rows)
      if (modes[mode] === "container" && czxid <= this.#startedAt)
        this.#empty.hurry(parent === "/" ? `/${name}` : `${parent}/${name}`);
    this.#searchAfter = rows.length < most ? undefined : rows.at(-1);
  }

  /** What the end of a session does: its ephemeral nodes vanish. */
  endSession(): void {
    this.#db.exec("DELETE FROM node WHERE mode = 1");
  }

  close(): void {
    this.endSession();
    this.#db.close();
    this.#lock?.close();
  }

  #answer(request: Request): Reply {
    if (request.kind === "read") {
      return { kind: "read", results: request.operations.map((operation) => this.#readOne(operation)) };
    }
    return this.#writeAll(request.operations);
  }

  #writeAll(operations: readonly WriteOperation[]): Reply {
    const results: WriteResult[] = [];
    const alone = operations.length === 1;
    if (!alone) this.#savepoint.run();
    this.#zxid++;
    try {
      for (const operation of operations) results.push(this.#writeOne(operation));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (!alone) this.#db.exec("ROLLBACK TO multi; RELEASE multi");
      // What was made and is undone must not be taken for a parent.
      this.#parents.clear();
      this.#held = undefined;
      return { kind: "failed", code: error.code, path: operations[results.length]!.path, index: results.length };
    }
    if (!alone) this.#release.run();
    return { kind: "written", results, zxid: this.#zxid };
  }

  #writeOne(operation: WriteOperation): WriteResult {
    if (operation === this.#held) return checked;
    if (!mayBeLookedFor(operation)) throw new Refusal("InvalidPath");
    if (operation.kind === "create") return this.#create(operation);
    this.#held = undefined;
    const { path } = operation;
    const [parent, name] = split(path);
    const row = this.#find.get(parent, name);
    if (row === null) throw new Refusal("NoNode");
    if (operation.version !== -1 && operation.version !== row.version) throw new Refusal("BadVersion");
    if (operation.kind === "set") {
      this.#update.run(operation.data, this.#zxid, parent, name);
      return { path: "", version: row.version + 1 };
    }
    if (operation.kind === "delete") {
      if (this.#hasChild.get(path) !== null) throw new Refusal("NotEmpty");
      this.#remove.run(parent, name);
      this.#forget(path);
      this.#empty.note(parent);
    } else this.#held = operation;
    return checked;
  }

  #create({ path: asked, data, mode }: Extract<WriteOperation, { kind: "create" }>): WriteResult {
    const [parent, prefix] = split(asked);
    const isParent = this.#isParent(parent);
    // In ZooKeeper's order: a missing parent comes before a wrong name.
    if (isParent !== "NoNode" && !isValidPath(mode === "sequential" ? `${asked}0` : asked))
      throw new Refusal("InvalidPath");
    let name = prefix;
    if (mode === "sequential") {
      if (isParent !== undefined) throw new Refusal(isParent);
      name += String(this.#nextNumber(parent)).padStart(10, "0");
    } else if (isParent !== undefined) {
      throw new Refusal(this.#find.get(parent, name) === null ? isParent : "NodeExists");
    }
    const kind = Math.max(0, modes.indexOf(mode));
    const { changes } = this.#insert.run(parent, name, data, kind, this.#zxid, this.#zxid);
    if (changes === 0) throw new Refusal("NodeExists");
    if (mode !== "sequential") return { path: "", version: 0 };
    return { path: parent === "/" ? `/${name}` : `${parent}/${name}`, version: 0 };
  }

  /** Why a node cannot have children; undefined: it can. */
  #isParent(path: string): CoordinatorErrorCode | undefined {
    if (path === "/") return undefined;
    let mode = this.#parents.get(path);
    if (mode === undefined) {
      const row = this.#find.get(...split(path));
      if (row === null) return "NoNode";
      mode = modes[row.mode]!;
      if (this.#parents.size >= cachedParentsMax) this.#parents.clear();
      this.#parents.set(path, mode);
    }
    return mode === "ephemeral" ? "NoChildrenForEphemerals" : undefined;
  }

  #nextNumber(parent: string): number {
    const number = this.#sequences.get(parent) ?? this.#sequenceOf.get(...split(parent))!.sequence;
    this.#sequences.set(parent, number + 1);
    this.#unwritten.add(parent);
    return number;
  }

  #forget(path: string): void {
    this.#parents.delete(path);
    this.#sequences.delete(path);
    this.#unwritten.delete(path);
  }

  #forgetAll(): void {
    this.#parents.clear();
    this.#sequences.clear();
    this.#unwritten.clear();
  }

  #readOne(operation: ReadOperation): ReadResult {
    const row = this.#find.get(...split(operation.path));
    if (row === null) return "NoNode";
    if (operation.kind === "children") {
      return { children: this.#children.all(operation.path).map((child) => child.name) };
    }
    const { czxid, mzxid, version } = row;
    const stat: Stat = { czxid, mzxid, version, childCount: this.#count.get(operation.path)!.count };
    return operation.kind === "get" ? { data: row.data, stat } : { stat };
  }
}

const checked: WriteResult = { path: "", version: -1 };

/** Brings the store of an earlier version to what this one expects, in one transaction. */
function migrate(db: Database): void {
  const { user_version: format } = db.prepare("PRAGMA user_version").get() as { user_version: number };
  if (format >= storeFormat) return;
  db.transaction(() => {
    encodeNames(db);
    db.exec(`PRAGMA user_version = ${storeFormat}`);
  })();
}

/** Parent and name: the table's key. */
function split(path: string): [parent: string, name: string] {
  const slash = path.lastIndexOf("/");
  return [slash === 0 ? "/" : path.slice(0, slash), path.slice(slash + 1)];
}

/** The lock goes with the process, also by kill -9: it is a file lock that SQLite holds. */
function lockFolder(folder: string): Database {
  const lock = new Database(join(folder, "lock.db"));
  try {
    lock.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock.close();
    if (!/locked|busy/i.test(messageOf(error))) throw error;
    throw new OperatingError(
      "EBUSY",
      `the data folder ${folder} is in use by another broker; choose another with --data`,
    );
  }
}
