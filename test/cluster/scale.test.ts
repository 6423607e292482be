/**
 * Large numbers in a cluster of processes: many filters subscribed at once at three brokers, a broker that joins when
 * they are there, and a flood over a link that is slower than its publisher. `bun run bench:scale` measures more.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type BenchCluster, startBenchCluster } from "../bench/cluster-brokers.ts";
import { filterOf, subscribeStorm } from "../bench/storm.ts";
import { eventually } from "../support/broker.ts";
import { cpuMsOf, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const filters = 100_000;
const retained = 10_000;

let cluster: BenchCluster;
let clients: RawClient[];
beforeAll(async () => {
  // Each filter of four levels costs some 100 credits.
  cluster = await startBenchCluster(3, 1, ["--bank-capital", "100000000"]);
  clients = await Promise.all(cluster.brokers.map(({ port }) => RawClient.connect(port)));
}, 120_000);
afterAll(() => cluster.stop());

async function subscriptionsAt(port: number): Promise<number> {
  const client = await RawClient.connect(port);
  await client.subscribe("$SYS/broker/subscriptions/count");
  const { payload } = await client.take("publish");
  client.disconnect();
  return Number(payload.toString());
}

test(`${filters.toLocaleString("en")} filters through three brokers, which all agree at the end`, async () => {
  const before = await cluster.transactions();
  const perSecond = await subscribeStorm(clients, filters);
  const transactions = (await cluster.transactions()) - before;
  console.log(
    `${Math.round(perSecond).toLocaleString("en")} subscriptions/s, all brokers routing by them; ${transactions} transactions`,
  );
  // How many it is in a second is the machine's doing: how many are stored together is not.
  expect(transactions).toBeLessThan(filters / 50);
  // Whatever was acknowledged is routed by at every broker.
  for (let round = 0; round < 30; round++) {
    const number = Math.floor((filters / 30) * round);
    const publisher = await RawClient.connect(cluster.brokers[round % 3]!.port);
    publisher.publish(filterOf(number).replace("+", "x"), String(number), { qos: 1, messageId: 1 });
    await publisher.take("puback");
    publisher.disconnect();
  }
  const arrived = (): number => clients.reduce((sum, { packets }) => sum + packets.length, 0);
  await eventually(() => arrived() === 30, "one message for each of thirty filters");
  for (const { port } of cluster.brokers)
    await eventually(async () => (await subscriptionsAt(port)) >= filters, "all are counted", 60_000);
}, 600_000);

test(`a broker joins a cluster with them and ${retained.toLocaleString("en")} retained messages in seconds`, async () => {
  const publisher = await RawClient.connect(cluster.brokers[0]!.port);
  for (let at = 0; at < retained; at += 1000) {
    for (let index = at; index < at + 1000; index++)
      publisher.publish(`kept/${index % 100}/${index}`, "x".repeat(50), { qos: 1, messageId: index + 1, retain: true });
    await publisher.takeMany("puback", 1000);
  }
  const startedAt = performance.now();
  const { port, pid } = await cluster.add();
  const seconds = (performance.now() - startedAt) / 1000;
  const workSeconds = cpuMsOf(pid) / 1000;
  console.log(`joined in ${seconds.toFixed(2)} s, of which it worked ${workSeconds.toFixed(2)} s`);
  const reader = await RawClient.connect(port);
  await reader.subscribe("kept/#");
  await reader.takeMany("publish", retained);
  await eventually(async () => (await subscriptionsAt(port)) >= filters, "all are counted", 60_000);
  expect(workSeconds).toBeLessThan(20);
}, 600_000);

test("a flood at QoS 0 over a link arrives whole, and its publisher is not forgotten", async () => {
  const [{ port: there }, { port }] = [cluster.brokers[0]!, cluster.brokers[1]!];
  const messages = 20_000;
  // In a process of its own: a subscriber that does not read for a quarter of a second is not waited for.
  const count = ["-C", String(messages), "-W", "60"];
  const reading = runExecutable(["sub", "-p", String(port), "-t", "flood", "-F", "%l", "-i", "flooded", ...count]);
  const publisher = await RawClient.connect(there, { protocolVersion: 5 });
  const isRead = async (): Promise<boolean> => {
    publisher.publish("flood", "", { qos: 1, messageId: 1 });
    return (await publisher.take("puback")).reasonCode === 0;
  };
  await eventually(isRead, "the subscriber is there");
  const payload = "x".repeat(2000);
  for (let index = 1; index < messages; index++) publisher.publish("flood", payload);
  const { code, out } = await reading;
  const lengths = out.trim().split("\n");
  expect([code, lengths.length, lengths.filter((length) => length === "2000").length]).toEqual([
    0,
    messages,
    messages - 1,
  ]);
}, 120_000);
