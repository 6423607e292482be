/** Requests of ZooKeeper's protocol as a server reads them, and whether they may be done (PrepRequestProcessor). */
import { parentPath } from "../../../src/coordinator/paths.ts";
import { isValidPath, mayBeLookedFor } from "../../../src/coordinator/valid-path.ts";
import { OpCode } from "../../../src/zookeeper/codes.ts";
import type { JuteReader } from "../../../src/zookeeper/jute.ts";
import { createModes, decodeAcl } from "../../../src/zookeeper/records.ts";
import type { Change, Znodes } from "./znodes.ts";

/** The server's numbers (KeeperException.java). */
export const Err = {
  ok: 0,
  runtimeInconsistency: -2,
  unimplemented: -6,
  badArguments: -8,
  noNode: -101,
  badVersion: -103,
  noChildrenForEphemerals: -108,
  nodeExists: -110,
  notEmpty: -111,
  sessionExpired: -112,
  sessionMoved: -118,
} as const;

export interface Operation {
  readonly type: number;
  readonly path: string;
  readonly data: Uint8Array;
  /** -1: any. */
  readonly version: number;
  readonly mode: (typeof createModes)[number];
}

/** The change that a write may make now; a number says why it may not. */
export type Prepared = Change | "nothing" | number;

const creates: readonly number[] = [OpCode.create, OpCode.create2, OpCode.createContainer, OpCode.createTtl];

const nothing = new Uint8Array(0);

export function isCreate({ type }: Operation): boolean {
  return creates.includes(type);
}

/** The body of one write. */
export function readOperation(from: JuteReader, type: number): Operation {
  const path = from.text();
  if (creates.includes(type)) {
    const data = from.buffer();
    decodeAcl(from);
    const mode = createModes[from.int()]!;
    if (type === OpCode.createTtl) from.long();
    return { type, path, data, version: -1, mode };
  }
  const data = type === OpCode.setData ? from.buffer() : nothing;
  return { type, path, data, version: from.int(), mode: "persistent" };
}

/** All parts of a multi, or of a multi-read. */
export function readMulti<Part>(from: JuteReader, readPart: (from: JuteReader, type: number) => Part): Part[] {
  const parts: Part[] = [];
  for (;;) {
    const type = from.int();
    const isDone = from.bool();
    from.int();
    if (isDone) return parts;
    parts.push(readPart(from, type));
  }
}

export function prepare(tree: Znodes, operation: Operation, session: bigint): Prepared {
  const kind = isCreate(operation) ? "create" : operation.type === OpCode.delete ? "delete" : "set";
  if (!mayBeLookedFor({ kind, path: operation.path })) return Err.badArguments;
  if (kind === "create") return prepareCreate(tree, operation, session);
  const { path, version, type, data } = operation;
  const node = tree.nodes.get(path);
  if (node === undefined) return Err.noNode;
  if (version !== -1 && version !== node.version) return Err.badVersion;
  if (type === OpCode.check) return "nothing";
  if (type === OpCode.setData) return { kind: "set", path, data };
  return node.children.size > 0 ? Err.notEmpty : { kind: "delete", path };
}

function prepareCreate(tree: Znodes, { path: asked, data, mode }: Operation, session: bigint): Prepared {
  const parent = tree.nodes.get(parentPath(asked));
  const isSequential = mode === "persistentSequential" || mode === "ephemeralSequential";
  const path = isSequential ? asked + sequenceText(parent?.created ?? 0) : asked;
  if (parent === undefined) return Err.noNode;
  if (!isValidPath(path)) return Err.badArguments;
  if (tree.nodes.has(path)) return Err.nodeExists;
  if (parent.owner !== 0n) return Err.noChildrenForEphemerals;
  const owner = mode === "ephemeral" || mode === "ephemeralSequential" ? session : 0n;
  return { kind: "create", path, data, owner, isContainer: mode === "container" };
}

/** Java's %010d of an int: after 2147483647 comes -2147483648. */
function sequenceText(created: number): string {
  const number = created | 0;
  return number < 0 ? `-${String(-number).padStart(9, "0")}` : String(number).padStart(10, "0");
}
