/**
 * A unit of the journal: operations that are committed as a whole, with what must be done before them; and how it is
 * repaired when the store refuses it. Level nodes may have vanished, or have been made by another broker; `put` and
 * `remove` do not care whether the node is there.
 */
import { assert } from "../base/assert.ts";
import { noBytes } from "../base/bytes.ts";
import { journalRetriesMax } from "../base/limits.ts";
import type { CoordinatorError, CoordinatorErrorCode, WriteOperation } from "../coordinator/coordinator.ts";
import { levelMode, parentPath } from "../coordinator/paths.ts";
import { isOvertaken, type JournalOperation, type Outcome, toWrite } from "./operations.ts";

/** The parts of a submission: the caller's operations, level nodes, and removals that make room for a node. */
export type Part =
  | { readonly kind: "own"; readonly index: number }
  | { readonly kind: "level"; readonly path: string }
  | { readonly kind: "clear"; readonly path: string }
  | { readonly kind: "skip"; readonly path: string };

/** Operations that are committed as a whole, on their way into the store. */
export interface Unit {
  operations: (JournalOperation | undefined)[];
  /** Level nodes to create first. */
  levels: string[];
  /** Announcements that must clear the place first. */
  occupied: Set<string> | undefined;
  /** How many numbers a sequential node must pass over, by its place: somebody else's nodes bear them. */
  skips: Map<number, number> | undefined;
  /** Versions that `check` and `set` expect: as they were when the unit was committed. */
  readonly expected: number[];
  /** The lease under which it was committed; see `Journal.leaseLost`. */
  lease: number;
  readonly bytes: number;
  readonly after: readonly { readonly index: number; readonly call: (how: Outcome) => void }[] | undefined;
  /** Operations that were left out, by their places; and nodes that stay as levels of others. */
  overtaken: Set<number> | undefined;
  emptied: Set<number> | undefined;
  readonly submittedAt: number;
  /** Units are taken up in the order of their numbers. */
  readonly number: number;
  /** A check that has failed and may be waited for. */
  waitsFor: JournalOperation | undefined;
  /** Callbacks that wait until it has been handed to the store. */
  submitted: (() => void)[] | undefined;
  readonly done: (versions: readonly number[], zxid: number) => void;
  readonly refused: ((error: CoordinatorError) => void) | undefined;
  attempts: number;
}

/**
 * Returns the store's operations for a unit: its own, and those that must be done before them. `withLevels`: the store
 * makes what is missing above its nodes.
 */
export function writesOf(unit: Unit, withLevels: boolean): { writes: WriteOperation[]; parts: Part[] } {
  const writes: WriteOperation[] = [];
  const parts: Part[] = [];
  for (const path of unit.levels) {
    writes.push({ kind: "create", path, data: noBytes, mode: levelMode(path) });
    parts.push({ kind: "level", path });
  }
  unit.operations.forEach((operation, index) => {
    if (operation === undefined) return;
    if (unit.occupied?.has(operation.path)) {
      writes.push({ kind: "delete", path: operation.path, version: -1 });
      parts.push({ kind: "clear", path: operation.path });
    }
    for (let skip = unit.skips?.get(index) ?? 0; skip > 0; skip--) passOver(operation.path, { writes, parts });
    writes.push(toWrite(operation, { version: unit.expected[index]!, withLevels }));
    parts.push({ kind: "own", index });
  });
  return { writes, parts };
}

/** A child that comes and goes: the numbers of sequential children grow with every child of their parent. */
function passOver(asked: string, { writes, parts }: { writes: WriteOperation[]; parts: Part[] }): void {
  const path = `${parentPath(asked)}/=skip`;
  writes.push({ kind: "create", path, data: noBytes, mode: "persistent" }, { kind: "delete", path, version: -1 });
  parts.push({ kind: "skip", path }, { kind: "skip", path });
}

/** True if a unit has been repaired so often that others must be undoing, as fast as it is made, what it needs. */
export function isGivenUp({ attempts, operations, levels }: Unit): boolean {
  return attempts > journalRetriesMax + 4 * (operations.length + levels.length);
}

/** Makes the unit such that it may succeed; false if it must be refused, or nothing is left of it. */
export function repair(unit: Unit, part: Part, error: CoordinatorError): boolean {
  unit.attempts++;
  if (isGivenUp(unit)) return false;
  const repaired = part.kind === "own" ? repairOwn(unit, part.index, error) : repairLevel(unit, part, error);
  if (!repaired) return false;
  leaveOut(unit);
  return unit.operations.some((operation) => operation !== undefined);
}

function repairLevel(unit: Unit, part: Part & { path: string }, { code, message }: CoordinatorError): boolean {
  if (part.kind === "clear" && code === "NoNode") unit.occupied?.delete(part.path);
  else if (part.kind === "level" && code === "NodeExists")
    unit.levels = unit.levels.filter((path) => path !== part.path);
  else if (part.kind !== "clear" && code === "NoNode") addLevelAbove(unit, part.path);
  else {
    assert(isInTheWay(code), `the store refused a level: ${message}`);
    return false;
  }
  return true;
}

function repairOwn(unit: Unit, index: number, { code, message }: CoordinatorError): boolean {
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
      unit.occupied ??= new Set();
      unit.occupied.add(operation.path);
      return true;
    case "create NoNode":
    case "announce NoNode":
      addLevelAbove(unit, operation.path);
      return true;
    case "remove NotEmpty":
      unit.operations[index] = { kind: "set", path: operation.path, data: noBytes };
      unit.emptied ??= new Set();
      unit.emptied.add(index);
      return true;
    case "set NoNode":
      if ("version" in operation) return false;
      unit.operations[index] = undefined;
      return true;
    case "remove NoNode":
      unit.operations[index] = undefined;
      return true;
    case "create NodeExists": {
      if ((operation as { mode: string }).mode !== "sequential") return false;
      unit.skips ??= new Map();
      unit.skips.set(index, Math.max(1, 2 * (unit.skips.get(index) ?? 0)));
      return true;
    }
    case "check BadVersion":
    case "check NoNode":
    case "set BadVersion":
    case "take NoNode":
    case "take BadVersion":
      return false;
    default:
      assert(isInTheWay(code), `the store refused ${operation.kind}: ${message}`);
      return false;
  }
}

/**
 * True if a unit was refused because of what others have put into the tree, or since it is more than the store takes.
 */
export function isInTheWay(code: CoordinatorErrorCode): boolean {
  return inTheWay.includes(code);
}

const inTheWay: readonly CoordinatorErrorCode[] = [
  "TooLarge",
  "NoAuth",
  "InvalidPath",
  "NoChildrenForEphemerals",
  "NotEmpty",
];

/** Leaves out what later units have overtaken. */
export function leaveOut(unit: Unit): void {
  unit.operations.forEach((operation, index) => {
    if (!isOvertaken(operation)) return;
    unit.operations[index] = undefined;
    unit.overtaken ??= new Set();
    unit.overtaken.add(index);
  });
}

/** The outcome of one operation of a unit, when the whole unit has ended. */
export function outcomeOf({ operations, overtaken, emptied }: Unit, index: number, how: Outcome): Outcome {
  if (overtaken?.has(index)) return "overtaken";
  // It was left out, since the node was not there: when others had made one was not asked any more.
  if (how === "committed" && operations[index] === undefined) return "doubted";
  return how === "committed" && emptied?.has(index) ? "emptied" : how;
}

/** The level above a node has vanished, or was never there: it is made in the same commit. */
function addLevelAbove(unit: Unit, path: string): void {
  const level = parentPath(path);
  if (unit.levels.includes(level)) return;
  unit.levels.push(level);
  // Parents first: a path is longer than those above it.
  unit.levels.sort((a, b) => a.length - b.length);
}
