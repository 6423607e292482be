/** The weight of what clients make the store keep: all of it is walked over, whoever pays. */
import { type Store, walk } from "../coordinator/mirror.ts";
import {
  partsPath,
  publishersPath,
  retainedPath,
  sessionsPath,
  subscribersPath,
  topicsPath,
  willsPath,
} from "../coordinator/paths.ts";
import { nodeWeightOf } from "../coordinator/weight.ts";

/** The parts of the tree that clients fill. */
const filled = [topicsPath, retainedPath, partsPath, subscribersPath, publishersPath, willsPath, sessionsPath] as const;

/**
 * Returns the weight of all znodes that are there for clients, levels included, in bytes. Rejects with
 * `OperatingError`.
 */
export async function weigh(store: Store): Promise<number> {
  let weight = 0;
  for (const root of filled)
    await walk(store, root, (path, { data }) => {
      weight += nodeWeightOf(path, data.length);
    });
  return weight;
}
