/**
 * The watches of a keeper session. One-shot watches go with their first event; persistent and persistent recursive ones
 * (ZooKeeper 3.6) stay until they are removed, also over reconnects.
 */
import { EventType } from "./codes.ts";
import type { WatcherEvent, WatchTable } from "./records.ts";

/** `missed`: contact was lost for a while, so events may have been too: what is known must be read anew. */
export interface KeeperEvent {
  readonly type: "created" | "deleted" | "changed" | "childrenChanged" | "missed";
  readonly path: string;
}

export type WatchListener = (event: KeeperEvent) => void;
export type WatchKind = keyof WatchTable;

type Paths = Map<string, Set<WatchListener>>;

const eventTypes: Record<number, KeeperEvent["type"]> = {
  [EventType.created]: "created",
  [EventType.deleted]: "deleted",
  [EventType.dataChanged]: "changed",
  [EventType.childrenChanged]: "childrenChanged",
};

/** The one-shot watches that an event uses up. */
const used: Record<KeeperEvent["type"], readonly WatchKind[]> = {
  created: ["data", "exist"],
  deleted: ["data", "exist", "child"],
  changed: ["data", "exist"],
  childrenChanged: ["child"],
  missed: [],
};

export class Watches {
  readonly #kinds: Record<WatchKind, Paths> = {
    data: new Map(),
    exist: new Map(),
    child: new Map(),
    persistent: new Map(),
    persistentRecursive: new Map(),
  };
  /** The number of paths that are watched with everything below them, by how many levels deep they are. */
  readonly #depths: number[] = [];

  get isEmpty(): boolean {
    return Object.values(this.#kinds).every((paths) => paths.size === 0);
  }

  add(kind: WatchKind, path: string, listener: WatchListener): void {
    const listeners = this.#kinds[kind].get(path);
    if (listeners !== undefined) return void listeners.add(listener);
    this.#kinds[kind].set(path, new Set([listener]));
    if (kind === "persistentRecursive") this.#countDepth(path, 1);
  }

  /** True if nobody watches this path in this way any more. */
  remove(kind: WatchKind, path: string, listener: WatchListener): boolean {
    const listeners = this.#kinds[kind].get(path);
    if (listeners === undefined) return false;
    listeners.delete(listener);
    if (listeners.size > 0) return false;
    this.#kinds[kind].delete(path);
    if (kind === "persistentRecursive") this.#countDepth(path, -1);
    return true;
  }

  #countDepth(path: string, change: 1 | -1): void {
    const depth = depthOf(path);
    while (this.#depths.length <= depth) this.#depths.push(0);
    this.#depths[depth]! += change;
    while (this.#depths.at(-1) === 0) this.#depths.pop();
  }

  has(kind: WatchKind, path: string): boolean {
    return this.#kinds[kind].has(path);
  }

  /** Tells the watchers of an event of the server. Unknown types (a watch was removed) are nobody's business. */
  fire({ type: number, path }: WatcherEvent): void {
    const type = eventTypes[number];
    if (type === undefined) return;
    const event: KeeperEvent = { type, path };
    for (const kind of used[type]) {
      const paths = this.#kinds[kind];
      if (paths.size === 0) continue;
      const listeners = paths.get(path);
      paths.delete(path);
      notify(listeners, event);
    }
    notify(this.#kinds.persistent.get(path), event);
    const recursive = this.#kinds.persistentRecursive;
    if (type === "childrenChanged" || recursive.size === 0) return;
    // With few watches it is cheaper to look at them than at all nodes above the path.
    if (recursive.size <= fewWatches) {
      for (const [watched, listeners] of recursive) if (isAtOrBelow(path, watched)) notify(listeners, event);
      return;
    }
    // Sessions are watched each by itself, all at one depth: no other node above the path is looked for.
    notify(recursive.get("/"), event);
    if (path === "/") return;
    for (let depth = 1, end = 0; depth < this.#depths.length && end < path.length; depth++) {
      const slash = path.indexOf("/", end + 1);
      end = slash === -1 ? path.length : slash;
      if (this.#depths[depth]! > 0) notify(recursive.get(path.slice(0, end)), event);
    }
  }

  /** Tells those who watch for good that they may have missed something. */
  fireMissed(): void {
    for (const kind of ["persistent", "persistentRecursive"] as const) {
      for (const [path, listeners] of this.#kinds[kind]) notify(listeners, { type: "missed", path });
    }
  }

  /** Everything, in tables whose paths stay below `bytesMax` each. */
  *tables(bytesMax: number): Generator<WatchTable> {
    let table = emptyTable();
    let bytes = 0;
    for (const kind of Object.keys(this.#kinds) as WatchKind[]) {
      for (const path of this.#kinds[kind].keys()) {
        // A character is at most three bytes of UTF-8.
        const size = 4 + 3 * path.length;
        if (bytes + size > bytesMax) {
          yield table;
          table = emptyTable();
          bytes = 0;
        }
        table[kind].push(path);
        bytes += size;
      }
    }
    if (bytes > 0) yield table;
  }
}

const fewWatches = 8;

/** Returns how many levels deep a path is; the root is 0. */
function depthOf(path: string): number {
  if (path === "/") return 0;
  let depth = 0;
  for (let slash = 0; slash !== -1; slash = path.indexOf("/", slash + 1)) depth++;
  return depth;
}

function isAtOrBelow(path: string, watched: string): boolean {
  if (!path.startsWith(watched)) return false;
  return path.length === watched.length || watched === "/" || path[watched.length] === "/";
}

function emptyTable(): Record<WatchKind, string[]> {
  return { data: [], exist: [], child: [], persistent: [], persistentRecursive: [] };
}

function notify(listeners: Set<WatchListener> | undefined, event: KeeperEvent): void {
  if (listeners === undefined) return;
  for (const listener of [...listeners]) listener(event);
}
