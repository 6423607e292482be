/**
 * Carries out writes and reads in the table of znodes. Transactions are opened and ended by the caller, who
 * says so when something was undone: what is remembered here of nodes, so that they need not be looked at each time, is
 * forgotten then.
 */
import { noBytes } from "../base/bytes.ts";
import type {
  CoordinatorErrorCode,
  CreateMode,
  ReadOperation,
  ReadResult,
  Stat,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import type { Visit } from "../coordinator/mirror.ts";
import { isRetainedLevel, levelMode } from "../coordinator/paths.ts";
import { isValidPath, mayBeLookedFor } from "../coordinator/valid-path.ts";
import { modes, type NodeTable, split } from "./node-table.ts";
import { expectVersion, Refusal } from "./refusal.ts";

/** Nodes of each kind that are remembered. */
const rememberedMax = 100_000;

export class TreeOperations {
  readonly #table: NodeTable;
  /** Told of nodes that have lost a child, or their data. */
  readonly #emptied: (path: string) => void;
  /** Modes of nodes that have children, by path: looked at for every child that is made. */
  readonly #parents = new Map<string, CreateMode>();
  /** Versions of nodes that were checked, by path: most requests bring the same checks. */
  readonly #versions = new Map<string, number>();
  /** Next numbers of sequential nodes, by parent; those that must be written before the commit. */
  readonly #sequences = new Map<string, number>();
  readonly #unwritten = new Set<string>();

  constructor(table: NodeTable, emptied: (path: string) => void) {
    this.#table = table;
    this.#emptied = emptied;
  }

  /** Throws `Refusal`; then what others of the same submission have written must be undone. */
  write(operation: WriteOperation, zxid: number): WriteResult {
    if (!mayBeLookedFor(operation)) throw new Refusal("InvalidPath");
    switch (operation.kind) {
      case "create":
        return this.#create(operation, zxid);
      case "check":
        this.#check(operation);
        return gone;
      case "set":
        return this.#set(operation, zxid);
      case "delete":
        this.#delete(operation);
        return gone;
    }
  }

  read(operation: ReadOperation): ReadResult {
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

  /** Visits all nodes below a path, each before those below it. Throws `DamagedRow`. */
  walk(root: string, visit: Visit): void {
    const table = this.#table;
    for (const { parent, name, data, czxid, mzxid, version } of table.below(root)) {
      const path = `${parent}/${name}`;
      const stat = {
        ...{ czxid, mzxid, version },
        // Few ask for it.
        get childCount() {
          return table.hasChild(path) ? 1 : 0;
        },
      };
      visit(path, { data, stat });
    }
  }

  /** Belongs into every transaction that has made sequential nodes. */
  writeSequences(): void {
    for (const parent of this.#unwritten)
      this.#table.update(this.#table.find(...split(parent))!, { sequence: this.#sequences.get(parent)! });
    this.#unwritten.clear();
  }

  /** A node is gone. */
  forget(path: string): void {
    this.#parents.delete(path);
    this.#versions.delete(path);
    this.#sequences.delete(path);
    this.#unwritten.delete(path);
  }

  /** A submission was undone. Numbers that it was given are passed over. */
  submissionUndone(): void {
    // What was made must not be taken for a parent, and what was set has its version again.
    this.#parents.clear();
    this.#versions.clear();
  }

  /** All of a transaction was undone. */
  transactionUndone(): void {
    this.submissionUndone();
    this.#sequences.clear();
    this.#unwritten.clear();
  }

  #check({ path, version }: Extract<WriteOperation, { kind: "check" }>): void {
    let found = this.#versions.get(path);
    if (found === undefined) {
      ({ version: found } = expectVersion(this.#table.look(...split(path)), -1));
      remember(this.#versions, path, found);
    }
    expectVersion({ version: found }, version);
  }

  #set({ path, data, version: expected }: Extract<WriteOperation, { kind: "set" }>, zxid: number): WriteResult {
    const row = expectVersion(this.#table.find(...split(path)), expected);
    const version = row.version + 1;
    this.#table.update(row, { data, version, mzxid: zxid });
    this.#versions.delete(path);
    // What stood below it may have gone before.
    if (data.length === 0 && isRetainedLevel(path)) this.#emptied(path);
    return { path: "", version };
  }

  #delete({ path, version }: Extract<WriteOperation, { kind: "delete" }>): void {
    const found = this.#table.findWithChild(path);
    const row = expectVersion(found.row, version);
    if (found.hasChild) throw new Refusal("NotEmpty");
    this.#table.remove(row);
    this.forget(path);
    this.#emptied(row.parent);
  }

  #create(operation: Extract<WriteOperation, { kind: "create" }>, zxid: number): WriteResult {
    const { path: asked, data, mode, withLevels } = operation;
    const [parent, prefix] = split(asked);
    const isValid = isValidPath(mode === "sequential" ? `${asked}0` : asked);
    let isParent = this.#isParent(parent);
    if (isParent === "NoNode" && withLevels === true && isValid) isParent = this.#makeLevel(parent, zxid);
    // In ZooKeeper's order: a missing parent comes before a wrong name.
    if (isParent !== "NoNode" && !isValid) throw new Refusal("InvalidPath");
    let name = prefix;
    if (mode === "sequential") {
      if (isParent !== undefined) throw new Refusal(isParent);
      name += String(Math.min(this.#nextNumber(parent), sequenceMax)).padStart(10, "0");
    } else if (isParent !== undefined) {
      throw new Refusal(this.#table.find(parent, name) === null ? isParent : "NodeExists");
    }
    if (!this.#table.make([parent, name], { data, mode, zxid })) throw new Refusal("NodeExists");
    if (mode !== "sequential") return made;
    return { path: parent === "/" ? `/${name}` : `${parent}/${name}`, version: 0 };
  }

  /** Makes a level that is missing, and those above it that are. Returns why there cannot be one. */
  #makeLevel(path: string, zxid: number): CoordinatorErrorCode | undefined {
    const key = split(path);
    let isParent = this.#isParent(key[0]);
    if (isParent === "NoNode") isParent = this.#makeLevel(key[0], zxid);
    if (isParent !== undefined) return isParent;
    const mode = levelMode(path);
    this.#table.make(key, { data: noBytes, mode, zxid });
    remember(this.#parents, path, mode);
    return undefined;
  }

  /** Returns the refusal for a child of this node; undefined: it can have children. */
  #isParent(path: string): CoordinatorErrorCode | undefined {
    if (path === "/") return undefined;
    let mode = this.#parents.get(path);
    if (mode === undefined) {
      const row = this.#table.find(...split(path));
      if (row === null) return "NoNode";
      mode = modes[row.mode]!;
      remember(this.#parents, path, mode);
    }
    return mode === "ephemeral" ? "NoChildrenForEphemerals" : undefined;
  }

  #nextNumber(parent: string): number {
    const number = this.#sequences.get(parent) ?? this.#table.find(...split(parent))!.sequence;
    this.#sequences.set(parent, number + 1);
    this.#unwritten.add(parent);
    return number;
  }
}

/** As in ZooKeeper, which counts in 32 bits, and then no further: the next name is the last one again. */
const sequenceMax = 2 ** 31 - 1;

const made: WriteResult = { path: "", version: 0 };
const gone: WriteResult = { path: "", version: -1 };

function remember<Value>(values: Map<string, Value>, path: string, value: Value): void {
  if (values.size >= rememberedMax) values.clear();
  values.set(path, value);
}
