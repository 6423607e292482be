/**
 * The only writer to the store. A unit of operations is committed as a whole or repaired and tried again: level
 * nodes may vanish under it (ZooKeeper removes empty containers), and `put` and `remove` do not care whether
 * the node is there.
 */
import { assert } from "../base/assert.ts";
import { noBytes } from "../base/bytes.ts";
import { journalBytesLow, journalBytesMax, journalKnownNodesMax, journalRetriesMax } from "../base/limits.ts";
import type { Coordinator, CoordinatorError, CreateMode, WriteOperation } from "../coordinator/coordinator.ts";
import { parentPath } from "../coordinator/paths.ts";

/** `isCurrent` is asked before a retry: what later units have overtaken is left out. */
export type JournalOperation =
  | { readonly kind: "create"; readonly path: string; readonly data: Uint8Array; readonly mode: CreateMode }
  | { readonly kind: "set"; readonly path: string; readonly data: Uint8Array }
  /** Creates or sets; `exists` is a guess. */
  | {
      readonly kind: "put";
      readonly path: string;
      readonly data: Uint8Array;
      readonly exists: boolean;
      readonly isCurrent?: () => boolean;
    }
  /** Deletes if it is there; a node with children is emptied instead. */
  | { readonly kind: "remove"; readonly path: string; readonly isCurrent?: () => boolean };

/** `versions[i]` is the data version that operation i has left behind; -1 where there is none. */
export type JournalDone = (versions: readonly number[]) => void;

interface Unit {
  operations: (JournalOperation | undefined)[];
  readonly bytes: number;
  readonly done: JournalDone;
  attempts: number;
}

export class Journal {
  readonly #coordinator: Coordinator;
  readonly #known = new Set<string>();
  #pendingBytes = 0;
  #pendingUnits = 0;
  #relieved: (() => void) | undefined;
  /** Told once when the pending bytes have fallen low after `full` was true. */
  onRelief: () => void = () => {};

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  /** True while more is pending than a healthy store would leave: publishers should not be read. */
  get full(): boolean {
    if (this.#pendingBytes < journalBytesMax) return false;
    this.#relieved = this.onRelief;
    return true;
  }

  get pendingUnits(): number {
    return this.#pendingUnits;
  }

  /** Commits; `done` is called when all of it is durable, and not before. */
  commit(operations: readonly JournalOperation[], done: JournalDone = () => {}): void {
    let bytes = 0;
    for (const operation of operations)
      bytes += operation.path.length + (operation.kind === "remove" ? 0 : operation.data.length);
    this.#pendingBytes += bytes;
    this.#pendingUnits++;
    this.#submit({ operations: [...operations], bytes, done, attempts: 0 });
  }

  #submit(unit: Unit): void {
    const writes: WriteOperation[] = [];
    const indexes: number[] = [];
    /** Nodes that the unit itself makes. */
    const made = new Set<string>();
    for (let index = 0; index < unit.operations.length; index++) {
      const operation = unit.operations[index];
      if (operation === undefined) continue;
      if (operation.kind === "create" || (operation.kind === "put" && !operation.exists)) {
        if (!made.has(parentPath(operation.path))) this.#ensureParent(operation.path);
        made.add(operation.path);
      }
      writes.push(toWrite(operation));
      indexes.push(index);
    }
    this.#coordinator.write(writes, (error, results) => {
      if (error !== undefined) return this.#repair(unit, indexes[error.index]!, error);
      const versions: number[] = new Array(unit.operations.length).fill(-1);
      for (let at = 0; at < indexes.length; at++) versions[indexes[at]!] = results[at]?.version ?? -1;
      this.#finish(unit, versions);
    });
  }

  #finish(unit: Unit, versions: readonly number[]): void {
    this.#pendingBytes -= unit.bytes;
    this.#pendingUnits--;
    unit.done(versions);
    if (this.#relieved === undefined || this.#pendingBytes > journalBytesLow) return;
    const relieved = this.#relieved;
    this.#relieved = undefined;
    relieved();
  }

  #repair(unit: Unit, index: number, error: CoordinatorError): void {
    // An orderly end: nothing more is committed, nothing more is acknowledged.
    if (error.code === "Closed") return;
    unit.attempts++;
    assert(unit.attempts <= journalRetriesMax + unit.operations.length, `the store keeps refusing: ${error.message}`);
    unit.operations[index] = this.#repaired(unit.operations[index]!, error);
    unit.operations = unit.operations.map((operation) => (isOvertaken(operation) ? undefined : operation));
    if (unit.operations.every((operation) => operation === undefined)) return this.#finish(unit, []);
    this.#submit(unit);
  }

  #repaired(operation: JournalOperation, { code, message }: CoordinatorError): JournalOperation | undefined {
    switch (`${operation.kind} ${code}`) {
      case "put NodeExists":
        return { ...operation, exists: true } as JournalOperation;
      case "put NoNode":
      case "create NoNode":
        this.#forget(operation.path);
        return operation.kind === "put" ? { ...operation, exists: false } : operation;
      case "remove NotEmpty":
        return { kind: "set", path: operation.path, data: noBytes };
      case "set NoNode":
      case "remove NoNode":
        return undefined;
      default:
        throw new Error(`assertion failed: the store refused ${operation.kind}: ${message}`);
    }
  }

  /** Creates the levels above a node that are not known to exist; they go ahead of the unit, in order. */
  #ensureParent(path: string): void {
    const missing: string[] = [];
    for (let at = parentPath(path); at !== "/" && !this.#known.has(at); at = parentPath(at)) missing.push(at);
    if (this.#known.size + missing.length > journalKnownNodesMax) this.#known.clear();
    for (const level of missing.reverse()) {
      this.#known.add(level);
      // A level of depth 1 is the tree's own; it stays when it is empty.
      const mode: CreateMode = level.lastIndexOf("/") === 0 ? "persistent" : "container";
      this.#coordinator.write([{ kind: "create", path: level, data: noBytes, mode }], () => {});
    }
  }

  #forget(path: string): void {
    for (let at = parentPath(path); at !== "/"; at = parentPath(at)) this.#known.delete(at);
  }
}

function isOvertaken(operation: JournalOperation | undefined): boolean {
  return operation !== undefined && "isCurrent" in operation && operation.isCurrent?.() === false;
}

function toWrite(operation: JournalOperation): WriteOperation {
  switch (operation.kind) {
    case "create":
      return operation;
    case "set":
      return { kind: "set", path: operation.path, data: operation.data, version: -1 };
    case "remove":
      return { kind: "delete", path: operation.path, version: -1 };
    case "put":
      if (operation.exists) return { kind: "set", path: operation.path, data: operation.data, version: -1 };
      return { kind: "create", path: operation.path, data: operation.data, mode: "persistent" };
  }
}
