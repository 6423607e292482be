/** The brokers of a cluster, as ZooKeeper knows them, those that answer soonest first. */

import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { decodeFacts } from "../../src/broker/peers/peer.ts";
import { dialable, type Place } from "../../src/client/dial.ts";
import { brokersPath } from "../../src/coordinator/paths.ts";
import type { KeeperFiles } from "../../src/server/operator-files.ts";
import { withCluster } from "./open-tree.ts";

/** A broker that has not taken a connection by then goes to the end of the line; in ms. */
const patience = 1000;

/**
 * Lists the brokers of a cluster, the quickest first; those that are about to leave are left out. A busy broker takes
 * connections later, so the order goes by load as well. Throws `OperatingError`.
 */
export async function findBrokers(zk: string, files: KeeperFiles): Promise<Place[]> {
  const places = await readPlaces(zk, files);
  const timed = await Promise.all(
    places.map(async (place) => {
      const startedAt = systemClock.now();
      const isThere = await dialable(place.host, place.port, patience);
      return { place, ms: isThere ? systemClock.now() - startedAt : Infinity };
    }),
  );
  return timed.sort((a, b) => a.ms - b.ms).map(({ place }) => place);
}

async function readPlaces(zk: string, files: KeeperFiles): Promise<Place[]> {
  const facts = await withCluster({ zk, what: "brokers", ...files }, async (zookeeper) => {
    const { children } = await zookeeper.children(brokersPath);
    return Promise.all(
      children.map(async (name) => {
        const node = await zookeeper.get(`${brokersPath}/${name}`).catch(() => undefined);
        const said = node && decodeFacts(node.data);
        return said === undefined ? [] : [said];
      }),
    );
  });
  const places = facts.flat().filter(({ draining, port }) => !draining && port > 0);
  if (places.length === 0) throw new OperatingError("EZOOKEEPER", `there is no broker in the cluster at ${zk} now`);
  return places.map(({ host, port }) => ({ host, port }));
}
