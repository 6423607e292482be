/**
 * Stamps: the epochs named by the nodes that a broker leaves wherever its clients subscribe or publish. The nodes
 * outlive the broker, for a keeper session may own no more ephemeral nodes than fit into the one transaction that ends
 * it. So each names the epoch in which it was written, and counts only while that incarnation lives. Nodes of format 1
 * are ephemeral and empty, and count while they exist.
 */

import { encodeUtf8 } from "../../base/bytes.ts";
import { read, type Store } from "../../coordinator/mirror.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { JournalOperation } from "../../mail/operations.ts";

/** The epoch that a node names; "unnamed": it was written in format 1; undefined: it was written by no broker. */
export type Stamp = number | "unnamed" | undefined;

/** Returns a node's data: the epoch in decimal digits. */
export function encodeStamp(epoch: number): Uint8Array {
  return encodeUtf8(String(epoch));
}

/** Returns the stamp of a node's data; undefined if no broker has written it. */
export function decodeStamp(data: Uint8Array): Stamp {
  if (data.length === 0) return "unnamed";
  // Sixteen digits are enough for every safe integer.
  if (data.length > 16) return undefined;
  let epoch = 0;
  for (const byte of data) {
    if (byte < 0x30 || byte > 0x39) return undefined;
    epoch = 10 * epoch + (byte - 0x30);
  }
  return Number.isSafeInteger(epoch) ? epoch : undefined;
}

/**
 * Returns the operations that make each of these nodes name the broker's epoch, whatever it names now. The nodes are
 * read first, for each operation that is refused costs the whole unit another try. `absent`: told of nodes that are not
 * there, and are not written, since they are not current any more. Rejects with `OperatingError`.
 */
export async function stampAll(
  { coordinator, self }: { readonly coordinator: Store; readonly self: { readonly epoch: number } },
  paths: readonly string[],
  isCurrent: (path: string) => boolean,
  absent: (path: string) => void = () => {},
): Promise<JournalOperation[]> {
  const data = encodeStamp(self.epoch);
  const nodes = await read(
    coordinator,
    paths.map((path) => ({ kind: "get", path })),
  );
  return paths.flatMap((path, index): JournalOperation[] => {
    const node = nodes[index];
    const stamp = hasData(node) ? decodeStamp(node.data) : "none";
    const isWanted = isCurrent(path);
    if (stamp === "none" && !isWanted) absent(path);
    if (stamp === self.epoch || !isWanted) return [];
    return [stampOver(stamp, { path, data, isCurrent: () => isCurrent(path) })];
  });
}

/** Returns the operation that writes a stamp over what a node is known to name; "none": there is no node. */
export function stampOver(
  before: Stamp | "none",
  node: { readonly path: string; readonly data: Uint8Array; readonly isCurrent: () => boolean },
): JournalOperation {
  if (before === "none") return { kind: "announce", isOccupied: false, ...node };
  // An ephemeral node would end with the keeper session that has made it, so it is replaced.
  if (before === "unnamed") return { kind: "announce", isOccupied: true, ...node };
  return { kind: "put", exists: true, ...node };
}
