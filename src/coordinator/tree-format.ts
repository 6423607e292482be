/**
 * `/format`: the format in which the tree was last written, so that an executable that is too old for it says so
 * instead of misreading what it finds.
 */

import { OperatingError } from "../base/errors.ts";
import { formats } from "../base/formats.ts";
import { read, type Store } from "./mirror.ts";
import { formatPath } from "./paths.ts";
import { hasData } from "./read-results.ts";

/** The format that stands in the tree: 1 where none does. Rejects with `OperatingError`. */
export async function formatOf(store: Store): Promise<number> {
  const [node] = await read(store, [{ kind: "get", path: formatPath }]);
  if (!hasData(node)) return 1;
  const format = Number(Buffer.from(node.data).toString());
  return Number.isInteger(format) && format >= 1 ? format : 1;
}

/** Rejects with `OperatingError` if the tree is written in a format that this executable does not read. */
export async function refuseNewer(store: Store): Promise<void> {
  const format = await formatOf(store);
  if (format > formats.newest) throw tooNew(format);
}

export function tooNew(format: number): OperatingError {
  const words = `the tree is written in format ${format}, and this executable reads ${formats.oldest} to ${formats.newest}`;
  return new OperatingError("EFORMAT", `${words}: use a newer one`);
}
