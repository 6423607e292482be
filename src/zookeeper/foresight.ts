/**
 * What ZooKeeper would refuse of a group: it names only the first operation that fails in a `multi`, so a group with hundreds of
 * them would have to be tried hundreds of times, with everything else waiting behind it (seen: two brokers that remove the
 * same five hundred messages, and a mailbox that was not read for twelve seconds). Instead the nodes are looked at, and all of
 * it is repaired at once. What changes between the look and the commit is refused as ever.
 *
 * Invariant: what is said of a node holds for the moment of the look, after all that this broker has committed. Nodes that
 * earlier operations of the group change are not judged.
 */
import {
  CoordinatorError,
  type CoordinatorErrorCode,
  type ReadResult,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import { parentPath } from "../coordinator/paths.ts";
import type { Write } from "./group.ts";
import { makeWrite } from "./submissions.ts";

/** A node as it was found; undefined: there is none. */
export type Found = { readonly version: number; readonly childCount: number } | undefined;

export function foundOf(result: ReadResult): Found {
  return typeof result === "object" && "stat" in result ? result.stat : undefined;
}

/** The nodes that decide whether submissions succeed. */
export function nodesOf(writes: readonly Write[]): Set<string> {
  const paths = new Set<string>();
  for (const { operations } of writes) {
    for (const operation of operations) {
      if (!isSequential(operation)) paths.add(operation.path);
      if (operation.kind === "create") paths.add(parentPath(operation.path));
    }
  }
  return paths;
}

/** What earlier operations change: nodes themselves, and what is below nodes. */
interface Changes {
  readonly nodes: Set<string>;
  readonly below: Set<string>;
}

/** The submissions as they may succeed; those that stay refused are answered in their turn. */
export function repairAll(writes: readonly Write[], found: ReadonlyMap<string, Found>): Write[] {
  const before: Changes = { nodes: new Set(), below: new Set() };
  return writes.map((write) => {
    let current = write;
    for (let refusal = judge(current, found, before); refusal !== undefined; refusal = judge(current, found, before)) {
      const instead = current.repair?.(refusal);
      if (instead === undefined) return answer(current, refusal);
      current = makeWrite(instead, current.done, current.repair);
    }
    for (const operation of current.operations) note(operation, before);
    return current;
  });
}

/** Stands in the place of a submission that is refused for good. */
export function answer({ done }: Write, refusal: CoordinatorError): Write {
  return makeWrite([], () => done(refusal, undefined, 0), undefined);
}

/** Why a submission would be refused; undefined if it would not, or that is not known. */
function judge(
  { operations }: Write,
  found: ReadonlyMap<string, Found>,
  before: Changes,
): CoordinatorError | undefined {
  const own: Changes = { nodes: new Set(), below: new Set() };
  const look = (path: string): Look => {
    if (!found.has(path) || before.nodes.has(path) || own.nodes.has(path)) return "unknown";
    return { node: found.get(path), isChangedBelow: before.below.has(path) || own.below.has(path) };
  };
  for (let index = 0; index < operations.length; index++) {
    const operation = operations[index]!;
    const code =
      operation.kind === "create" ? judgeCreate(operation, look) : judgeOther(operation, look(operation.path));
    // It may be what is refused first.
    if (code === "unknown") return undefined;
    if (code !== "fine") return new CoordinatorError(code, operation.path, index);
    note(operation, own);
  }
  return undefined;
}

type Look = { readonly node: Found; readonly isChangedBelow: boolean } | "unknown";
type Verdict = CoordinatorErrorCode | "fine" | "unknown";

function judgeCreate(operation: WriteOperation, look: (path: string) => Look): Verdict {
  const parent = look(parentPath(operation.path));
  if (parent === "unknown") return parent;
  if (parent.node === undefined) return "NoNode";
  if (isSequential(operation)) return "fine";
  const known = look(operation.path);
  if (known === "unknown") return known;
  return known.node === undefined ? "fine" : "NodeExists";
}

function judgeOther(operation: Exclude<WriteOperation, { kind: "create" }>, known: Look): Verdict {
  if (known === "unknown") return known;
  const { node, isChangedBelow } = known;
  if (node === undefined) return "NoNode";
  if (operation.version !== -1 && operation.version !== node.version) return "BadVersion";
  if (operation.kind !== "delete") return "fine";
  if (isChangedBelow) return "unknown";
  return node.childCount > 0 ? "NotEmpty" : "fine";
}

function note({ kind, path }: WriteOperation, { nodes, below }: Changes): void {
  if (kind === "check") return;
  nodes.add(path);
  if (kind !== "set") below.add(parentPath(path));
}

function isSequential(operation: WriteOperation): boolean {
  return operation.kind === "create" && operation.mode === "sequential";
}
