/**
 * Levels of the tree that nothing stands below any more are removed, a second after that, in bounded commits. The
 * embedded store does that itself; ZooKeeper would take a minute and more, and one commit for each, and only for
 * containers. Levels of retained messages are none: a container that is given a message would vanish with the last one
 * below it.
 */
import { emptyLevelsMs, emptyLevelsSweptMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ReadResult, WriteOperation } from "../../coordinator/coordinator.ts";
import { EmptyLevels } from "../../coordinator/empty-levels.ts";
import { isContainerLevel, isRetainedLevel, parentPath } from "../../coordinator/paths.ts";
import type { Journal } from "../../mail/journal.ts";
import type { Runtime } from "./runtime.ts";

export class LevelSweep {
  readonly #runtime: Runtime;
  readonly #journal: Journal;
  readonly #levels = new EmptyLevels();
  readonly #timer = new Timer(() => this.#look());
  #isSweeping = false;

  constructor(runtime: Runtime, journal: Journal) {
    this.#runtime = runtime;
    this.#journal = journal;
  }

  /** A node is gone: the one above it may have lost its last child. */
  removed(path: string): void {
    this.note(parentPath(path));
  }

  /** A node may have lost the last one below it. */
  note(path: string): void {
    const { coordinator, timers, clock } = this.#runtime;
    if (coordinator.makesLevels === true || !(isRetainedLevel(path) || isContainerLevel(path))) return;
    this.#levels.note(path);
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + emptyLevelsMs);
  }

  #look(): void {
    const { timers, clock } = this.#runtime;
    this.#levels.look();
    if (this.#levels.isDue) timers.set(this.#timer, clock.now() + emptyLevelsMs);
    if (!this.#isSweeping) this.#sweep();
  }

  /** One page after the other: the next is read when the one before is removed. */
  #sweep(): void {
    const { coordinator } = this.#runtime;
    const paths = [...this.#levels.take(emptyLevelsSweptMax)];
    this.#isSweeping = paths.length > 0;
    if (paths.length === 0) return;
    coordinator.read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error === undefined) this.#remove(paths.flatMap((path, index) => removalOf(path, results[index])));
        else this.#isSweeping = false;
      },
    );
  }

  /** Each only as it was seen: what has been put there or below it meanwhile stays. */
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
        // What was seen before contact was lost says nothing of what is there now.
        left = error === undefined ? [] : left.toSpliced(error.index, 1);
        return error === undefined || left.length > 0 ? left : undefined;
      },
    );
  }

  /** Its last child was an empty level, perhaps: it need not wait. */
  #emptied(path: string): void {
    if (isRetainedLevel(path) || isContainerLevel(path)) this.#levels.hurry(path);
  }
}

function removalOf(path: string, node: ReadResult | undefined): WriteOperation[] {
  if (typeof node !== "object" || !("data" in node)) return [];
  const isEmpty = node.data.length === 0 && node.stat.childCount === 0;
  return isEmpty ? [{ kind: "delete", path, version: node.stat.version }] : [];
}
