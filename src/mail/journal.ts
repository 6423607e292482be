/**
 * The only writer to the store. A unit of operations is committed as a whole, or repaired and tried again in its place: level
 * nodes may vanish under it (ZooKeeper removes empty containers) or be made by another broker, and `put` and
 * `remove` do not care whether the node is there. A unit whose `check` fails is refused: what it speaks for is no
 * longer this broker's.
 */
import { assert } from "../base/assert.ts";
import { noBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { Histogram, timeEnds } from "../base/histogram.ts";
import { journalBytesLow, journalBytesMax, journalRetriesMax } from "../base/limits.ts";
import type { Coordinator, CoordinatorError, WriteOperation, WriteResult } from "../coordinator/coordinator.ts";
import { nameOf, parentPath } from "../coordinator/paths.ts";
import { Levels, levelMode } from "./levels.ts";
import {
  expectedBy,
  isOvertaken,
  type JournalOperation,
  mayWait,
  type Outcome,
  pagesOf,
  toWrite,
} from "./operations.ts";

/** `versions[i]`: what operation i has left behind as data version; -1 where there is none or it is not known. */
export type JournalDone = (versions: readonly number[], zxid: number) => void;
export type JournalRefused = (error: CoordinatorError) => void;

export interface CommitAll {
  readonly guard?: JournalOperation | undefined;
  readonly done?: JournalDone;
  readonly refused?: JournalRefused | undefined;
}

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
  occupied: Set<string> | undefined;
  /** What `check` and `set` expect: as it was when the unit was committed. */
  readonly expected: readonly number[];
  readonly bytes: number;
  readonly after: readonly { readonly index: number; readonly call: (how: Outcome) => void }[] | undefined;
  /** Operations that were left out, by their places. */
  overtaken: Set<number> | undefined;
  readonly submittedAt: number;
  /** Units are taken up in the order of their numbers. */
  readonly number: number;
  /** A check has failed that may be waited for. */
  mustWait: boolean;
  /** Who waits for it and all before it. */
  barriers: (() => void)[] | undefined;
  readonly done: JournalDone;
  readonly refused: JournalRefused | undefined;
  attempts: number;
}

export class Journal {
  readonly #coordinator: Coordinator;
  readonly #levels: Levels;
  /** Units that wait until it is known which level nodes exist. */
  #incoming: Unit[] = [];
  #looking = false;
  readonly #pending = new Set<Unit>();
  /** The youngest unit. Units end in their order, so it is pending as long as any is. */
  #last: Unit | undefined;
  #pendingBytes = 0;
  #relieved: (() => void) | undefined;
  #lastNumber = 0;
  /** Units whose check may hold again, until `unpark`. */
  #parked: Unit[] = [];
  /** Barriers that have come to units that are parked. */
  #waiting: (() => void)[] = [];
  /** Told when the first unit is parked: `unpark` must be called when its check holds again. */
  onPark: () => void = () => {};
  /** Told once when the pending bytes have fallen low after `full` was true. */
  onRelief: () => void = () => {};

  /** From submission to commit. */
  readonly latency = new Histogram(timeEnds);
  readonly #clock: Pick<Clock, "now">;

  constructor(coordinator: Coordinator, clock: Pick<Clock, "now">) {
    this.#coordinator = coordinator;
    this.#clock = clock;
    this.#levels = new Levels(coordinator);
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
    let after: { index: number; call: (how: Outcome) => void }[] | undefined;
    for (const [index, operation] of operations.entries()) {
      bytes += operation.path.length + ("data" in operation ? operation.data.length : 0);
      if (!("after" in operation) || operation.after === undefined) continue;
      after ??= [];
      after.push({ index, call: operation.after });
    }
    const unit: Unit = {
      operations: [...operations],
      levels: [],
      occupied: undefined,
      expected: operations.map(expectedBy),
      bytes,
      after,
      overtaken: undefined,
      submittedAt: this.#clock.now(),
      number: ++this.#lastNumber,
      mustWait: false,
      barriers: undefined,
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

  /**
   * Commits in as many units as are needed, in their order, each with `guard`. `done` is called when all of it is durable;
   * `refused`, once, if a unit was: those before it stay.
   */
  commitAll(operations: readonly JournalOperation[], how: CommitAll): void {
    const pages = pagesOf(operations);
    const { guard, done = () => {}, refused } = how;
    let isRefused = false;
    const refuse: JournalRefused = (error) => {
      if (!isRefused) refused!(error);
      isRefused = true;
    };
    pages.forEach((page, index) => {
      const unit = guard === undefined ? page : [guard, ...page];
      this.commit(unit, index === pages.length - 1 ? done : () => {}, refused && refuse);
    });
    if (pages.length === 0) done([], 0);
  }

  /** Calls back when everything that is pending now has been committed or refused. */
  settled(done: () => void): void {
    if (this.#pending.size === 0) return done();
    const last = this.#last!;
    last.barriers ??= [];
    last.barriers.push(() => {
      if (this.#parked.length === 0) done();
      else this.#waiting.push(() => this.settled(done));
    });
  }

  /** What was parked is submitted again, in its order. */
  unpark(): void {
    const units = this.#parked.sort((a, b) => a.number - b.number);
    this.#parked = [];
    for (const unit of units) {
      unit.mustWait = false;
      unit.attempts = 0;
      this.#last = unit;
      this.#submit(unit);
    }
    for (const wait of this.#waiting.splice(0)) wait();
  }

  #park(unit: Unit): void {
    this.#parked.push(unit);
    if (this.#parked.length === 1) this.onPark();
  }

  /** Submits what came in, in its order, when it is known which levels are missing. */
  #look(): void {
    const units = this.#incoming;
    this.#incoming = [];
    this.#looking = true;
    this.#levels.lookFor(
      units.map(({ operations }) => operations),
      () => {
        this.#looking = false;
        for (const unit of units) {
          unit.levels = this.#levels.above(unit.operations);
          this.#submit(unit);
        }
        if (this.#incoming.length > 0) this.#look();
      },
    );
  }

  #submit(unit: Unit): void {
    if (this.#parked.length > 0 && unit.operations.some(mayWait)) return this.#park(unit);
    let { writes, parts } = this.#write(unit);
    this.#coordinator.write(
      writes,
      (error, results, zxid) => {
        if (error === undefined) return this.#finish(unit, this.#collect(unit, parts, results), zxid);
        // An orderly end: nothing more is committed, nothing more is acknowledged.
        if (error.code === "Closed") return;
        if (unit.mustWait) return this.#park(unit);
        const isRefused = unit.operations.some((operation) => operation !== undefined);
        this.#retire(unit, isRefused ? "refused" : "committed");
        if (isRefused) this.#refuse(unit, error);
        else unit.done(new Array(unit.operations.length).fill(-1), 0);
        this.#lower(unit);
      },
      (error) => {
        const part = parts[error.index]!;
        unit.mustWait = error.code === "NoNode" && part.kind === "own" && mayWait(unit.operations[part.index]);
        if (unit.mustWait) return undefined;
        if (error.code === "Closed" || !this.#repair(unit, part, error)) return undefined;
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
      writes.push({ kind: "create", path, data: noBytes, mode: levelMode(path) });
      parts.push({ kind: "level", path });
    }
    unit.operations.forEach((operation, index) => {
      if (operation === undefined) return;
      if (unit.occupied?.has(operation.path)) {
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
    this.latency.observe(this.#clock.now() - unit.submittedAt);
    unit.done(versions, zxid);
    this.#lower(unit);
  }

  #retire(unit: Unit, how: "committed" | "refused"): void {
    this.#pendingBytes -= unit.bytes;
    this.#pending.delete(unit);
    for (const { index, call } of unit.after ?? []) call(unit.overtaken?.has(index) ? "overtaken" : how);
    if (this.#relieved === undefined || this.#pendingBytes > journalBytesLow) return;
    const relieved = this.#relieved;
    this.#relieved = undefined;
    relieved();
  }

  #lower(unit: Unit): void {
    if (unit.barriers !== undefined) for (const done of unit.barriers) done();
  }

  /** Makes the unit such that it may succeed; false if it must be refused, or nothing is left of it. */
  #repair(unit: Unit, part: Part, error: CoordinatorError): boolean {
    unit.attempts++;
    const tries = journalRetriesMax + 4 * (unit.operations.length + unit.levels.length);
    assert(unit.attempts <= tries, `the store keeps refusing: ${error.message}`);
    const repaired =
      part.kind === "own" ? this.#repairOwn(unit, part.index, error) : this.#repairLevel(unit, part, error);
    if (!repaired) return false;
    unit.operations.forEach((operation, index) => {
      if (!isOvertaken(operation)) return;
      unit.operations[index] = undefined;
      unit.overtaken ??= new Set();
      unit.overtaken.add(index);
    });
    return unit.operations.some((operation) => operation !== undefined);
  }

  #repairLevel(unit: Unit, part: Part & { path: string }, { code, message }: CoordinatorError): boolean {
    if (part.kind === "clear" && code === "NoNode") unit.occupied?.delete(part.path);
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
        unit.occupied ??= new Set();
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

/** The level above a node has vanished, or was never there: it is made in the same commit. */
function addLevelAbove(unit: Unit, path: string): void {
  const level = parentPath(path);
  if (unit.levels.includes(level)) return;
  unit.levels.push(level);
  // Parents first: a path is longer than those above it.
  unit.levels.sort((a, b) => a.length - b.length);
}
