/**
 * The only writer to the store. A unit of operations is committed as a whole, or repaired and tried again in its place: level
 * nodes may vanish under it (ZooKeeper removes empty containers) or be made by another broker, and `put` and
 * `remove` do not care whether the node is there. A unit whose `check` fails is refused: what it speaks for is no
 * longer this broker's.
 */
import { assert } from "../base/assert.ts";
import { noBytes } from "../base/bytes.ts";
import { journalBytesLow, journalBytesMax, journalKnownNodesMax, journalRetriesMax } from "../base/limits.ts";
import type {
  Coordinator,
  CoordinatorError,
  CreateMode,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import { isMailbox, nameOf, parentPath, retainedPath } from "../coordinator/paths.ts";

/** `isCurrent` is asked before a retry: what later units have overtaken is left out. */
export type JournalOperation =
  | {
      readonly kind: "create";
      readonly path: string;
      readonly data: Uint8Array;
      readonly mode: CreateMode;
      /** Told the name that the store gave a sequential node; undefined: it was created, its name is not known. */
      readonly named?: (name: string | undefined) => void;
    }
  /** Sets; with a `version`, only that one, or the unit is refused. */
  | { readonly kind: "set"; readonly path: string; readonly data: Uint8Array; readonly version?: () => number }
  /** Creates or sets; `exists` is a guess. */
  | {
      readonly kind: "put";
      readonly path: string;
      readonly data: Uint8Array;
      readonly exists: boolean;
      readonly isCurrent?: () => boolean;
      /** Called when it is written or overtaken, or the unit is refused: nothing of it is under way any more. */
      readonly after?: (how: "committed" | "refused") => void;
    }
  /** Creates an ephemeral node of this session, in place of one that an earlier session has left. */
  | { readonly kind: "announce"; readonly path: string; readonly data: Uint8Array; readonly isCurrent?: () => boolean }
  /** Deletes if it is there; a node with children is emptied instead. */
  | {
      readonly kind: "remove";
      readonly path: string;
      readonly isCurrent?: () => boolean;
      readonly after?: (how: "committed" | "refused") => void;
    }
  /** Deletes; if it is not there the unit is refused: somebody else has done it. */
  | { readonly kind: "take"; readonly path: string }
  /** The unit is refused if the version is another one. */
  | { readonly kind: "check"; readonly path: string; readonly version: () => number };

/** `versions[i]`: what operation i has left behind as data version; -1 where there is none or it is not known. */
export type JournalDone = (versions: readonly number[], zxid: number) => void;
export type JournalRefused = (error: CoordinatorError) => void;

/** What is written besides the caller's operations: level nodes, and what stands where a node must be announced. */
type Part =
  | { readonly kind: "own"; readonly index: number }
  | { readonly kind: "level"; readonly path: string }
  | { readonly kind: "clear"; readonly path: string };

interface Unit {
  operations: (JournalOperation | undefined)[];
  /** Level nodes to create first. */
  levels: string[];
  /** Announcements that must clear the place first. */
  occupied: Set<string>;
  /** What `check` and `set` expect: as it was when the unit was committed. */
  readonly expected: readonly number[];
  readonly bytes: number;
  readonly after: readonly ((how: "committed" | "refused") => void)[];
  /** Who waits for it and all before it. */
  readonly barriers: (() => void)[];
  readonly done: JournalDone;
  readonly refused: JournalRefused | undefined;
  attempts: number;
}

export class Journal {
  readonly #coordinator: Coordinator;
  readonly #known = new Set<string>();
  /** Units that wait until it is known which level nodes exist. */
  #incoming: Unit[] = [];
  #looking = false;
  readonly #pending = new Set<Unit>();
  /** The youngest unit. Units end in their order, so it is pending as long as any is. */
  #last: Unit | undefined;
  #pendingBytes = 0;
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
    return this.#pending.size;
  }

  /** What one unit may hold, in bytes. */
  get unitBytesMax(): number {
    return this.#coordinator.submissionBytesMax;
  }

  /** Commits; `done` is called when all of it is durable, and not before. `refused` instead, if it was. */
  commit(operations: readonly JournalOperation[], done: JournalDone = () => {}, refused?: JournalRefused): void {
    if (operations.length === 0) return done([], 0);
    let bytes = 0;
    for (const operation of operations)
      bytes += operation.path.length + ("data" in operation ? operation.data.length : 0);
    const unit: Unit = {
      operations: [...operations],
      levels: [],
      occupied: new Set(),
      expected: operations.map(expectedBy),
      bytes,
      after: operations.flatMap((operation) => ("after" in operation && operation.after ? [operation.after] : [])),
      barriers: [],
      done,
      refused,
      attempts: 0,
    };
    this.#pendingBytes += bytes;
    this.#pending.add(unit);
    this.#last = unit;
    this.#incoming.push(unit);
    if (!this.#looking) this.#look();
  }

  /** Calls back when everything that is pending now has been committed or refused. */
  settled(done: () => void): void {
    if (this.#pending.size === 0) return done();
    this.#last!.barriers.push(done);
  }

  /** Submits what came in, in its order. Where level nodes are not known to exist, they are looked for first. */
  #look(): void {
    const units = this.#incoming;
    this.#incoming = [];
    const unknown = new Set<string>();
    for (const unit of units) this.#gatherUnknown(unit, unknown);
    if (unknown.size === 0) {
      for (const unit of units) this.#submit(unit);
      return;
    }
    this.#looking = true;
    const paths = [...unknown];
    this.#coordinator.read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error !== undefined) return;
        const missing = new Set(paths.filter((_, index) => typeof results[index] !== "object"));
        for (const unit of units) {
          unit.levels = this.#levelsOf(unit, missing);
          this.#submit(unit);
        }
        this.#looking = false;
        if (this.#incoming.length > 0) this.#look();
      },
    );
  }

  #gatherUnknown(unit: Unit, unknown: Set<string>): void {
    const made = madeBy(unit);
    for (const operation of unit.operations) {
      if (operation === undefined || !mayCreate(operation)) continue;
      for (let at = parentPath(operation.path); at !== "/" && !this.#known.has(at); at = parentPath(at)) {
        if (!made.has(at)) unknown.add(at);
      }
    }
  }

  /** The missing levels above a unit's nodes, parents first; from now on they count as known. */
  #levelsOf(unit: Unit, missing: Set<string>): string[] {
    if (this.#known.size > journalKnownNodesMax) this.#known.clear();
    const levels: string[] = [];
    const made = madeBy(unit);
    for (const operation of unit.operations) {
      if (operation === undefined || !mayCreate(operation)) continue;
      const chain: string[] = [];
      for (let at = parentPath(operation.path); at !== "/"; at = parentPath(at)) {
        if (missing.delete(at)) chain.push(at);
        if (!made.has(at)) this.#known.add(at);
      }
      levels.push(...chain.reverse());
    }
    return levels;
  }

  #submit(unit: Unit): void {
    let { writes, parts } = this.#write(unit);
    this.#coordinator.write(
      writes,
      (error, results, zxid) => {
        if (error === undefined) return this.#finish(unit, this.#collect(unit, parts, results), zxid);
        // An orderly end: nothing more is committed, nothing more is acknowledged.
        if (error.code === "Closed") return;
        const isRefused = unit.operations.some((operation) => operation !== undefined);
        this.#retire(unit, isRefused ? "refused" : "committed");
        if (isRefused) this.#refuse(unit, error);
        else unit.done(new Array(unit.operations.length).fill(-1), 0);
        this.#lower(unit);
      },
      (error) => {
        if (error.code === "Closed" || !this.#repair(unit, parts[error.index]!, error)) return undefined;
        ({ writes, parts } = this.#write(unit));
        return writes;
      },
    );
  }

  #refuse(unit: Unit, error: CoordinatorError): void {
    if (unit.refused === undefined) throw new Error(`assertion failed: the store refused a unit: ${error.message}`);
    unit.refused(error);
  }

  /** What a unit comes to: its operations, and what must be done before them. */
  #write(unit: Unit): { writes: WriteOperation[]; parts: Part[] } {
    const writes: WriteOperation[] = [];
    const parts: Part[] = [];
    for (const path of unit.levels) {
      const mode: CreateMode = isContainer(path) ? "container" : "persistent";
      writes.push({ kind: "create", path, data: noBytes, mode });
      parts.push({ kind: "level", path });
    }
    unit.operations.forEach((operation, index) => {
      if (operation === undefined) return;
      if (unit.occupied.has(operation.path)) {
        writes.push({ kind: "delete", path: operation.path, version: -1 });
        parts.push({ kind: "clear", path: operation.path });
      }
      writes.push(toWrite(operation, unit.expected[index]!));
      parts.push({ kind: "own", index });
    });
    return { writes, parts };
  }

  #collect(unit: Unit, parts: readonly Part[], results: readonly WriteResult[] | undefined): number[] {
    const versions: number[] = new Array(unit.operations.length).fill(-1);
    parts.forEach((part, at) => {
      if (part.kind !== "own") return;
      const result = results?.[at];
      versions[part.index] = result?.version ?? -1;
      const operation = unit.operations[part.index]!;
      if (operation.kind === "create") operation.named?.(result && nameOf(result.path));
    });
    return versions;
  }

  #finish(unit: Unit, versions: readonly number[], zxid: number): void {
    this.#retire(unit, "committed");
    unit.done(versions, zxid);
    this.#lower(unit);
  }

  #retire(unit: Unit, how: "committed" | "refused"): void {
    this.#pendingBytes -= unit.bytes;
    this.#pending.delete(unit);
    for (const after of unit.after) after(how);
    if (this.#relieved === undefined || this.#pendingBytes > journalBytesLow) return;
    const relieved = this.#relieved;
    this.#relieved = undefined;
    relieved();
  }

  #lower(unit: Unit): void {
    for (const done of unit.barriers) done();
  }

  /** Makes the unit such that it may succeed; false if it must be refused, or nothing is left of it. */
  #repair(unit: Unit, part: Part, error: CoordinatorError): boolean {
    unit.attempts++;
    const tries = journalRetriesMax + 4 * (unit.operations.length + unit.levels.length);
    assert(unit.attempts <= tries, `the store keeps refusing: ${error.message}`);
    const repaired =
      part.kind === "own" ? this.#repairOwn(unit, part.index, error) : this.#repairLevel(unit, part, error);
    if (!repaired) return false;
    unit.operations = unit.operations.map((operation) => (isOvertaken(operation) ? undefined : operation));
    return unit.operations.some((operation) => operation !== undefined);
  }

  #repairLevel(unit: Unit, part: Part & { path: string }, { code, message }: CoordinatorError): boolean {
    if (part.kind === "clear" && code === "NoNode") unit.occupied.delete(part.path);
    else if (part.kind === "level" && code === "NodeExists")
      unit.levels = unit.levels.filter((path) => path !== part.path);
    else if (part.kind === "level" && code === "NoNode") addLevelAbove(unit, part.path);
    else throw new Error(`assertion failed: the store refused a level: ${message}`);
    return true;
  }

  #repairOwn(unit: Unit, index: number, { code, message }: CoordinatorError): boolean {
    const operation = unit.operations[index]!;
    switch (`${operation.kind} ${code}`) {
      case "put NodeExists":
        unit.operations[index] = { ...operation, exists: true } as JournalOperation;
        return true;
      case "put NoNode": {
        // It is not there, or what it should stand below is not.
        const { exists } = operation as { exists: boolean };
        if (exists) unit.operations[index] = { ...operation, exists: false } as JournalOperation;
        else addLevelAbove(unit, operation.path);
        return true;
      }
      case "announce NodeExists":
        unit.occupied.add(operation.path);
        return true;
      case "create NoNode":
      case "announce NoNode":
        addLevelAbove(unit, operation.path);
        return true;
      case "remove NotEmpty":
        unit.operations[index] = { kind: "put", path: operation.path, data: noBytes, exists: true };
        return true;
      case "set NoNode":
        if ("version" in operation) return false;
        unit.operations[index] = undefined;
        return true;
      case "remove NoNode":
        unit.operations[index] = undefined;
        return true;
      case "check BadVersion":
      case "check NoNode":
      case "set BadVersion":
      case "take NoNode":
      case "create NodeExists":
        return false;
      default:
        if (code === "TooLarge" || code === "NoAuth") return false;
        throw new Error(`assertion failed: the store refused ${operation.kind}: ${message}`);
    }
  }
}

/**
 * A level of depth 1 is the tree's own. A level of retained messages may be given one: as a container it would vanish
 * with what is below it. A mailbox stays as long as its session: a new one would number its slips from 0 again.
 */
function isContainer(path: string): boolean {
  return path.lastIndexOf("/") > 0 && !path.startsWith(`${retainedPath}/`) && !isMailbox(path);
}

/** Nodes that stand above others of the same unit: they are no levels. */
function madeBy(unit: Unit): Set<string> {
  return new Set(unit.operations.flatMap((operation) => (operation?.kind === "create" ? [operation.path] : [])));
}

/** The level above a node has vanished, or was never there: it is made in the same commit. */
function addLevelAbove(unit: Unit, path: string): void {
  const level = parentPath(path);
  if (!unit.levels.includes(level)) unit.levels.unshift(level);
}

function isOvertaken(operation: JournalOperation | undefined): boolean {
  return operation !== undefined && "isCurrent" in operation && operation.isCurrent?.() === false;
}

function mayCreate(operation: JournalOperation): boolean {
  return (
    operation.kind === "create" || operation.kind === "announce" || (operation.kind === "put" && !operation.exists)
  );
}

function expectedBy(operation: JournalOperation): number {
  return "version" in operation ? (operation.version?.() ?? -1) : -1;
}

function toWrite(operation: JournalOperation, version: number): WriteOperation {
  const { kind, path } = operation;
  switch (kind) {
    case "create":
      return { kind, path, data: operation.data, mode: operation.mode };
    case "announce":
      return { kind: "create", path, data: operation.data, mode: "ephemeral" };
    case "set":
      return { kind, path, data: operation.data, version };
    case "remove":
    case "take":
      return { kind: "delete", path, version: -1 };
    case "check":
      return { kind, path, version };
    case "put":
      if (operation.exists) return { kind: "set", path, data: operation.data, version: -1 };
      return { kind: "create", path, data: operation.data, mode: "persistent" };
  }
}
