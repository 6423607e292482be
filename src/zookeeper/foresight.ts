/**
 * Foresees what ZooKeeper would refuse of a group: it names only the first operation that fails in a `multi`, so a
 * group with hundreds of them would have to be tried hundreds of times, with everything else waiting behind it (seen:
 * brokers that remove the same five hundred messages, and a mailbox that was not read for twelve seconds). Instead the
 * nodes are looked at, and all of it is repaired at once. What changes between the look and the commit is refused as
 * ever.
 *
 * Invariant: nothing is repaired for what an earlier submission of the group would do, for that may be refused itself:
 * where this would be needed the group ends, and the rest of it is looked at when the first part is committed.
 */

import {
  CoordinatorError,
  type CoordinatorErrorCode,
  type ReadResult,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import { parentPath } from "../coordinator/paths.ts";
import { hasStat } from "../coordinator/read-results.ts";
import { isValidPath, mayBeLookedFor } from "../coordinator/valid-path.ts";
import type { Write } from "./group.ts";
import { makeWrite } from "./submissions.ts";

/** A node as it was found; undefined: there is none. */
export type Found = { readonly version: number; readonly childCount: number } | undefined;

export function foundOf(result: ReadResult): Found {
  return hasStat(result) ? result.stat : undefined;
}

/** The nodes that decide whether submissions succeed. */
export function nodesOf(writes: readonly Write[]): Set<string> {
  const paths = new Set<string>();
  for (const { operations } of writes)
    for (const operation of operations) for (const path of nodesOfOne(operation)) paths.add(path);
  return paths;
}

/** Nodes as they are after some operations. */
class Overlay {
  readonly changed = new Map<string, Found>();
  readonly #below: { readonly get: (path: string) => Found; readonly has: (path: string) => boolean };

  constructor(below: Overlay | ReadonlyMap<string, Found>) {
    this.#below = below;
  }

  get(path: string): Found {
    return this.changed.has(path) ? this.changed.get(path) : this.#below.get(path);
  }

  /** False: it was not looked at. */
  has(path: string): boolean {
    return this.changed.has(path) || this.#below.has(path);
  }

  apply(operation: WriteOperation): void {
    const { kind, path } = operation;
    const node = this.get(path);
    if (kind === "check") return;
    if (kind === "set") {
      if (node !== undefined) this.changed.set(path, { ...node, version: node.version + 1 });
      return;
    }
    if (!isSequential(operation)) this.changed.set(path, kind === "create" ? newNode : undefined);
    const above = this.get(parentPath(path));
    const more = kind === "create" ? 1 : -1;
    if (above !== undefined) this.changed.set(parentPath(path), { ...above, childCount: above.childCount + more });
  }
}

const newNode: Found = { version: 0, childCount: 0 };

/** The submissions that can be tried together now, and those for after that. */
export interface Parts {
  readonly now: readonly Write[];
  readonly later: readonly Write[];
}

/** The submissions as they may succeed; those that stay refused are answered in their turn. */
export function repairAll(writes: readonly Write[], found: ReadonlyMap<string, Found>): Parts {
  const before = new Overlay(found);
  const now: Write[] = [];
  for (let at = 0; at < writes.length; at++) {
    let write = writes[at]!;
    for (let refusal = judge(write, before); refusal !== undefined; refusal = judge(write, before)) {
      const isOwnDoing = refusal.nodes.some((path) => before.changed.has(path));
      if (isOwnDoing && now.length > 0) return { now, later: writes.with(at, write).slice(at) };
      const instead = write.repair?.(refusal.error);
      write = instead === undefined ? answer(write, refusal.error) : makeWrite(instead, write.done, write.repair);
    }
    for (const operation of write.operations) before.apply(operation);
    now.push(write);
  }
  return { now, later: [] };
}

/** Stands in the place of a submission that is refused for good. */
export function answer({ done }: Write, refusal: CoordinatorError): Write {
  return makeWrite([], () => done(refusal, undefined, 0), undefined);
}

interface Refusal {
  readonly error: CoordinatorError;
  /** The nodes that it follows from. */
  readonly nodes: readonly string[];
}

/** Returns why a submission would be refused; undefined if it would not, or that is not known. */
function judge({ operations }: Write, before: Overlay): Refusal | undefined {
  const own = new Overlay(before);
  for (let index = 0; index < operations.length; index++) {
    const operation = operations[index]!;
    const nodes = nodesOfOne(operation);
    // It may be what is refused first.
    if (!nodes.every((path) => own.has(path))) return undefined;
    const code = judgeOne(operation, own);
    if (code !== undefined) return { error: new CoordinatorError(code, operation.path, index), nodes };
    own.apply(operation);
  }
  return undefined;
}

function judgeOne(operation: WriteOperation, tree: Overlay): CoordinatorErrorCode | undefined {
  const { path } = operation;
  if (!mayBeLookedFor(operation)) return "InvalidPath";
  const node = tree.get(path);
  if (operation.kind === "create") {
    if (tree.get(parentPath(path)) === undefined) return "NoNode";
    // What the store adds to a name is digits.
    if (!isValidPath(isSequential(operation) ? `${path}0` : path)) return "InvalidPath";
    return node === undefined || isSequential(operation) ? undefined : "NodeExists";
  }
  if (node === undefined) return "NoNode";
  if (operation.version !== -1 && operation.version !== node.version) return "BadVersion";
  return operation.kind === "delete" && node.childCount > 0 ? "NotEmpty" : undefined;
}

function nodesOfOne(operation: WriteOperation): string[] {
  const { kind, path } = operation;
  if (kind !== "create") return [path];
  return isSequential(operation) ? [parentPath(path)] : [parentPath(path), path];
}

function isSequential(operation: WriteOperation): boolean {
  return operation.kind === "create" && operation.mode === "sequential";
}
