/**
 * `/format`: the format in which the tree was last written, so that an executable that is too old for it says so
 * instead of misreading what it finds.
 */
import { encodeUtf8 } from "../../base/bytes.ts";
import { OperatingError } from "../../base/errors.ts";
import { formats, readFormats } from "../../base/formats.ts";
import { children, read, type Store } from "../../coordinator/mirror.ts";
import { brokersPath, formatPath } from "../../coordinator/paths.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { decodeFacts } from "./peer.ts";

/** The format that stands in the tree: 1 where none does. Rejects with `OperatingError`. */
export async function formatOf(store: Store): Promise<number> {
  const [node] = await read(store, [{ kind: "get", path: formatPath }]);
  if (typeof node !== "object" || !("data" in node)) return 1;
  const format = Number(Buffer.from(node.data).toString());
  return Number.isInteger(format) && format >= 1 ? format : 1;
}

/** Rejects with `OperatingError` if the tree is written in a format that this executable does not read. */
export async function refuseNewer(store: Store): Promise<void> {
  const format = await formatOf(store);
  if (format > formats.newest) throw tooNew(format);
}

/**
 * The same for a broker that is about to join: it may, if those that live can write what it reads; they will, as soon
 * as they see it.
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
    if (typeof node !== "object" || !("data" in node)) return false;
    return readFormats(decodeFacts(node.data)?.formats).oldest <= formats.newest;
  });
  if (!canStepDown) throw tooNew(format);
}

/** Says in which format the tree is written from now on. */
export function sayFormat(format: number): JournalOperation {
  return { kind: "put", path: formatPath, data: encodeUtf8(String(format)), exists: true };
}

function tooNew(format: number): OperatingError {
  const words = `the tree is written in format ${format}, and this executable reads ${formats.oldest} to ${formats.newest}`;
  return new OperatingError("EFORMAT", `${words}: use a newer one`);
}
