/**
 * Level nodes: what stands above the nodes that the journal creates. Those that are known to exist are remembered; others
 * are looked for from above, for below what is missing everything is.
 */
import { journalKnownNodesMax } from "../base/limits.ts";
import type { Coordinator, CreateMode } from "../coordinator/coordinator.ts";
import { isMailbox, parentPath, retainedPath } from "../coordinator/paths.ts";
import { type JournalOperation, madeBy, mayCreate } from "./operations.ts";

type Operations = readonly (JournalOperation | undefined)[];

export class Levels {
  readonly #coordinator: Coordinator;
  readonly #known = new Set<string>();

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
    coordinator.onSwept?.((paths) => {
      for (const path of paths) this.#known.delete(path);
    });
  }

  /** Calls back, at once if it can, when it is known which levels above all of these are missing. */
  lookFor(units: readonly Operations[], found: () => void, missing: Set<string> = new Set()): void {
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
    let made: Set<string> | undefined;
    for (const operation of operations) {
      if (operation === undefined || !mayCreate(operation) || this.#known.has(parentPath(operation.path))) continue;
      made ??= madeBy(operations);
      for (const level of levelsAbove(operation.path)) {
        if (this.#known.has(level) || made.has(level)) continue;
        levels.push(level);
        this.#remember(level);
      }
    }
    return levels;
  }

  #unknown(units: readonly Operations[], missing: ReadonlySet<string>): Set<string> {
    const unknown = new Set<string>();
    for (const operations of units) {
      let made: Set<string> | undefined;
      for (const operation of operations) {
        if (operation === undefined || !mayCreate(operation) || this.#known.has(parentPath(operation.path))) continue;
        made ??= madeBy(operations);
        const first = levelsAbove(operation.path).find((level) => !this.#known.has(level) && !made!.has(level));
        if (first !== undefined && !missing.has(first)) unknown.add(first);
      }
    }
    return unknown;
  }

  #remember(level: string): void {
    if (this.#known.size > journalKnownNodesMax) this.#known.clear();
    this.#known.add(level);
  }
}

/** All nodes above a path, from the root's children down. */
function levelsAbove(path: string): string[] {
  const levels: string[] = [];
  for (let slash = path.indexOf("/", 1); slash !== -1; slash = path.indexOf("/", slash + 1))
    levels.push(path.slice(0, slash));
  return levels;
}

/**
 * A level of depth 1 is the tree's own. A level of retained messages may be given one: as a container it would vanish
 * with what is below it. A mailbox stays as long as its session: a new one would number its slips from 0 again.
 */
export function levelMode(path: string): CreateMode {
  const isContainer = path.lastIndexOf("/") > 0 && !path.startsWith(`${retainedPath}/`) && !isMailbox(path);
  return isContainer ? "container" : "persistent";
}
