/** A tree of znodes in memory, with ZooKeeper's rules. */
import type {
  CoordinatorErrorCode,
  ReadOperation,
  ReadResult,
  WatchEvent,
  WriteOperation,
  WriteResult,
} from "../../src/coordinator/coordinator.ts";
import { nameOf, parentPath as parentOf } from "../../src/coordinator/paths.ts";
import { isValidPath, mayBeLookedFor } from "../../src/coordinator/valid-path.ts";

/** The session that an ephemeral node belongs to. */
export type Owner = object;

interface Node {
  data: Uint8Array;
  readonly czxid: number;
  mzxid: number;
  version: number;
  readonly owner: Owner | undefined;
  readonly isContainer: boolean;
  readonly children: Set<string>;
  sequence: number;
}

interface Refusal {
  readonly code: CoordinatorErrorCode;
  readonly index: number;
}

/** ZooKeeper counts children in 32 bits, and then no further: the next name is the last one again. */
const sequenceMax = 2 ** 31 - 1;

export class MemoryTree {
  readonly nodes = new Map<string, Node>([["/", this.#make(undefined, false)]]);
  zxid = 0;
  /** Write transactions, for tests that count them. */
  transactions = 0;
  onEvent: (event: WatchEvent) => void = () => {};

  #make(owner: Owner | undefined, isContainer: boolean, data = new Uint8Array(0)): Node {
    const zxid = this.zxid;
    return { data, czxid: zxid, mzxid: zxid, version: 0, owner, isContainer, children: new Set(), sequence: 0 };
  }

  /** All of it, or nothing and why. */
  write(operations: readonly WriteOperation[], owner: Owner): readonly WriteResult[] | Refusal {
    this.zxid++;
    this.transactions++;
    const undo: (() => void)[] = [];
    const events: WatchEvent[] = [];
    const results: WriteResult[] = [];
    for (let index = 0; index < operations.length; index++) {
      const result = this.#apply(operations[index]!, { owner, undo, events });
      if (typeof result === "string") {
        for (const step of undo.reverse()) step();
        return { code: result, index };
      }
      results.push(result);
    }
    for (const event of events) this.onEvent(event);
    return results;
  }

  read({ kind, path }: ReadOperation): ReadResult {
    const node = this.nodes.get(path);
    if (node === undefined) return "NoNode";
    if (kind === "children") return { children: [...node.children] };
    const { czxid, mzxid, version } = node;
    const isEphemeral = node.owner !== undefined;
    const stat = { czxid, mzxid, version, childCount: node.children.size, isEphemeral };
    return kind === "get" ? { data: node.data.slice(), stat } : { stat };
  }

  /** Removes the ephemeral nodes of a session that has ended. */
  endSession(owner: Owner): void {
    this.zxid++;
    for (const [path, node] of [...this.nodes]) {
      if (node.owner !== owner) continue;
      this.#unlink(path);
      this.onEvent({ type: "deleted", path });
    }
  }

  /** Removes containers that have become empty, as ZooKeeper does now and then. */
  sweepContainers(): void {
    for (let found = true; found; ) {
      found = false;
      for (const [path, node] of [...this.nodes]) {
        if (!node.isContainer || node.children.size > 0) continue;
        this.zxid++;
        this.#unlink(path);
        this.onEvent({ type: "deleted", path });
        found = true;
      }
    }
  }

  #unlink(path: string): void {
    this.nodes.delete(path);
    this.nodes.get(parentOf(path))?.children.delete(nameOf(path));
  }

  #apply(
    operation: WriteOperation,
    how: { owner: Owner; undo: (() => void)[]; events: WatchEvent[] },
  ): WriteResult | CoordinatorErrorCode {
    if (!mayBeLookedFor(operation)) return "InvalidPath";
    if (operation.kind === "create") return this.#create(operation, how);
    const { path } = operation;
    const node = this.nodes.get(path);
    if (node === undefined) return "NoNode";
    if (operation.version !== -1 && operation.version !== node.version) return "BadVersion";
    if (operation.kind === "check") return { path, version: -1 };
    if (operation.kind === "delete") {
      if (node.children.size > 0) return "NotEmpty";
      this.#unlink(path);
      how.undo.push(() => this.#link(path, node));
      how.events.push({ type: "deleted", path });
      return { path, version: -1 };
    }
    const { data, mzxid, version } = node;
    how.undo.push(() => Object.assign(node, { data, mzxid, version }));
    // In 32 bits, as ZooKeeper counts.
    Object.assign(node, { data: operation.data.slice(), mzxid: this.zxid, version: (version + 1) | 0 });
    how.events.push({ type: "changed", path });
    return { path, version: node.version };
  }

  #create(
    { path: asked, data, mode }: Extract<WriteOperation, { kind: "create" }>,
    { owner, undo, events }: { owner: Owner; undo: (() => void)[]; events: WatchEvent[] },
  ): WriteResult | CoordinatorErrorCode {
    const parent = this.nodes.get(parentOf(asked));
    if (parent === undefined) return this.nodes.has(asked) ? "NodeExists" : "NoNode";
    const path =
      mode === "sequential" ? asked + String(Math.min(parent.sequence, sequenceMax)).padStart(10, "0") : asked;
    if (!isValidPath(path)) return "InvalidPath";
    if (this.nodes.has(path)) return "NodeExists";
    if (parent.owner !== undefined) return "NoChildrenForEphemerals";
    const before = parent.sequence;
    parent.sequence++;
    this.#link(path, this.#make(mode === "ephemeral" ? owner : undefined, mode === "container", data.slice()));
    undo.push(() => {
      this.#unlink(path);
      parent.sequence = before;
    });
    events.push({ type: "created", path });
    return { path, version: 0 };
  }

  #link(path: string, node: Node): void {
    this.nodes.set(path, node);
    this.nodes.get(parentOf(path))!.children.add(nameOf(path));
  }
}
