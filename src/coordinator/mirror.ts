/**
 * A part of the tree, mirrored in memory: read once, then kept up by its watch. After lost contact it is read anew,
 * and what has vanished meanwhile is told as gone.
 *
 * Answers, events and outcomes of writes come in the order in which the store has seen them, so an answer is never
 * older than what was told before it. But it may be older than what this broker has begun to write since it asked.
 * Invariant: whether a node is of interest is asked when an answer is applied, and not only when it is asked for.
 */

import { ignoreTheWorld, OperatingError } from "../base/errors.ts";
import { mirrorPageMax } from "../base/limits.ts";
import type { Coordinator, ReadOperation, ReadResult, WatchEvent } from "./coordinator.ts";
import { childrenOf, hasData } from "./read-results.ts";
import { TreeWalk, type WalkedNode } from "./tree-walk.ts";

/** The part of a coordinator that is enough to read a tree. */
export interface Store extends Pick<Coordinator, "read"> {
  /**
   * As the function `walk` below, at once, as one commit has left it; only where that is quicker than to ask for one
   * node after the other. Throws `OperatingError`.
   */
  readonly walk?: (root: string, visit: Visit) => void;
}

/** Called with a node of a walk. */
export type Visit = (path: string, node: WalkedNode) => void;

/**
 * Returns the store such that no answer is older than the question. A ZooKeeper server may be behind, and show a node
 * that has been removed since, where there is another one of the same version.
 */
export function currentStore(coordinator: Pick<Coordinator, "read" | "sync">): Store {
  return { read: (operations, done) => coordinator.sync(() => coordinator.read(operations, done)) };
}

export type MirrorNode = WalkedNode;

export interface MirrorOptions {
  readonly root: string;
  /** False for nodes whose coming and going is of no interest, or not now: what this broker is writing is newer. */
  readonly concerns: (path: string) => boolean;
  /** True if data is needed; otherwise `apply` is called with a node as soon as it is known to exist. */
  readonly needsData: (path: string) => boolean;
  /** Told of events that were of no interest; `exists`: what the node is since. */
  readonly leftAside?: (path: string, exists: boolean) => void;
  /** Told of every node below the root while all is read. */
  readonly visited?: (path: string) => void;
  /** Undefined: the node is gone. */
  readonly apply: (path: string, node: MirrorNode | "exists" | undefined) => void;
  /** False: contact was lost, and something may be missing. True: everything up to what was last applied is there. */
  readonly completed?: (isComplete: boolean) => void;
}

export class Mirror {
  readonly #coordinator: Coordinator;
  readonly #options: MirrorOptions;
  readonly #known = new Set<string>();
  /** Nodes whose data must be read. */
  #dirty = new Set<string>();
  #scheduled = false;
  /**
   * While everything is read anew: what was known and has not been seen since. What is made meanwhile is not missed.
   */
  #unseen = new Set<string>();
  /** Counts how often everything was read: only the last one makes it complete. */
  #readings = 0;
  #isComplete = false;
  /** Callbacks that wait until everything has been read anew. */
  #waiting: (() => void)[] = [];
  #unwatch: () => void = () => {};

  constructor(coordinator: Coordinator, options: MirrorOptions) {
    this.#coordinator = coordinator;
    this.#options = options;
  }

  /** Resolves when everything has been read once. Rejects with `OperatingError`. */
  async start(): Promise<void> {
    this.#unwatch = this.#coordinator.watch(this.#options.root, (event) => this.#changed(event));
    await this.#read();
  }

  /** Ends: nothing is applied any more. */
  stop(): void {
    this.#readings++;
    this.#unwatch();
    this.#dirty.clear();
  }

  /** A node that this broker writes itself, or has written: it is not told of, but must be missed when it is gone. */
  note(path: string): void {
    this.#known.add(path);
    this.#unseen.delete(path);
  }

  /** A node that this broker has removed itself. */
  forget(path: string): void {
    this.#known.delete(path);
  }

  /** Reads a node anew: what was told of it meanwhile may have been left aside. */
  refresh(path: string): void {
    this.#coordinator.read([{ kind: "get", path }], (error, [result]) => {
      if (error !== undefined || !this.#options.concerns(path)) return;
      if (hasData(result)) return this.#found(path, this.#options.needsData(path) ? result : "exists");
      this.#known.delete(path);
      this.#options.apply(path, undefined);
    });
  }

  /**
   * Calls back when everything that was told before has been applied; after lost contact not before all has been read
   * anew, for what was missed may be what is waited for.
   */
  caughtUp(done: () => void): void {
    if (!this.#isComplete) this.#waiting.push(done);
    else this.#caughtUp(() => (this.#isComplete ? done() : this.#waiting.push(done)));
  }

  #caughtUp(done: () => void): void {
    this.#fetch();
    this.#coordinator.read([], () => done());
  }

  #changed({ type, path }: WatchEvent): void {
    if (type === "missed") {
      this.#isComplete = false;
      this.#options.completed?.(false);
      void this.#read().catch(ignoreTheWorld);
      return;
    }
    if (path === this.#options.root) return;
    if (!this.#options.concerns(path)) return this.#options.leftAside?.(path, type !== "deleted");
    if (type === "deleted") {
      this.#dirty.delete(path);
      this.#known.delete(path);
      this.#options.apply(path, undefined);
    } else if (!this.#options.needsData(path)) {
      this.#found(path, "exists");
    } else {
      this.#dirty.add(path);
      if (this.#scheduled) return;
      this.#scheduled = true;
      queueMicrotask(() => this.#fetch());
    }
  }

  #fetch(): void {
    this.#scheduled = false;
    if (this.#dirty.size === 0) return;
    const dirty = [...this.#dirty];
    this.#dirty = new Set();
    // What is applied at once must not be too much.
    for (let at = 0; at < dirty.length; at += mirrorPageMax) this.#fetchPage(dirty.slice(at, at + mirrorPageMax));
  }

  #fetchPage(paths: readonly string[]): void {
    this.#coordinator.read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error !== undefined) return;
        paths.forEach((path, index) => {
          const result = results[index];
          // Gone again: its event has come, or will.
          if (hasData(result)) this.#found(path, result);
        });
      },
    );
  }

  #found(path: string, node: MirrorNode | "exists"): void {
    if (!this.#options.concerns(path)) return;
    this.note(path);
    this.#options.apply(path, node);
  }

  /** Reads everything, and forgets what is not there any more. */
  async #read(): Promise<void> {
    const reading = ++this.#readings;
    const unseen = new Set(this.#known);
    this.#unseen = unseen;
    await walk(this.#coordinator, this.#options.root, (path, node) => {
      unseen.delete(path);
      if (reading !== this.#readings) return;
      this.#options.visited?.(path);
      this.#found(path, this.#options.needsData(path) ? node : "exists");
    });
    if (reading !== this.#readings) return;
    for (const path of unseen) {
      if (this.#options.concerns(path) && this.#known.delete(path)) this.#options.apply(path, undefined);
    }
    // What was heard of meanwhile may be older than what was found.
    this.#caughtUp(() => {
      if (reading !== this.#readings) return;
      this.#isComplete = true;
      this.#options.completed?.(true);
      for (const done of this.#waiting.splice(0)) done();
    });
  }
}

/**
 * Visits every node below a path, parents first. Nodes are visited as the answers come, and not later: what the watch
 * tells after an answer must not be undone by it.
 */
export async function walk(store: Store, root: string, visit: Visit): Promise<void> {
  if (store.walk !== undefined) return store.walk(root, visit);
  const tree = new TreeWalk(store, root);
  return new Promise((resolve, reject) => {
    const next = (): void => {
      if (tree.next === undefined) return resolve();
      tree.readPage(visit, (error) => (error === undefined ? next() : reject(error)));
    };
    next();
  });
}

export async function children(coordinator: Store, path: string): Promise<readonly string[]> {
  const [result] = await read(coordinator, [{ kind: "children", path }]);
  return childrenOf(result);
}

export function read(coordinator: Store, operations: readonly ReadOperation[]): Promise<readonly ReadResult[]> {
  if (operations.length === 0) return Promise.resolve([]);
  return new Promise((resolve, reject) => {
    coordinator.read(operations, (error, results) => {
      if (error === undefined) resolve(results);
      else reject(new OperatingError("ESTORE", `cannot read the store: ${error.message}`));
    });
  });
}
