/** `mqttzoo show` against a real cluster. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { parentPath, sessionPath } from "../../src/coordinator/paths.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { executable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(["left", "right"]);
  const keeps = await RawClient.connect(cluster.port(0), { clean: false, clientId: "keeps" });
  await keeps.subscribe("home/+/temp", { qos: 1 });
  const passes = await RawClient.connect(cluster.port(1));
  await passes.subscribe("home/#");
  await passes.subscribe("@odd//level");
  passes.publish("home/kitchen/temp", "21");
  keeps.publish("home/kitchen/temp", "22");
  keeps.publish("home//odd", "23", { qos: 1, messageId: 1 });
  // What a broker that is gone has left, and an earlier life of one that is there, counts for nothing.
  const zookeeper = await ZooKeeper.connect(cluster.zk);
  await zookeeper.create("/subscribers/home/#/@gone", encodeUtf8("1"));
  await zookeeper.create("/subscribers/home/#/@left", encodeUtf8("1"));
  await zookeeper.create("/publishers/left-over", noBytes);
  await zookeeper.create("/publishers/left-over/@gone", encodeUtf8("1"));
  await zookeeper.close();
}, 120_000);
afterAll(() => cluster.stop());

async function show(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([executable, "show", ...words], { stdout: "pipe", stderr: "pipe", env: {} });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

test("brokers, clients and subscriptions, as JSON", async () => {
  const rows = async (what: string) =>
    (await show(what, "--zk", cluster.zk, "--json")).out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  expect(await rows("brokers")).toMatchObject([
    { id: "left", host: "127.0.0.1", port: cluster.port(0), draining: false },
    { id: "right", port: cluster.port(1) },
  ]);
  expect(await rows("clients")).toEqual([
    { client: "keeps", broker: "left", connected: true, waiting: 0, expires: null },
  ]);
  expect(await rows("subscriptions")).toEqual([
    { filter: "@odd//level", client: "*", broker: "right" },
    { filter: "home/#", client: "*", broker: "right" },
    { filter: "home/+/temp", client: "keeps", broker: null },
  ]);
});

test("what is not a broker's is named, with how much of it there is", async () => {
  const zookeeper = await ZooKeeper.connect(cluster.zk);
  const shard = parentPath(sessionPath("keeps"));
  const strangers = ["/brokers/odd", `${shard}/odd`];
  for (const path of strangers) await zookeeper.create(path, encodeUtf8("{}"));
  expect((await show("brokers", "--zk", cluster.zk)).err).toContain(
    '1 znode is not the broker\'s, and left out: "/brokers/odd"',
  );
  expect((await show("clients", "--zk", cluster.zk)).err).toContain(`left out: "${shard}/odd"`);
  for (const path of strangers) await zookeeper.delete(path);
  await zookeeper.close();
});

test("who publishes what: registered within seconds, once for each broker", async () => {
  const rows = async (): Promise<string[]> =>
    (await show("publishers", "--zk", cluster.zk, "--json")).out.trim().split("\n");
  await eventually(async () => (await rows()).length === 3, "all topics are registered", 60_000);
  expect((await rows()).map((line) => JSON.parse(line))).toEqual([
    { topic: "home//odd", broker: "left" },
    { topic: "home/kitchen/temp", broker: "left" },
    { topic: "home/kitchen/temp", broker: "right" },
  ]);
});

test("for people, in columns; mistakes in one line", async () => {
  const { out } = await show("clients", "--zk", cluster.zk);
  expect(out).toBe("CLIENT  BROKER  CONNECTED  WAITING  EXPIRES\nkeeps   left    true       0        -\n");
  const nowhere = await show("brokers", "--zk", `${cluster.zk}-none`);
  expect([nowhere.code, nowhere.err.trim().split("\n").length]).toEqual([1, 1]);
  expect(nowhere.err).toContain("there is no cluster at this chroot");
  expect((await show("brokers")).err).toContain("--zk zk1:2181");
});
