/**
 * Level nodes: what stands above the nodes that the journal creates. Those that are known to exist are remembered;
 * others are looked for from above, for below what is missing everything is. Where somebody watches a part of the tree
 * as a whole nothing is looked for: what was not told of is missing. A store that makes levels itself is left to do so.
 */
import type { Clock } from "../base/clock.ts";
import { journalKnownNodesMax, levelsKnownMs } from "../base/limits.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { isRootLevel, parentPath } from "../coordinator/paths.ts";
import { type JournalOperation, madeBy, mayCreate } from "./operations.ts";

type Operations = readonly (JournalOperation | undefined)[];

export class Levels {
  readonly #coordinator: Coordinator;
  readonly #clock: Pick<Clock, "now">;
  /** When each was last known to have something below it. */
  readonly #known = new Map<string, number>();
  /**
   * The beginning of all paths in that part of the tree whose levels are all known; undefined: there is no such part.
   */
  #watched: string | undefined;
  /** True if there are too many levels to be remembered. */
  #isOverfull = false;

  constructor(coordinator: Coordinator, clock: Pick<Clock, "now">) {
    this.#coordinator = coordinator;
    this.#clock = clock;
  }

  /** Forgets levels that are being removed, or are gone. */
  forget(levels: readonly string[]): void {
    for (const level of levels) this.#known.delete(level);
  }

  /** A level is there, in a part of the tree that is watched. */
  found(level: string): void {
    if (this.#coordinator.makesLevels === true) return;
    this.#makeRoom();
    this.#known.set(level, this.#clock.now());
  }

  /** All levels below a node have been told of, and each change will be. */
  watch(root: string): void {
    if (!this.#isOverfull) this.#watched = `${root}/`;
  }

  /** Forgets everything: it may be wrong by now, and all of it will be told anew. */
  unwatch(): void {
    this.#watched = undefined;
    this.#isOverfull = false;
    this.#known.clear();
  }

  /** Calls back, at once if it can, when it is known which levels above all of these are missing. */
  lookFor(units: readonly Operations[], found: () => void, missing: Set<string> = new Set()): void {
    if (this.#coordinator.makesLevels === true) return found();
    const paths = [...this.#unknown(units, missing)];
    if (paths.length === 0) return found();
    this.#coordinator.read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error !== undefined) return;
        paths.forEach((path, index) => {
          if (typeof results[index] === "object") this.#remember(path);
          else missing.add(path);
        });
        this.lookFor(units, found, missing);
      },
    );
  }

  /** The missing levels above the nodes of a unit, parents first; from now on they count as known. */
  above(operations: Operations): string[] {
    const levels: string[] = [];
    if (this.#coordinator.makesLevels === true) return levels;
    let made: Set<string> | undefined;
    for (const operation of operations) {
      if (operation === undefined || !mayCreate(operation)) continue;
      const parent = parentPath(operation.path);
      if (!this.#isKnown(parent)) {
        made ??= madeBy(operations);
        for (const level of this.#unknownAbove(operation.path, made).reverse()) {
          levels.push(level);
          this.#remember(level);
        }
      }
      this.#use(parent);
    }
    return levels;
  }

  /**
   * The paths to ask for next: of each node the topmost level that is not known; and at first the lowest, which mostly
   * tells.
   */
  #unknown(units: readonly Operations[], missing: ReadonlySet<string>): Set<string> {
    const unknown = new Set<string>();
    for (const operations of units) {
      let made: Set<string> | undefined;
      for (const operation of operations) {
        if (operation === undefined || !mayCreate(operation)) continue;
        const parent = parentPath(operation.path);
        // What somebody watches needs no looking for.
        if (this.#isTold(parent) || this.#isKnown(parent)) continue;
        made ??= madeBy(operations);
        const first = this.#unknownAbove(operation.path, made).at(-1);
        if (first === undefined || missing.has(first)) continue;
        unknown.add(first);
        if (this.#known.has(parent) && !missing.has(parent)) unknown.add(parent);
      }
    }
    return unknown;
  }

  /**
   * The levels above a node that are not known and that its unit does not make, from below. The walk ends at the
   * first one that is known, for above what is there everything is: of many long paths that have most of their levels
   * in common few are looked at.
   */
  #unknownAbove(path: string, made: ReadonlySet<string>): string[] {
    const levels: string[] = [];
    for (let level = parentPath(path); level !== "/" && !this.#isKnown(level); level = parentPath(level))
      if (!made.has(level)) levels.push(level);
    return levels;
  }

  /**
   * Where others write too, a level that nothing was put below for a while may have been removed by them. One that was
   * there a moment ago still is: an empty level stays longer than that.
   */
  #isKnown(level: string): boolean {
    const at = this.#known.get(level);
    if (at === undefined) return false;
    if (isRootLevel(level) || this.#isTold(level)) return true;
    return this.#clock.now() - at < levelsKnownMs;
  }

  /** True if whatever happens to a level is told. */
  #isTold(level: string): boolean {
    return this.#watched !== undefined && level.startsWith(this.#watched);
  }

  #use(level: string): void {
    if (this.#known.has(level)) this.#touch(level);
  }

  #makeRoom(): void {
    if (this.#known.size <= journalKnownNodesMax) return;
    this.#known.clear();
    this.#isOverfull = true;
    this.#watched = undefined;
  }

  #remember(level: string): void {
    this.#makeRoom();
    this.#touch(level);
  }

  /** A level is there now, and so is what stands above it; how far up that is new is seen on the way. */
  #touch(level: string): void {
    const now = this.#clock.now();
    for (let at = level; ; at = parentPath(at)) {
      const before = this.#known.get(at);
      if (before !== undefined && now - before < levelsKnownMs / 4) return;
      this.#known.set(at, now);
      if (isRootLevel(at)) return;
    }
  }
}
