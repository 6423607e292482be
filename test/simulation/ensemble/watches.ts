/** The watches that a server keeps for one connection: one-shot ones, and persistent ones (ZooKeeper 3.6). */
import { parentPath } from "../../../src/coordinator/paths.ts";
import { EventType } from "../../../src/zookeeper/codes.ts";
import type { Znodes } from "./znodes.ts";

type Kind = "data" | "exist" | "child" | "persistent" | "recursive";

/** In the order of SetWatches2. */
const kinds: readonly Kind[] = ["data", "exist", "child", "persistent", "recursive"];

export class ServerWatches {
  readonly #paths: Record<Kind, Set<string>> = {
    data: new Set(),
    exist: new Set(),
    child: new Set(),
    persistent: new Set(),
    recursive: new Set(),
  };
  readonly #send: (type: number, path: string) => void;

  constructor(send: (type: number, path: string) => void) {
    this.#send = send;
  }

  add(kind: Kind, path: string): void {
    this.#paths[kind].add(path);
  }

  remove(path: string): void {
    for (const kind of kinds) this.#paths[kind].delete(path);
  }

  /** A node was created, changed or deleted. */
  fire(type: number, path: string): void {
    const { data, exist, child, persistent } = this.#paths;
    const once = [data.delete(path), exist.delete(path), type === EventType.deleted && child.delete(path)];
    if (once.includes(true) || persistent.has(path) || this.#isBelowWatched(path)) this.#send(type, path);
    if (type === EventType.dataChanged || path === "/") return;
    const parent = parentPath(path);
    if (child.delete(parent) || persistent.has(parent)) this.#send(EventType.childrenChanged, parent);
  }

  /**
   * A client has come from another server: one-shot watches tell at once what they have missed; persistent ones are
   * set, and tell nothing of it.
   */
  restore(tree: Znodes, since: number, tables: readonly (readonly string[])[]): void {
    kinds.forEach((kind, at) => {
      for (const path of tables[at]!) {
        const missed = missedBy(kind, since, tree.nodes.get(path));
        if (missed === undefined) this.add(kind, path);
        else this.#send(missed, path);
      }
    });
  }

  #isBelowWatched(path: string): boolean {
    const { recursive } = this.#paths;
    if (recursive.size === 0) return false;
    for (let at = path; ; at = parentPath(at)) {
      if (recursive.has(at)) return true;
      if (at === "/") return false;
    }
  }
}

function missedBy(kind: Kind, since: number, node: { mzxid: number; pzxid: number } | undefined): number | undefined {
  if (kind === "exist") return node === undefined ? undefined : EventType.created;
  if (kind !== "data" && kind !== "child") return undefined;
  if (node === undefined) return EventType.deleted;
  if (kind === "data") return node.mzxid > since ? EventType.dataChanged : undefined;
  return node.pzxid > since ? EventType.childrenChanged : undefined;
}
