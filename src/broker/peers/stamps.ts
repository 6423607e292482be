/**
 * Nodes that a broker leaves under its name wherever its clients subscribe or publish. They outlive it, for no keeper session
 * may own more nodes than fit into the one transaction with which it ends; so each names the epoch in which it was written,
 * and counts only while that incarnation lives. Those of format 1 are ephemeral and empty, and count while they exist.
 */
import { encodeUtf8 } from "../../base/bytes.ts";
import { read } from "../../coordinator/mirror.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { ClusterContext } from "./cluster-context.ts";

/** The epoch that a node names; "unnamed": it was written in format 1; undefined: it was written by no broker. */
export type Stamp = number | "unnamed" | undefined;

export function encodeStamp(epoch: number): Uint8Array {
  return encodeUtf8(String(epoch));
}

export function decodeStamp(data: Uint8Array): Stamp {
  if (data.length === 0) return "unnamed";
  // Eight bytes of digits are enough for all epochs until the year 2100, sixteen for all that are exact.
  if (data.length > 16) return undefined;
  let epoch = 0;
  for (const byte of data) {
    if (byte < 0x30 || byte > 0x39) return undefined;
    epoch = 10 * epoch + byte - 0x30;
  }
  return Number.isSafeInteger(epoch) ? epoch : undefined;
}

/**
 * What must be committed so that each of these nodes stands there with the broker's epoch, whatever stands there now: it is
 * looked at first, for each operation that is refused costs the whole unit another try. Rejects with `OperatingError`.
 */
export async function stampAll(
  { coordinator, self }: ClusterContext,
  paths: readonly string[],
  isCurrent: (path: string) => boolean,
): Promise<JournalOperation[]> {
  const data = encodeStamp(self.epoch);
  const nodes = await read(
    coordinator,
    paths.map((path) => ({ kind: "get", path })),
  );
  return paths.flatMap((path, index): JournalOperation[] => {
    const node = nodes[index];
    const stamp = typeof node === "object" && "data" in node ? decodeStamp(node.data) : "none";
    if (stamp === self.epoch || !isCurrent(path)) return [];
    return [stampOver(stamp, { path, data, isCurrent: () => isCurrent(path) })];
  });
}

/** Writes a node's stamp over what is known to stand there: none: nothing does. */
export function stampOver(
  before: Stamp | "none",
  node: { readonly path: string; readonly data: Uint8Array; readonly isCurrent: () => boolean },
): JournalOperation {
  if (before === "none") return { kind: "announce", isOccupied: false, ...node };
  // An ephemeral one would go with the session that has made it.
  if (before === "unnamed") return { kind: "announce", isOccupied: true, ...node };
  return { kind: "put", exists: true, ...node };
}
