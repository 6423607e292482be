/**
 * The door to disk: the tree of znodes in one SQLite table. Runs in a worker, so that an fsync never holds up
 * the event loop that serves clients. WAL with `synchronous=FULL`: what `run` has returned for is on disk.
 */
import type { Database, Statement } from "bun:sqlite";
import { OperatingError } from "../base/errors.ts";
import type {
  CoordinatorErrorCode,
  CreateMode,
  ReadOperation,
  ReadResult,
  Stat,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import { EmptyLevels } from "../coordinator/empty-levels.ts";
import { isValidPath, mayBeLookedFor } from "../coordinator/valid-path.ts";
import type { Row, Totals } from "./checksum.ts";
import type { DamagedRow } from "./damage.ts";
import { NodeTable } from "./node-table.ts";
import {
  defaultOpenOptions,
  inWords,
  type OpenOptions,
  type OwnStore,
  openForReading,
  openStore,
} from "./open-store.ts";
import { expectVersion, Refusal } from "./refusal.ts";
import { StoreFile } from "./store-file.ts";

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

export class TreeDatabase {
  /** The place that it takes on the disk. */
  readonly file: StoreFile;
  readonly #db: Database;
  readonly #store: OwnStore | undefined;
  readonly #table: NodeTable;
  readonly #savepoint: Statement;
  readonly #release: Statement;
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
   * Opens or creates the store in a folder; to "read" it, though a broker may own it. Throws `OperatingError` in words
   * for the operator.
   */
  constructor(folder: string, how: "own" | "read" = "own", options: OpenOptions = defaultOpenOptions) {
    this.#store = how === "own" ? openStore(folder, options) : undefined;
    try {
      this.#db = this.#store?.db ?? openForReading(folder);
      this.file = new StoreFile(this.#db);
      this.#table = new NodeTable(this.#db);
      this.#savepoint = this.#db.query("SAVEPOINT multi");
      this.#release = this.#db.query("RELEASE multi");
      this.#list = this.#db.query(
        "SELECT parent, name, mode, czxid FROM node WHERE (parent, name) > (?, ?) ORDER BY parent, name LIMIT ?",
      );
      this.#zxid = this.#db.query<{ zxid: number }, []>("SELECT zxid FROM counter").get()!.zxid;
    } catch (error) {
      throw inWords(error, folder);
    }
    this.#startedAt = this.#zxid;
    if (how === "own") this.endSession();
  }

  /**
   * Runs requests in order, in one transaction and one sync; as many replies as were run. Throws `OperatingError` if
   * the disk is full or fails; then nothing happened, and the same may be tried again.
   */
  run(requests: readonly Request[]): Reply[] {
    const writes = requests.some((request) => request.kind === "write");
    const zxid = this.#zxid;
    const { totals } = this.#table;
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
        this.#writeSequences();
        this.#commit();
        this.#store?.witness.committed(this.#zxid);
      }
      return replies;
    } catch (error) {
      this.#zxid = zxid;
      this.#forgetAll();
      this.#undo(totals);
      throw inWords(error);
    }
  }

  #commit(): void {
    this.#table.saveTotals(this.#zxid);
    this.#db.exec("COMMIT");
  }

  #undo(totals: Totals): void {
    this.#table.totals = totals;
    if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
  }

  #writeSequences(): void {
    for (const parent of this.#unwritten)
      this.#table.update(this.#table.find(...split(parent))!, { sequence: this.#sequences.get(parent)! });
    this.#unwritten.clear();
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
   * Looks at so many containers that may have become empty, and at the parents of those that had; removes the empty
   * ones in one transaction and returns their paths. Throws `OperatingError` if the disk is full or fails: they come
   * again later.
   */
  sweepContainers(most: number): string[] {
    const removed: string[] = [];
    this.#search(most);
    try {
      this.#inTransaction(() => {
        for (const path of this.#empty.take(most)) {
          if (path === "/") continue;
          const [parent, name] = split(path);
          const row = this.#table.find(parent, name);
          if (row === null || modes[row.mode] !== "container" || this.#table.hasChild(path)) continue;
          this.#table.remove(row);
          this.#forget(path);
          this.#empty.hurry(parent);
          removed.push(path);
        }
      });
      return removed;
    } catch (error) {
      for (const path of removed) this.#empty.note(path);
      throw error;
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

  /** Removes the ephemeral nodes of a session that has ended. */
  endSession(): void {
    const rows = this.#db.query<Row, []>("SELECT * FROM node WHERE mode = 1").all();
    if (rows.length === 0) return;
    this.#inTransaction(() => {
      for (const row of rows) this.#table.remove(row);
    });
  }

  #inTransaction(change: () => void): void {
    const { totals } = this.#table;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      change();
      this.#commit();
    } catch (error) {
      this.#undo(totals);
      throw inWords(error);
    }
  }

  /**
   * Takes out a record that was found damaged while the store is in use; the next start says so again if there is more.
   */
  setAside({ parent, row }: DamagedRow): void {
    this.#inTransaction(() => this.#table.removeDamaged(parent, row));
    this.#forgetAll();
  }

  /** Brings to disk how far acknowledged commits went. */
  syncWitness(): void {
    this.#store?.witness.sync();
  }

  close(): void {
    if (this.#store === undefined) return this.#db.close();
    let isClean = true;
    try {
      this.endSession();
    } catch (error) {
      // A disk that fails just now: the next start finds what is left of the session.
      if (!(error instanceof OperatingError)) throw error;
      isClean = false;
    }
    this.#store.close(this.#zxid, isClean);
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
    const { totals } = this.#table;
    try {
      for (const operation of operations) results.push(this.#writeOne(operation));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (!alone) this.#db.exec("ROLLBACK TO multi; RELEASE multi");
      this.#table.totals = totals;
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
    if (operation.kind === "check") {
      expectVersion(this.#table.look(parent, name), operation.version);
      this.#held = operation;
      return checked;
    }
    const row = expectVersion(this.#table.find(parent, name), operation.version);
    if (operation.kind === "set") {
      const version = row.version + 1;
      this.#table.update(row, { data: operation.data, version, mzxid: this.#zxid });
      return { path: "", version };
    }
    if (this.#table.hasChild(path)) throw new Refusal("NotEmpty");
    this.#table.remove(row);
    this.#forget(path);
    this.#empty.note(parent);
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
      name += String(Math.min(this.#nextNumber(parent), sequenceMax)).padStart(10, "0");
    } else if (isParent !== undefined) {
      throw new Refusal(this.#table.find(parent, name) === null ? isParent : "NodeExists");
    }
    const kind = Math.max(0, modes.indexOf(mode));
    const row = { parent, name, data, mode: kind, version: 0, czxid: this.#zxid, mzxid: this.#zxid, sequence: 0 };
    if (!this.#table.insert(row)) throw new Refusal("NodeExists");
    if (mode !== "sequential") return { path: "", version: 0 };
    return { path: parent === "/" ? `/${name}` : `${parent}/${name}`, version: 0 };
  }

  /** Returns the refusal for a child of this node; undefined: it can have children. */
  #isParent(path: string): CoordinatorErrorCode | undefined {
    if (path === "/") return undefined;
    let mode = this.#parents.get(path);
    if (mode === undefined) {
      const row = this.#table.find(...split(path));
      if (row === null) return "NoNode";
      mode = modes[row.mode]!;
      if (this.#parents.size >= cachedParentsMax) this.#parents.clear();
      this.#parents.set(path, mode);
    }
    return mode === "ephemeral" ? "NoChildrenForEphemerals" : undefined;
  }

  #nextNumber(parent: string): number {
    const number = this.#sequences.get(parent) ?? this.#table.find(...split(parent))!.sequence;
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
    const key = split(operation.path);
    const head = operation.kind === "exists" ? this.#table.look(...key) : undefined;
    const row = head === undefined ? this.#table.find(...key) : undefined;
    if (head === null || row === null) return "NoNode";
    if (operation.kind === "children") return { children: this.#table.children(operation.path) };
    const { czxid, mzxid, version } = (head ?? row)!;
    const stat = (childCount: number): Stat => ({ czxid, mzxid, version, childCount });
    if (row === undefined) return { stat: stat(this.#table.count(operation.path)) };
    return { data: row.data, stat: stat(this.#table.hasChild(operation.path) ? 1 : 0) };
  }
}

/** As in ZooKeeper, which counts in 32 bits, and then no further: the next name is the last one again. */
const sequenceMax = 2 ** 31 - 1;

const checked: WriteResult = { path: "", version: -1 };

/** Parent and name: the table's key. */
function split(path: string): [parent: string, name: string] {
  const slash = path.lastIndexOf("/");
  return [slash === 0 ? "/" : path.slice(0, slash), path.slice(slash + 1)];
}
