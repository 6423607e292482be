/**
 * Removes levels of the tree that have become empty, a second later, in bounded commits. The embedded store does that
 * itself. ZooKeeper would remove containers only, after a minute or more, one commit for each. Levels of retained
 * messages are no containers: a container that is given a message would vanish with the last node below it.
 */

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
  readonly #levels = new EmptyLevels();
  readonly #timer = new Timer(() => this.#look());
  #isSweeping = false;
  /** Called when no level is left to look at; undefined: nobody waits for that. */
  #finished: (() => void) | undefined;

  constructor(runtime: Runtime, journal: Journal) {
    this.#runtime = runtime;
    this.#journal = journal;
  }

  /** Notes that a node was removed, so that the level above it may be empty. */
  removed(path: string): void {
    this.note(parentPath(path));
  }

  /**
   * Notes that a level may be empty. Does nothing for nodes that are no levels, or if the store removes levels itself.
   */
  note(path: string): void {
    const { coordinator, timers, clock } = this.#runtime;
    if (coordinator.makesLevels === true || !(isRetainedLevel(path) || isContainerLevel(path))) return;
    this.#levels.note(path);
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + emptyLevelsMs);
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
          return this.#finished?.();
        }
        // ZooKeeper has removed it just before, which looks at no level above: one after the other would stay a minute.
        paths.forEach((path, index) => {
          if (results[index] === "NoNode") this.removed(path);
        });
        this.#remove(paths.flatMap((path, index) => removalOf(path, results[index])));
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
        if (error === undefined) for (const { path } of left) this.#emptied(parentPath(path));
        this.#sweep();
      },
      (error) => {
        if (error?.code === "Closed") return undefined;
        // What was read before contact was lost says nothing of what is there now: it is read again.
        if (error === undefined) for (const { path } of left) this.note(path);
        else if (error.code === "NoNode") this.removed(error.path);
        left = error === undefined ? [] : left.toSpliced(error.index, 1);
        return error === undefined || left.length > 0 ? left : undefined;
      },
    );
  }

  /** Has a level looked at without delay whose last child, perhaps, was an empty level that has just been removed. */
  #emptied(path: string): void {
    if (isRetainedLevel(path) || isContainerLevel(path)) this.#levels.hurry(path);
  }
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
