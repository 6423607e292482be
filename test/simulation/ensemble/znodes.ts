/**
 * The replicated state of the simulated ensemble: a tree of znodes. The leader has one in which everything proposed is
 * done already, each server one with what it has applied.
 */
import type { ReadOperation, ReadResult } from "../../../src/coordinator/coordinator.ts";
import { nameOf, parentPath } from "../../../src/coordinator/paths.ts";
import type { JuteWriter } from "../../../src/zookeeper/jute.ts";

/** The change of a transaction to the tree, when it is known that it may be made. */
export type Change =
  | {
      readonly kind: "create";
      readonly path: string;
      readonly data: Uint8Array;
      /** The keeper session that it ends with; 0n: none. */
      readonly owner: bigint;
      readonly isContainer: boolean;
    }
  | { readonly kind: "set"; readonly path: string; readonly data: Uint8Array }
  | { readonly kind: "delete"; readonly path: string };

/** When a change was proposed: its number, and the time by the leader's clock in ms since 1970. */
export interface When {
  readonly zxid: number;
  readonly time: number;
}

export interface Znode {
  data: Uint8Array;
  readonly czxid: number;
  mzxid: number;
  pzxid: number;
  /** By the clock of the leader that proposed it, in ms since 1970. */
  readonly ctime: number;
  mtime: number;
  version: number;
  /** Children ever created: the number that the next sequential one gets. */
  created: number;
  readonly owner: bigint;
  readonly isContainer: boolean;
  readonly children: Set<string>;
}

const noEphemerals: ReadonlySet<string> = new Set();

/** Nodes made up to here have numbers that begin late; those made later, or made anew, begin with 0. */
const lateUntilZxid = 2 ** 32 + 400;

/** ZooKeeper's mark of a container, in the place of an ephemeral's owner. */
const containerOwner = -(2n ** 63n);

export class Znodes {
  readonly nodes = new Map<string, Znode>();
  readonly #ephemerals = new Map<bigint, Set<string>>();
  /** Where the numbers of sequential names begin below a node that was never there before. */
  readonly #sequenceStart: number;
  /** Paths whose nodes were removed: what is made there anew has numbers from 0. */
  readonly #removed = new Set<string>();

  constructor(sequenceStart = 0) {
    this.#sequenceStart = sequenceStart;
    const root = { path: "/", data: new Uint8Array(0), owner: 0n, isContainer: false };
    this.nodes.set(root.path, this.#make({ zxid: 0, time: 0 }, root));
  }

  /** Does it, and returns how it is undone. */
  apply(change: Change, when: When): () => void {
    const { path } = change;
    const { zxid, time } = when;
    const parent = this.nodes.get(parentPath(path));
    if (change.kind === "create") {
      const { pzxid, created } = parent!;
      this.#link(path, this.#make(when, change));
      Object.assign(parent!, { pzxid: zxid, created: created + 1 });
      return () => {
        this.#unlink(path);
        Object.assign(parent!, { pzxid, created });
      };
    }
    const node = this.nodes.get(path)!;
    if (change.kind === "set") {
      const { data, mzxid, mtime, version } = node;
      // In 32 bits, as ZooKeeper counts.
      Object.assign(node, { data: change.data, mzxid: zxid, mtime: time, version: (version + 1) | 0 });
      return () => void Object.assign(node, { data, mzxid, mtime, version });
    }
    const { pzxid } = parent!;
    this.#unlink(path);
    this.#removed.add(path);
    parent!.pzxid = zxid;
    return () => {
      this.#link(path, node);
      parent!.pzxid = pzxid;
    };
  }

  ephemeralsOf(session: bigint): ReadonlySet<string> {
    return this.#ephemerals.get(session) ?? noEphemerals;
  }

  /** As the coordinator's port has it, for the checkers. */
  read({ kind, path }: ReadOperation): ReadResult {
    const node = this.nodes.get(path);
    if (node === undefined) return "NoNode";
    if (kind === "children") return { children: [...node.children] };
    const { czxid, mzxid, version, children, data } = node;
    const stat = { czxid, mzxid, version, childCount: children.size };
    return kind === "get" ? { data, stat } : { stat };
  }

  #make({ zxid, time }: When, made: Pick<Znode, "data" | "owner" | "isContainer"> & { readonly path: string }): Znode {
    const { path, data, owner, isContainer } = made;
    const created = zxid < lateUntilZxid && !this.#removed.has(path) ? this.#sequenceStart : 0;
    const zxids = { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime: time, mtime: time };
    return { data, ...zxids, version: 0, created, owner, isContainer, children: new Set() };
  }

  #link(path: string, node: Znode): void {
    this.nodes.set(path, node);
    this.nodes.get(parentPath(path))!.children.add(nameOf(path));
    if (node.owner === 0n) return;
    const own = this.#ephemerals.get(node.owner) ?? new Set();
    this.#ephemerals.set(node.owner, own.add(path));
  }

  #unlink(path: string): void {
    const { owner } = this.nodes.get(path)!;
    this.nodes.delete(path);
    this.nodes.get(parentPath(path))?.children.delete(nameOf(path));
    this.#ephemerals.get(owner)?.delete(path);
  }
}

export function writeStat(to: JuteWriter, node: Znode): JuteWriter {
  const { czxid, mzxid, pzxid, ctime, mtime, version, created, children, owner, isContainer, data } = node;
  to.long(czxid).long(mzxid).long(Math.floor(ctime)).long(Math.floor(mtime)).int(version);
  // What is shown counts creations and removals.
  to.int((created * 2 - children.size) | 0).int(0);
  return to
    .long(isContainer ? containerOwner : owner)
    .int(data.length)
    .int(children.size)
    .long(pzxid);
}
