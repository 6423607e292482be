/** Removes retained messages from the tree as brokers do, so that all brokers see it and credits come back. */
import type { StoredMessage } from "../../src/audit/audit.ts";
import { noBytes } from "../../src/base/bytes.ts";
import type { CoordinatorErrorCode, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { read } from "../../src/coordinator/mirror.ts";
import { parentPath, partPath, payloadPath, retainedPath } from "../../src/coordinator/paths.ts";
import { hasData } from "../../src/coordinator/read-results.ts";
import type { Tree } from "./open-tree.ts";

/** A retained message, and the version of its znode in which it was seen. */
export interface SeenMessage extends Pick<StoredMessage, "path" | "parts"> {
  readonly version: number;
}

/**
 * Removes a retained message, unless another one has taken its place since it was seen: then it returns false, as it
 * does if the message has gone meanwhile. Its credits come back to the branch that pays for it: its broker sees that
 * the znode is gone, and for a broker that has died the teller does.
 */
export async function clearRetained(tree: Tree, { path, version, parts }: SeenMessage): Promise<boolean> {
  let refused = await write(tree, { kind: "delete", path, version });
  // Others stand below it: it stays as a level, and an empty one is no message.
  if (refused === "NotEmpty") refused = await write(tree, { kind: "set", path, data: noBytes, version });
  if (refused !== undefined) return false;
  if (parts !== undefined) {
    // The last piece first, the node above them, which says who pays for them, last of all; as brokers do it.
    const pieces = Array.from({ length: parts.count }, (_, number) => partPath(parts.id, number));
    for (const piece of [...pieces.reverse(), payloadPath(parts.id)])
      await write(tree, { kind: "delete", path: piece, version: -1 });
  }
  await removeEmptyLevels(tree, parentPath(path));
  return true;
}

/** Removes the levels that stood only for what has gone; where the store does it by itself, there are none. */
async function removeEmptyLevels(tree: Tree, from: string): Promise<void> {
  for (let level = from; level !== retainedPath; level = parentPath(level)) {
    const [node] = await read(tree, [{ kind: "get", path: level }]);
    if (!hasData(node) || node.data.length > 0) return;
    if ((await write(tree, { kind: "delete", path: level, version: node.stat.version })) !== undefined) return;
  }
}

/** Returns why a write was refused; undefined: it was done. */
function write(tree: Tree, operation: WriteOperation): Promise<CoordinatorErrorCode | undefined> {
  return new Promise((done) => tree.write([operation], (error) => done(error?.code)));
}
