/**
 * A broker with so many filters, and so many topics published on, that their names would not fit into the one
 * transaction with which ZooKeeper ends a keeper session: it dies, and nobody notices but those who routed to it.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { walk } from "../../src/coordinator/mirror.ts";
import { brokerPath, interestPath } from "../../src/coordinator/paths.ts";
import { ZooKeeperClient } from "../../src/zookeeper/client.ts";
import { PlainStore } from "../../src/zookeeper/plain-store.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { eventually } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";
import { type ClusterProcesses, startClusterProcesses } from "./cluster-processes.ts";

/** Filters, whose names are more than 4 MB together; ZooKeeper refuses to read a transaction above about 1 MB. */
const filters = 22_000;
const perPacket = 500;
const topics = 600;
const padding = "x".repeat(190);
const filterOf = (n: number): string => `f/${n % 100}/${padding}${n}`;
const topicOf = (n: number): string => `t/${n % 10}/${padding}${n}`;
const patienceMs = 120_000;

let cluster: ClusterProcesses;
let client: ZooKeeperClient;
let tree: ZooKeeper;
beforeAll(async () => {
  cluster = await startClusterProcesses(["a", "b"]);
  client = await ZooKeeperClient.connect(`${cluster.ensemble.connect}/chaos`, { sessionTimeoutMs: 20_000 });
  tree = new ZooKeeper(client);
}, 120_000);
afterAll(async () => {
  await client.close();
  await cluster.stop();
});

/** The nodes that stand in the tree under a broker's name. */
async function announcedBy(id: string, root: string): Promise<number> {
  let count = 0;
  await walk(new PlainStore(tree), root, (path) => {
    if (path.endsWith(`/@${id}`)) count++;
  });
  return count;
}

async function isThere(path: string): Promise<boolean> {
  return (await tree.exists(path)) !== undefined;
}

async function settle(publisher: RawClient, topic: string): Promise<void> {
  publisher.publish(topic, "x", { qos: 1, messageId: 1 });
  await publisher.take("puback");
}

test("a broker with more than 4 MB of filters dies: ZooKeeper lives, can be restarted, and the nodes go", async () => {
  const [a, b] = cluster.seats as [(typeof cluster.seats)[0], (typeof cluster.seats)[0]];
  const subscriber = await RawClient.connect(b.port);
  for (let at = 0; at < filters; at += perPacket) {
    const numbers = Array.from({ length: Math.min(perPacket, filters - at) }, (_, index) => at + index);
    const subscriptions = numbers.map((n) => ({ topic: filterOf(n), qos: 1 }));
    subscriber.send({ cmd: "subscribe", messageId: 1 + at / perPacket, subscriptions });
    await subscriber.take("suback");
  }
  for (let n = 0; n < topics; n++) subscriber.publish(topicOf(n), "x");
  const publisher = await RawClient.connect(a.port);
  await settle(publisher, filterOf(filters - 1));
  await subscriber.take("publish");
  await eventually(async () => (await announcedBy("b", "/publishers")) >= 500, "topics are registered", patienceMs);
  expect(await announcedBy("b", "/subscribers")).toBe(filters);

  await b.end("SIGKILL");
  // Asked again if a server is slow to answer.
  await eventually(
    async () => !(await isThere(brokerPath("b")).catch(() => true)),
    "its keeper session ends",
    patienceMs,
  );
  expect(await isThere(interestPath(filterOf(0), "b"))).toBe(true);
  await cluster.ensemble.ready();
  // Nobody waits for those who are gone.
  await settle(publisher, filterOf(1));
  // Each of them reads its log again.
  for (const server of cluster.ensemble.servers) {
    await server.kill();
    server.start();
    await cluster.ensemble.ready();
  }
  const left = async (): Promise<number> =>
    (await announcedBy("b", "/subscribers")) + (await announcedBy("b", "/publishers"));
  await eventually(async () => (await left().catch(() => -1)) === 0, "what it has left is removed", patienceMs);
  await settle(publisher, filterOf(2));
  expect(cluster.wrong()).toEqual([]);
}, 300_000);
