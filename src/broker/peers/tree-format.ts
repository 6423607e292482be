/** The tree's format, as a joining broker finds it and as the members state it. */

import { encodeUtf8 } from "../../base/bytes.ts";
import { formats, readFormats } from "../../base/formats.ts";
import { children, read, type Store } from "../../coordinator/mirror.ts";
import { brokersPath, formatPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import { formatOf, tooNew } from "../../coordinator/tree-format.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { decodeFacts } from "./peer.ts";

/**
 * Returns if this executable may join the tree. Rejects with `OperatingError` if the tree is written in a newer format
 * than it reads, unless a member can write an older one: all will as soon as they see this broker.
 */
export async function refuseCluster(store: Store): Promise<void> {
  const format = await formatOf(store);
  if (format <= formats.newest) return;
  const paths = (await children(store, brokersPath)).map((name) => `${brokersPath}/${name}`);
  const nodes = await read(
    store,
    paths.map((path) => ({ kind: "get", path })),
  );
  const canStepDown = nodes.some((node) => {
    if (!hasData(node)) return false;
    return readFormats(decodeFacts(node.data)?.formats).oldest <= formats.newest;
  });
  if (!canStepDown) throw tooNew(format);
}

/** Returns the operation that states in which format the tree is written from now on. */
export function formatOperation(format: number): JournalOperation {
  return { kind: "put", path: formatPath, data: encodeUtf8(String(format)), exists: true };
}
