/**
 * Troubles of a cluster of two, planted: ZooKeeper is down, members of a shared group go, links' certificates end. An
 * operator who looks is told in words what is wrong, and when it is over.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually } from "../support/broker.ts";
import { makeAuthority } from "../support/certificates.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";
import { type Ensemble, startEnsemble } from "../support/zookeeper.ts";

const authority = makeAuthority();
let ensemble: Ensemble;
let cluster: Cluster;
let api: ApiClient;
let httpPort: number;
beforeAll(async () => {
  ensemble = await startEnsemble(1);
  await ensemble.ready();
  httpPort = await freePort();
  const { cert, key } = authority.issue("link", { days: 3 });
  const tls = { linkTls: true, linkTlsCa: authority.ca, linkTlsCert: cert, linkTlsKey: key, advertise: "localhost" };
  cluster = await startCluster(["a"], { zk: `${ensemble.connect}/troubles`, httpPort, httpHost: "127.0.0.1", ...tls });
  await cluster.add("b", { httpPort: 0 });
  api = await ApiClient.open(httpPort);
}, 240_000);
afterAll(async () => {
  await cluster?.stop();
  await ensemble?.stop();
  authority.remove();
});

// biome-ignore lint/suspicious/noExplicitAny: rows of the API, whose schema has been checked.
type Row = Record<string, any>;
const kept = { clean: false, properties: { sessionExpiryInterval: 3600 } };
/** The findings about a topic; with a client: why that does not get messages on it. */
const findings = async (topic: string, clientId?: string): Promise<Row[]> =>
  (await api.get(`/explain${clientId === undefined ? "/message?" : `?client_id=${clientId}&`}topic=${topic}`)).findings;
const told = async (topic: string, clientId?: string): Promise<string> =>
  (await findings(topic, clientId)).map(({ text }) => text).join("\n");
const shownTroubles = async (): Promise<string> => {
  const { out } = await runExecutable(["show", "troubles", "--api", `http://127.0.0.1:${httpPort}`]);
  return out;
};

const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  return Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1]);
};

async function publish(index: number, topic: string): Promise<void> {
  const publisher = await RawClient.connect(cluster.port(index), { protocolVersion: 5, clientId: "publisher" });
  publisher.publish(topic, "x", { qos: 1, messageId: 1 });
  await publisher.take("puback");
  publisher.disconnect();
}

test("a certificate for links that ends soon", async () => {
  expect(await shownTroubles()).toMatch(
    /^a +certificate +the certificate that other brokers are shown ends in 2 days/m,
  );
});

test("members of a group that have gone", async () => {
  const here = await RawClient.connect(cluster.port(0), { protocolVersion: 5, clientId: "here" });
  const there = await RawClient.connect(cluster.port(1), { protocolVersion: 5, clientId: "there", ...kept });
  for (const member of [here, there]) await member.subscribe("$share/g/work/#", { qos: 1 });
  const group = "members of $share/g/work/#";
  await eventually(async () => (await told("work/1")).includes(`one of 2 ${group}`), "both are known");
  here.abort();
  await eventually(async () => (await told("work/1")).includes(`one of 1 ${group}`), "one has gone");
  there.abort();
  await eventually(async () => (await told("work/1", "there")).includes("there is not connected"), "the other is away");
  await publish(0, "work/1");
  const away = { broker: "b", cause: "away", weight: "certain" };
  expect(await findings("work/1")).toContainEqual({ ...away, text: expect.stringContaining("no member of $share/g/") });
  expect(await told("work/1")).toContain(`one of 1 ${group} gets each message, 1 of them is away, and kept here`);
  const { text } = (await findings("work/1", "there")).find(({ cause }) => cause === "away")!;
  expect(text).toContain("wait in its mailbox (1 do)");
  const back = await RawClient.connect(cluster.port(1), { protocolVersion: 5, clientId: "there", ...kept });
  const got = await back.take("publish");
  back.send({ cmd: "puback", messageId: got.messageId });
  back.disconnect();
}, 60_000);

test("ZooKeeper is down, and comes back", async () => {
  expect(await shownTroubles()).not.toContain("no contact");
  await ensemble.servers[0]!.kill("SIGKILL");
  const checks = async (): Promise<Row[]> =>
    (await api.get("/overview")).brokers.flatMap((row: Row) =>
      row.checks.map((check: Row) => ({ ...check, broker: row.broker })),
    );
  await eventually(
    async () => (await checks()).filter(({ name, ok }) => name === "store" && !ok).length === 2,
    "both see it",
  );
  for (const broker of ["a", "b"]) {
    const text = expect.stringContaining("no contact with the store");
    expect(await findings("work/1", "there")).toContainEqual({
      broker,
      cause: "store",
      weight: expect.anything(),
      text,
    });
    const line = new RegExp(`^${broker} +store +no contact; what needs it waits, unacknowledged: ZooKeeper at `, "m");
    expect(await shownTroubles()).toMatch(line);
  }
  expect(await metric("mqttzoo_store_connected")).toBe(0);
  ensemble.servers[0]!.start();
  await eventually(async () => (await checks()).every(({ ok }) => ok), "it is over", 120_000);
  expect(await shownTroubles()).not.toContain("no contact");
}, 240_000);
