/**
 * Removes levels of the tree that have become empty, a second later, in bounded commits. The embedded store does that
 * itself. ZooKeeper would remove containers only, after a minute or more, one commit for each. Levels of retained
 * messages are no containers: a container that is given a message would vanish with the last node below it. Until a
 * level is gone, whoever has paid for what stood below it pays for it.
 */

import type { Branch } from "../../bank/branch.ts";
import { emptyLevelsMs, emptyLevelsSweptMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ReadResult, WriteOperation } from "../../coordinator/coordinator.ts";
import { EmptyLevels } from "../../coordinator/empty-levels.ts";
import { currentStore } from "../../coordinator/mirror.ts";
import { isContainerLevel, isRetainedLevel, parentPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { Journal } from "../../mail/journal.ts";
import type { Runtime } from "./runtime.ts";

/**
 * The sweep of empty levels. It is told of nodes that were removed, looks at their parents, and removes those without
 * children.
 */
export class LevelSweep {
  readonly #runtime: Runtime;
  readonly #journal: Journal;
  readonly #account: Branch;
  readonly #levels = new EmptyLevels();
  readonly #timer = new Timer(() => this.#look());
  #isSweeping = false;
  /** Called when no level is left to look at; undefined: nobody waits for that. */
  #finished: (() => void) | undefined;

  constructor(runtime: Runtime, { journal, account }: LevelSweepParts) {
    this.#runtime = runtime;
    this.#journal = journal;
    this.#account = account;
  }

  /** Notes that a node was removed: it is no longer paid for, and the level above it may be empty. */
  removed(path: string): void {
    const level = parentPath(path);
    if (!this.#isSwept(level)) this.#account.freed(path);
    else {
      this.#account.freedBelow(path, level);
      this.note(level);
    }
  }

  /**
   * Notes that a level may be empty. Does nothing for nodes that are no levels, or if the store removes levels itself.
   */
  note(path: string): void {
    const { timers, clock } = this.#runtime;
    if (!this.#isSwept(path)) return;
    this.#levels.note(path);
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + emptyLevelsMs);
  }

  /** Returns false for nodes that are no levels, or if the store removes levels itself. */
  #isSwept(path: string): boolean {
    return this.#runtime.coordinator.makesLevels !== true && (isRetainedLevel(path) || isContainerLevel(path));
  }

  /**
   * Removes what is empty without delay, and calls back when no level is left to look at, or the store cannot be asked:
   * the broker is about to end, and has the levels to itself that it has emptied.
   */
  finish(done: () => void): void {
    this.#finished = done;
    if (!this.#isSweeping) this.#rest();
  }

  /** No level is due. */
  #rest(): void {
    this.#isSweeping = false;
    if (this.#finished === undefined) return;
    if (this.#levels.isEmpty) return this.#finished();
    this.#levels.look();
    this.#sweep();
  }

  #look(): void {
    const { timers, clock } = this.#runtime;
    this.#levels.look();
    if (this.#levels.isDue) timers.set(this.#timer, clock.now() + emptyLevelsMs);
    if (!this.#isSweeping) this.#sweep();
  }

  /** Reads a page of levels that may be empty and removes those that are; then goes on with the next page. */
  #sweep(): void {
    const { coordinator } = this.#runtime;
    const paths = [...this.#levels.take(emptyLevelsSweptMax)];
    this.#isSweeping = paths.length > 0;
    if (paths.length === 0) return this.#rest();
    // A server that is behind may show a level that others have removed since, and that is a message by now: with the
    // same version, for both are new.
    currentStore(coordinator).read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error !== undefined) {
          this.#isSweeping = false;
          for (const path of paths) this.note(path);
          return this.#finished?.();
        }
        const removals = paths.flatMap((path, index) => removalOf(path, results[index]));
        const isEmpty = new Set(removals.map(({ path }) => path));
        paths.forEach((path, index) => {
          // ZooKeeper has removed it just before, which looks at no level above: one after the other would stay a
          // minute.
          if (results[index] === "NoNode") this.#gone(path);
          else if (!isEmpty.has(path)) this.#isUsed(path);
        });
        this.#remove(removals);
      },
    );
  }

  /**
   * Removes levels, each only in the version that was read: a level that was written or got children meanwhile stays.
   */
  #remove(removals: readonly WriteOperation[]): void {
    const { coordinator } = this.#runtime;
    if (removals.length === 0) return this.#sweep();
    this.#journal.levels.forget(removals.map(({ path }) => path));
    let left = removals;
    coordinator.write(
      left,
      (error) => {
        if (error === undefined) for (const { path } of left) this.#emptied(path);
        this.#sweep();
      },
      (error) => {
        if (error?.code === "Closed") return undefined;
        // What was read before contact was lost says nothing of what is there now: it is read again.
        if (error === undefined) for (const { path } of left) this.note(path);
        else if (error.code === "NoNode") this.#gone(error.path);
        else this.#isUsed(left[error.index]!.path);
        left = error === undefined ? [] : left.toSpliced(error.index, 1);
        return error === undefined || left.length > 0 ? left : undefined;
      },
    );
  }

  /** An empty level was removed: has the one above it looked at without delay, whose last child it was, perhaps. */
  #emptied(path: string): void {
    const above = this.#passUp(path);
    if (above !== undefined) this.#levels.hurry(above);
  }

  /** A level is in use again: what stands there pays for it, unless that has gone since it was read. */
  #isUsed(path: string): void {
    if (!this.#levels.isNoted(path)) this.#account.swept(path);
  }

  /** Another one has removed a level: has the one above it looked at. */
  #gone(path: string): void {
    const above = this.#passUp(path);
    if (above !== undefined) this.note(above);
  }

  /** Has the level above one that is gone paid for, and returns it; undefined: that is none of those that are swept. */
  #passUp(path: string): string | undefined {
    const parent = parentPath(path);
    const above = this.#isSwept(parent) ? parent : undefined;
    this.#account.swept(path, above);
    return above;
  }
}

export interface LevelSweepParts {
  readonly journal: Journal;
  /** The branch whose users pay for levels until they are gone. */
  readonly account: Branch;
}

/**
 * Returns the deletion of a level that is empty and has no children; nothing for any other node, or for one that is
 * gone.
 */
function removalOf(path: string, node: ReadResult | undefined): WriteOperation[] {
  if (!hasData(node)) return [];
  const isEmpty = node.data.length === 0 && node.stat.childCount === 0;
  return isEmpty ? [{ kind: "delete", path, version: node.stat.version }] : [];
}
