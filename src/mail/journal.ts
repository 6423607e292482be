/**
 * The only writer to the store. A unit of operations is committed as a whole, or repaired and tried again in its place:
 * level nodes may vanish under it (ZooKeeper removes empty containers) or be made by another broker, and `put` and
 * `remove` do not care whether the node is there. A unit whose `check` fails is refused: what it speaks for is no
 * longer this broker's.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { Histogram, timeEnds } from "../base/histogram.ts";
import { journalBytesLow, journalBytesMax, journalUnitsMax, journalUnitsMin } from "../base/limits.ts";
import { Ring } from "../base/ring.ts";
import type { Coordinator, CoordinatorError, WriteResult } from "../coordinator/coordinator.ts";
import { nameOf } from "../coordinator/paths.ts";
import { HeldPaths } from "./held-paths.ts";
import { Levels } from "./levels.ts";
import {
  expectedBy,
  isPiece,
  type JournalOperation,
  mayWait,
  menderOf,
  type Outcome,
  occupiedIn,
  outdate,
  pagesOf,
} from "./operations.ts";
import { isGivenUp, isInTheWay, leaveOut, outcomeOf, type Part, repair, type Unit, writesOf } from "./unit.ts";

/** `versions[i]`: what operation i has left behind as data version; -1 where there is none or it is not known. */
export type JournalDone = (versions: readonly number[], zxid: number) => void;
export type JournalRefused = (error: CoordinatorError) => void;

/** The events that the journal tells others of. */
export interface JournalSignals {
  /** A check has failed that somebody else makes hold again: then `unpark` must be called. */
  readonly parked?: () => void;
  /** A unit is given up, since what stands in the tree, or the store's limit, is in its way. */
  readonly obstructed?: (error: CoordinatorError) => void;
  /** Little is pending again after `full` was true; told once. */
  readonly relieved?: () => void;
  /** A unit has removed a node. */
  readonly removed?: (path: string) => void;
}

export interface CommitAll {
  /** Checks that must hold for each unit. */
  readonly guard?: JournalOperation | readonly JournalOperation[] | undefined;
  readonly done?: JournalDone;
  readonly refused?: JournalRefused | undefined;
}

export class Journal {
  readonly #coordinator: Coordinator;
  readonly levels: Levels;
  /** Units that wait until it is known which level nodes exist. */
  #incoming: Unit[] = [];
  #looking = false;
  /** The last unit that came in. */
  #lastCame: Unit | undefined;
  /** Units under way, in the order of their numbers. They end in that order, except where some are parked. */
  readonly #pending = new Set<Unit>();
  /** Callbacks that wait for all units up to a number. */
  readonly #barriers = new Ring<{ readonly upTo: number; readonly done: () => void }>();
  #pendingBytes = 0;
  /** `full` was true: relief is told. */
  #owesRelief = false;
  #lastNumber = 0;
  /** Counts leases. */
  #lease = 0;
  /** Units whose check may hold again, and what would overtake them, until `unpark`. */
  #parked: Unit[] = [];
  /**
   * A unit under way whose check may have to be mended, or is being. What came later and may wait is parked meanwhile:
   * the store would take it before.
   */
  #mending: Unit | undefined;
  /** The paths that parked and mended units count on. */
  readonly #heldPaths = new HeldPaths();
  /** `parked` was told, and `unpark` has not been called. */
  #isParking = false;
  /** How often a unit was refused and tried anew: each time what came after it waited. */
  repairs = 0;
  /** Times from submission to commit. */
  readonly latency = new Histogram(timeEnds);
  readonly #clock: Pick<Clock, "now">;
  readonly #signals: JournalSignals;

  constructor(coordinator: Coordinator, clock: Pick<Clock, "now">, signals: JournalSignals = {}) {
    this.#coordinator = coordinator;
    this.#clock = clock;
    this.#signals = signals;
    this.levels = new Levels(coordinator, clock);
  }

  /** True while more is pending than a healthy store would leave: publishers should not be read. */
  get full(): boolean {
    if (this.#pendingBytes < journalBytesMax && this.#pending.size < journalUnitsMax) return false;
    this.#owesRelief = true;
    return true;
  }

  get pendingUnits(): number {
    return this.#pending.size;
  }

  /** The number of the unit that has been pending for longest; undefined: none is, or some wait for the bank. */
  get oldestPending(): number | undefined {
    if (this.#parked.length > 0) return undefined;
    const [oldest] = this.#pending;
    return oldest?.number;
  }

  /** Bytes that one unit may hold. */
  get unitBytesMax(): number {
    return this.#coordinator.submissionBytesMax;
  }

  /** Commits; `done` is called when all of it is durable, and not before. `refused` instead, if it was. */
  commit(operations: readonly JournalOperation[], done: JournalDone = () => {}, refused?: JournalRefused): void {
    if (operations.length === 0) return done([], 0);
    let bytes = 0;
    let after: { index: number; call: (how: Outcome) => void }[] | undefined;
    // By number: for each packet of a client that comes or goes an iterator costs as much as all the rest of this.
    for (let index = 0; index < operations.length; index++) {
      const operation = operations[index]!;
      bytes += operation.path.length + (isPiece(operation) || !("data" in operation) ? 0 : operation.data.length);
      if (!("after" in operation) || operation.after === undefined) continue;
      after ??= [];
      after.push({ index, call: operation.after });
    }
    const unit: Unit = {
      operations: [...operations],
      levels: [],
      occupied: occupiedIn(operations),
      expected: operations.map(expectedBy),
      lease: this.#lease,
      bytes,
      after,
      overtaken: undefined,
      emptied: undefined,
      skips: undefined,
      submittedAt: this.#clock.now(),
      number: ++this.#lastNumber,
      waitsFor: undefined,
      submitted: undefined,
      done,
      refused,
      attempts: 0,
    };
    this.#pendingBytes += bytes;
    this.#pending.add(unit);
    this.#lastCame = unit;
    this.#incoming.push(unit);
    if (!this.#looking) this.#look();
  }

  /**
   * Commits in as many units as are needed, in their order, each with `guard`. `done` is called when all of it is
   * durable; `refused`, once, if a unit was: those before it stay.
   */
  commitAll(operations: readonly JournalOperation[], how: CommitAll): void {
    const pages = pagesOf(operations);
    const { done = () => {}, refused } = how;
    const guards = [how.guard ?? []].flat();
    let isRefused = false;
    const refuse: JournalRefused = (error) => {
      if (!isRefused) refused!(error);
      isRefused = true;
    };
    pages.forEach((page, index) => {
      this.commit([...guards, ...page], index === pages.length - 1 ? done : () => {}, refused && refuse);
    });
    if (pages.length === 0) done([], 0);
  }

  /**
   * Calls back, at once if it can, when all that was handed to the journal has been handed to the store: what the store
   * is asked then, it answers as that has left it.
   */
  whenSubmitted(go: () => void): void {
    if (!this.#looking) return go();
    this.#lastCame!.submitted ??= [];
    this.#lastCame!.submitted.push(go);
  }

  /** Calls back when everything that is pending now has been committed or refused. */
  drained(done: () => void): void {
    if (this.#pending.size === 0) return done();
    this.#barriers.push({ upTo: this.#lastNumber, done });
  }

  /** The lease is over: what was committed under it, and is not in the store, is refused where it goes by it. */
  leaseLost(): void {
    this.#lease++;
  }

  /** Returns whether anything of a unit does not hold any more. */
  #outdate(unit: Unit): boolean {
    if (unit.lease === this.#lease) return false;
    unit.lease = this.#lease;
    return outdate(unit.operations, unit.expected);
  }

  /** Submits the parked units again, in their order. */
  unpark(): void {
    this.#isParking = false;
    if (this.#mending !== undefined) return;
    const units = this.#parked.sort((a, b) => a.number - b.number);
    this.#parked = [];
    this.#heldPaths.clear();
    for (const unit of units) {
      unit.waitsFor = undefined;
      unit.attempts = 0;
      // What needs no credits was not held up: a message that was cleared meanwhile must not come back.
      leaveOut(unit);
      this.#submit(unit);
    }
  }

  #hold(unit: Unit): void {
    this.#parked.push(unit);
    this.#heldPaths.add(unit.operations);
  }

  /** A check has failed that may hold again. */
  #wait(unit: Unit): void {
    this.#hold(unit);
    const mend = menderOf(unit.waitsFor);
    if (mend !== undefined) {
      this.#mending = unit;
      return mend((error) => this.#mended(error === undefined ? undefined : { unit, error }));
    }
    if (this.#isParking) return;
    this.#isParking = true;
    this.#signals.parked?.();
  }

  /** `failed`: it cannot be, so the unit is refused. */
  #mended(failed?: { readonly unit: Unit; readonly error: CoordinatorError }): void {
    this.#mending = undefined;
    if (failed !== undefined) {
      this.#parked = this.#parked.filter((unit) => unit !== failed.unit);
      this.#retire(failed.unit, "refused");
      this.#refuse(failed.unit, failed.error);
      this.#lower();
    }
    // It is parked for another check as well.
    if (!this.#isParking) this.unpark();
  }

  /** Submits what came in, in its order, when it is known which levels are missing. */
  #look(): void {
    const units = this.#incoming;
    this.#incoming = [];
    this.#looking = true;
    let hasWaited = false;
    this.levels.lookFor(
      units.map(({ operations }) => operations),
      () => {
        this.#looking = false;
        // It may have been without contact: those that came meanwhile have waited, too.
        if (hasWaited) for (const unit of [...units, ...this.#incoming]) leaveOut(unit);
        for (const unit of units) {
          unit.levels = this.levels.above(unit.operations);
          this.#submit(unit);
          for (const go of unit.submitted ?? []) go();
        }
        if (this.#incoming.length > 0) this.#look();
      },
    );
    hasWaited = true;
  }

  #submit(unit: Unit): void {
    const isHeld = this.#parked.length > 0 || this.#mending !== undefined;
    if (isHeld && (unit.operations.some(mayWait) || this.#heldPaths.concerns(unit.operations))) {
      this.#hold(unit);
      return;
    }
    if (unit.operations.some(menderOf)) {
      this.#mending = unit;
      this.#heldPaths.add(unit.operations);
    }
    this.#outdate(unit);
    const withLevels = this.#coordinator.makesLevels === true;
    let { writes, parts } = writesOf(unit, withLevels);
    this.#coordinator.write(
      writes,
      (error, results, zxid) => {
        const isMended = this.#mending === unit;
        if (isMended) this.#mending = undefined;
        if (error === undefined) {
          const versions = this.#collect(unit, parts, results);
          this.#finish(unit, { versions, zxid, how: results === undefined ? "doubted" : "committed" });
          return isMended ? this.#mended() : undefined;
        }
        // An orderly end: nothing more is committed, nothing more is acknowledged.
        if (error.code === "Closed") return;
        if (unit.waitsFor !== undefined) return this.#wait(unit);
        const isRefused = unit.operations.some((operation) => operation !== undefined);
        this.#retire(unit, isRefused ? "refused" : "doubted");
        if (isRefused) this.#refuse(unit, error);
        else unit.done(new Array(unit.operations.length).fill(-1), 0);
        this.#lower();
        if (isMended) this.#mended();
      },
      (error) => {
        if (error === undefined) {
          const before = unit.overtaken?.size;
          leaveOut(unit);
          if (!this.#outdate(unit) && unit.overtaken?.size === before) return undefined;
          ({ writes, parts } = writesOf(unit, withLevels));
          return writes;
        }
        const part = parts[error.index]!;
        const operation = part.kind === "own" ? unit.operations[part.index] : undefined;
        unit.waitsFor = error.code === "NoNode" && mayWait(operation) ? operation : undefined;
        if (unit.waitsFor !== undefined) return undefined;
        if (error.code === "Closed") return undefined;
        this.repairs++;
        if (!repair(unit, part, error)) return undefined;
        ({ writes, parts } = writesOf(unit, withLevels));
        return writes;
      },
    );
  }

  #refuse(unit: Unit, error: CoordinatorError): void {
    if (isInTheWay(error.code) || isGivenUp(unit)) this.#signals.obstructed?.(error);
    else assert(unit.refused !== undefined, `the store refused a unit: ${error.message}`);
    unit.refused?.(error);
  }

  #collect(unit: Unit, parts: readonly Part[], results: readonly WriteResult[] | undefined): number[] {
    const versions: number[] = new Array(unit.operations.length).fill(-1);
    parts.forEach((part, at) => {
      if (part.kind !== "own") return;
      const result = results?.[at];
      versions[part.index] = result?.version ?? -1;
      // Left out by a repair whose answer was lost: there was nothing to do.
      const operation = unit.operations[part.index];
      if (operation?.kind === "create") operation.named?.(result && nameOf(result.path));
    });
    return versions;
  }

  #finish(unit: Unit, { versions, zxid, how }: { versions: readonly number[]; zxid: number; how: Outcome }): void {
    // First what is gone: the unit may have made a node of the same name, and nobody may free that.
    for (const operation of unit.operations) {
      if (operation?.kind !== "remove" && operation?.kind !== "take") continue;
      this.levels.forget([operation.path]);
      this.#signals.removed?.(operation.path);
    }
    this.#retire(unit, how);
    this.latency.observe(this.#clock.now() - unit.submittedAt);
    unit.done(versions, zxid);
    this.#lower();
  }

  #retire(unit: Unit, how: Outcome): void {
    this.#pendingBytes -= unit.bytes;
    this.#pending.delete(unit);
    for (const { index, call } of unit.after ?? []) call(outcomeOf(unit, index, how));
    if (!this.#owesRelief) return;
    if (this.#pendingBytes > journalBytesLow || this.#pending.size > journalUnitsMin) return;
    this.#owesRelief = false;
    this.#signals.relieved?.();
  }

  /** Tells those who have waited for nothing but what has ended now. */
  #lower(): void {
    for (let barrier = this.#barriers.peek(); barrier !== undefined; barrier = this.#barriers.peek()) {
      const [oldest] = this.#pending;
      if (oldest !== undefined && oldest.number <= barrier.upTo) return;
      this.#barriers.shift();
      barrier.done();
    }
  }
}
