/** The weight of what clients make the store keep: all of it is walked over, whoever pays. */
import { mirrorPageMax } from "../base/limits.ts";
import { children, read, type Store, walk } from "../coordinator/mirror.ts";
import {
  partsPath,
  payloadPath,
  publishersPath,
  retainedPath,
  sessionsPath,
  subscribersPath,
  topicsPath,
  willsPath,
} from "../coordinator/paths.ts";
import { hasData, hasStat } from "../coordinator/read-results.ts";
import { nodeWeightOf } from "../coordinator/weight.ts";

/** The parts of the tree that clients fill, besides pieces of large messages. */
const filled = [topicsPath, retainedPath, subscribersPath, publishersPath, willsPath, sessionsPath] as const;

/**
 * Returns the weight of all znodes that are there for clients, levels included, in bytes. Rejects with
 * `OperatingError`.
 */
export async function weigh(store: Store): Promise<number> {
  let weight = await weighPieces(store);
  for (const root of filled)
    await walk(store, root, (path, { data }) => {
      weight += nodeWeightOf(path, data.length);
    });
  return weight;
}

/** Weighs the pieces of large messages: they are not read for it where the store says how long they are. */
async function weighPieces(store: Store): Promise<number> {
  let weight = 0;
  for (const id of await children(store, partsPath)) {
    const above = payloadPath(id);
    const all = [above, ...(await children(store, above)).map((name) => `${above}/${name}`)];
    for (let at = 0; at < all.length; at += mirrorPageMax) {
      const paths = all.slice(at, at + mirrorPageMax);
      const lengths = await lengthsOf(store, paths);
      paths.forEach((path, index) => {
        const length = lengths[index];
        if (length !== undefined) weight += nodeWeightOf(path, length);
      });
    }
  }
  return weight;
}

/** Returns the bytes of each node's data; undefined: it is gone. */
async function lengthsOf(store: Store, paths: readonly string[]): Promise<(number | undefined)[]> {
  const stats = await read(
    store,
    paths.map((path) => ({ kind: "exists", path })),
  );
  const lengths: (number | undefined)[] = [];
  for (const [index, found] of stats.entries()) {
    let length = hasStat(found) ? found.stat.dataLength : undefined;
    if (hasStat(found) && length === undefined) {
      const [node] = await read(store, [{ kind: "get", path: paths[index]! }]);
      length = hasData(node) ? node.data.length : undefined;
    }
    lengths.push(length);
  }
  return lengths;
}
