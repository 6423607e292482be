/**
 * The door to disk: the tree of znodes in one SQLite table. Runs in a worker, so that an fsync never holds up
 * the event loop that serves clients. WAL with `synchronous=FULL`: what `run` has returned for is on disk.
 */
import type { Database, Statement } from "bun:sqlite";
import { OperatingError } from "../base/errors.ts";
import type {
  CoordinatorErrorCode,
  ReadOperation,
  ReadResult,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import { EmptyLevels } from "../coordinator/empty-levels.ts";
import type { Visit } from "../coordinator/mirror.ts";
import { isRetainedLevel } from "../coordinator/paths.ts";
import type { Row, Totals } from "./checksum.ts";
import type { DamagedRow } from "./damage.ts";
import { modes, NodeTable, split } from "./node-table.ts";
import {
  defaultOpenOptions,
  inWords,
  type OpenOptions,
  type OwnStore,
  openForReading,
  openStore,
} from "./open-store.ts";
import { Refusal } from "./refusal.ts";
import { StoreFile } from "./store-file.ts";
import { TreeOperations } from "./tree-operations.ts";

export type Request =
  /** If it is refused and can be repaired, nothing is run after it. */
  | { readonly kind: "write"; readonly operations: readonly WriteOperation[]; readonly canBeRepaired: boolean }
  | { readonly kind: "read"; readonly operations: readonly ReadOperation[] };

export type Reply =
  /** Paths of results are empty where they are as asked. */
  | { readonly kind: "written"; readonly results: readonly WriteResult[]; readonly zxid: number }
  | { readonly kind: "read"; readonly results: readonly ReadResult[] }
  | { readonly kind: "failed"; readonly code: CoordinatorErrorCode; readonly path: string; readonly index: number };

/** A row without its data. */
interface Listed {
  readonly parent: string;
  readonly name: string;
  readonly mode: number;
  readonly czxid: number;
  readonly bytes: number;
}

/**
 * Whether a submission can be undone alone, by a savepoint of its own. To make one, and to keep the pages as they were
 * then, takes a part of the time that all else takes, and few submissions are refused: without, all of the transaction
 * is undone, and run once more with savepoints.
 */
type Undoing = "saved" | "unsaved";

/** Thrown where it must be run once more. */
const mustBeSaved = new Error("a submission of the transaction is to be undone alone");

/** Transactions that have savepoints after one that needed them: where one submission is refused others may be, too. */
const savedRunsMin = 32;

export class TreeDatabase {
  /** The place that it takes on the disk. */
  readonly file: StoreFile;
  readonly #db: Database;
  readonly #store: OwnStore | undefined;
  readonly #table: NodeTable;
  readonly #operations: TreeOperations;
  readonly #savepoint: Statement;
  readonly #release: Statement;
  readonly #list: Statement<Listed, [string, string, number]>;
  #zxid: number;
  /** Transactions that are still to have savepoints. */
  #savedRuns = 0;
  /** The last transaction of the life before this one. */
  readonly #startedAt: number;
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
      this.#operations = new TreeOperations(this.#table, (path) => this.#empty.note(path));
      this.#savepoint = this.#db.query("SAVEPOINT multi");
      this.#release = this.#db.query("RELEASE multi");
      this.#list = this.#db.query(
        "SELECT parent, name, mode, czxid, length(data) AS bytes FROM node WHERE (parent, name) > (?, ?) ORDER BY parent, name LIMIT ?",
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
    if (this.#savedRuns > 0) {
      this.#savedRuns--;
      return this.#run(requests, "saved");
    }
    try {
      return this.#run(requests, "unsaved");
    } catch (error) {
      if (error !== mustBeSaved) throw error;
      this.#savedRuns = savedRunsMin;
      return this.#run(requests, "saved");
    }
  }

  /** Throws `mustBeSaved` where a submission would have to be undone alone and cannot be; then nothing happened. */
  #run(requests: readonly Request[], how: Undoing): Reply[] {
    const writes = requests.some((request) => request.kind === "write");
    const zxid = this.#zxid;
    const { totals } = this.#table;
    try {
      // Also for reads: each would lock and unlock the file for itself.
      this.#db.exec(writes ? "BEGIN IMMEDIATE" : "BEGIN");
      const replies: Reply[] = [];
      for (const request of requests) {
        const reply = this.#answer(request, how);
        replies.push(reply);
        if (reply.kind === "failed" && request.kind === "write" && request.canBeRepaired) break;
      }
      if (writes) {
        this.#operations.writeSequences();
        this.#commit();
        this.#store?.witness.committed(this.#zxid);
      } else {
        this.#db.exec("COMMIT");
      }
      return replies;
    } catch (error) {
      this.#zxid = zxid;
      this.#operations.transactionUndone();
      this.#undo(totals);
      throw error === mustBeSaved ? error : inWords(error);
    }
  }

  /** Visits all nodes below a path as one commit has left them; see `Store`. Throws `OperatingError`. */
  walk(root: string, visit: Visit): void {
    try {
      this.#db.exec("BEGIN");
      this.#operations.walk(root, visit);
    } catch (error) {
      throw inWords(error);
    } finally {
      if (this.#db.inTransaction) this.#db.exec("COMMIT");
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
          if (!this.#table.removeEmptyLevel(path, isRetainedLevel(path) ? "persistent" : "container")) continue;
          this.#operations.forget(path);
          this.#empty.hurry(split(path)[0]);
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
    for (const { parent, name, mode, czxid, bytes } of rows) {
      const path = parent === "/" ? `/${name}` : `${parent}/${name}`;
      const isLevel = modes[mode] === "container" || (bytes === 0 && isRetainedLevel(path));
      if (isLevel && czxid <= this.#startedAt) this.#empty.hurry(path);
    }
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
    this.#operations.transactionUndone();
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

  #answer(request: Request, how: Undoing): Reply {
    if (request.kind === "read") {
      return { kind: "read", results: request.operations.map((operation) => this.#operations.read(operation)) };
    }
    return this.#writeAll(request.operations, how);
  }

  #writeAll(operations: readonly WriteOperation[], how: Undoing): Reply {
    const results: WriteResult[] = [];
    this.#zxid++;
    const { totals } = this.#table;
    // One that changes nothing, or only with its last operation, leaves nothing behind when it is refused.
    const firstChange = operations.findIndex(({ kind }) => kind !== "check");
    const mustUndo = how === "saved" && firstChange < operations.length - 1;
    let isSaved = false;
    try {
      for (const operation of operations) {
        if (mustUndo && !isSaved && operation.kind !== "check") {
          this.#savepoint.run();
          isSaved = true;
        }
        results.push(this.#operations.write(operation, this.#zxid));
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (how === "unsaved" && firstChange >= 0 && firstChange < results.length) throw mustBeSaved;
      if (isSaved) {
        this.#db.exec("ROLLBACK TO multi; RELEASE multi");
        this.#table.totals = totals;
        this.#operations.submissionUndone();
      }
      return { kind: "failed", code: error.code, path: operations[results.length]!.path, index: results.length };
    }
    if (isSaved) this.#release.run();
    return { kind: "written", results, zxid: this.#zxid };
  }
}
