/** The weight of the pieces of large messages that clients make the store keep, whoever pays. */
import { mirrorPageMax } from "../base/limits.ts";
import { children, read, type Store } from "../coordinator/mirror.ts";
import { partsPath, payloadPath } from "../coordinator/paths.ts";
import { hasData, hasStat } from "../coordinator/read-results.ts";
import { nodeWeightOf } from "../coordinator/weight.ts";

/**
 * Returns the weight of the znodes of payloads in pieces, in bytes: they are not read for it where the store says how
 * long they are. Rejects with `OperatingError`.
 */
export async function weighPieces(store: Store): Promise<number> {
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
