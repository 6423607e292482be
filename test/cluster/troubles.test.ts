/**
 * Troubles of a cluster of three, planted one by one: an operator who looks is told in words what is wrong, and whose
 * it is, by the API, the command line and the metrics.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually } from "../support/broker.ts";
import { makeAuthority } from "../support/certificates.ts";
import { killedAtExit } from "../support/children.ts";
import { type Cluster, linked, startCluster } from "../support/cluster.ts";
import { compilePreload } from "../support/preload.ts";
import { executable, runExecutable } from "../support/process.ts";
import { startProxy, type TcpProxy } from "../support/proxy.ts";
import { RawClient } from "../support/raw-client.ts";

const hourMs = 3_600_000;
const authority = makeAuthority();
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-troubles-"));
const [skewFile, logFile, aclFile] = ["skew", "log", "acl"].map((name) => join(folder, name)) as Three;
let cluster: Cluster;
let api: ApiClient;
let httpPort: number;
/** Between `a`, which dials, and `b`. */
let proxy: TcpProxy;
/** A broker whose machine's clock is wrong. */
let wrong: Bun.Subprocess;

beforeAll(async () => {
  httpPort = await freePort();
  const { cert, key } = authority.issue("broker", { days: 3 });
  writeFileSync(aclFile, "topic readwrite #\ntopic deny secret/#\n");
  const http = { httpPort, httpHost: "127.0.0.1" };
  cluster = await startCluster(["a"], { ...http, aclFile, tlsCert: cert, tlsKey: key, tlsPort: 0 });
  const linkPort = await freePort();
  proxy = startProxy({ host: "127.0.1.7", port: linkPort }, { host: "127.0.0.1", port: linkPort });
  await cluster.add("b", { linkPort, advertise: "127.0.1.7", httpPort: 0 });
  api = await ApiClient.open(httpPort);
  writeFileSync(skewFile, String(hourMs));
  const places = ["--host", "127.0.0.1", "--port", "0", "--link-host", "127.0.0.1", "--link-port", "0"];
  const args = ["broker", "--id", "wrong", "--zk", cluster.zk, ...places, "--advertise", "127.0.0.1"];
  const env = { ...process.env, LD_PRELOAD: compilePreload("skewed-clock"), SKEW_FILE: skewFile };
  const stdio = { stdout: "ignore", stderr: Bun.file(logFile) } as const;
  const how = ["--log-format", "json", "--zk-session-timeout", "4"];
  wrong = killedAtExit(Bun.spawn([executable, ...args, ...how], { ...stdio, env }));
}, 60_000);
afterAll(async () => {
  wrong?.kill("SIGKILL");
  await cluster?.stop();
  proxy?.stop();
  authority.remove();
  rmSync(folder, { recursive: true, force: true });
});

type Three = [string, string, string];
// biome-ignore lint/suspicious/noExplicitAny: rows of the API, whose schema has been checked.
type Row = Record<string, any>;
const brokerRow = async (id: string): Promise<Row | undefined> =>
  (await api.get("/overview")).brokers.find(({ broker }: Row) => broker === id);
const linkRow = async (id: string, peer: string): Promise<Row | undefined> =>
  (await brokerRow(id))?.links.find(({ broker }: Row) => broker === peer);
const near = (value: unknown, wanted: number): boolean => Math.abs(Number(value ?? Number.NaN) - wanted) < 5_000;
const metric = async (name: string, labels = ""): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  return Number(new RegExp(`^${name}${labels} (.+)$`, "m").exec(text)?.[1]);
};
const shown = async (what: string): Promise<Row[]> => {
  const { out } = await runExecutable(["show", what, "--api", `http://127.0.0.1:${httpPort}`, "--json"]);
  return out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
};
/** Waits until a trouble is named. */
const named = (broker: string, what: string, words: string): Promise<void> =>
  eventually(
    async () =>
      (await brokerRow(broker))?.troubles.some(({ name, text }: Row) => name === what && text.includes(words)) === true,
    `${broker} names a trouble of ${what}`,
  );

test("a clock that is wrong: by how much, and whose it is", async () => {
  const ahead = async (id: string, peer: string) => (await linkRow(id, peer))?.clock_ahead_ms;
  await eventually(async () => near(await ahead("a", "wrong"), hourMs), "it is measured");
  await eventually(async () => near(await ahead("wrong", "a"), -hourMs), "from there, too");
  expect(near((await brokerRow("a"))!.clock_ahead_ms, 0)).toBe(true);
  await eventually(
    async () => near((await brokerRow("wrong"))!.clock_ahead_ms, hourMs),
    "it is ZooKeeper's that counts",
  );
  expect(near(1000 * (await metric("mqttzoo_link_clock_ahead_seconds", '{peer="wrong"}')), hourMs)).toBe(true);
  expect(await metric("mqttzoo_link_clock_uncertainty_seconds", '{peer="wrong"}')).toBeLessThan(5);
  expect(near(1000 * (await metric("mqttzoo_store_clock_ahead_seconds")), 0)).toBe(true);
  const rows = (await shown("brokers")).map(({ id, clockAheadMs }) => [
    id,
    near(clockAheadMs, id === "wrong" ? hourMs : 0),
  ]);
  expect(Object.fromEntries(rows)).toEqual({ a: true, b: true, wrong: true });
  await named("wrong", "clock", "s ahead of ZooKeeper's");
  await named("a", "clock", "the clock of broker wrong is 3600");
  expect((await brokerRow("a"))!.troubles.filter(({ name }: Row) => name === "clock").length).toBe(1);
  const { findings } = await api.get("/explain?client_id=x&topic=y");
  expect(findings).toContainEqual(expect.objectContaining({ broker: "wrong", cause: "clock", weight: "possible" }));
  const said = (): Row | undefined =>
    readFileSync(logFile, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Row)
      .find(({ peerAheadMs }) => near(peerAheadMs, -hourMs));
  await eventually(() => near(said()?.aheadOfZooKeeperMs, hourMs), "the log names it");
  // The clock is set right.
  writeFileSync(skewFile, "0");
  await eventually(async () => near(await ahead("a", "wrong"), 0), "they agree again");
  await eventually(() => readFileSync(logFile, "utf8").includes("agree again"), "the log says so");
}, 60_000);

test("a certificate that ends soon", async () => {
  await named("a", "certificate", "the broker's certificate ends in 2 days");
});

test("two devices with one client id, and what the access list forbids", async () => {
  const both: RawClient[] = [];
  for (let at = 0; at < 4; at++) {
    const one = await RawClient.connect(cluster.port(1), { protocolVersion: 5, clientId: "twin" });
    both.push(one);
  }
  await named("b", "client id", "two devices use the client id twin");
  const curious = await RawClient.connect(cluster.port(0), { protocolVersion: 5, clientId: "curious" });
  curious.publish("secret/plan", "?", { qos: 1, messageId: 1 });
  await curious.take("puback");
  await named("a", "refused", "for client curious");
  expect(await shown("refusals")).toContainEqual(
    expect.objectContaining({ broker: "a", client: "curious", reason: expect.stringContaining("acl line 2") }),
  );
  for (const one of [...both, curious]) one.abort();
});

test("a link that is cut, though both brokers see ZooKeeper", async () => {
  await eventually(() => linked(cluster.brokers[0]!.broker) === 2, "a has both links");
  proxy.cut('"id":"a"');
  await named("a", "link", "there is no link to broker b since");
  const link = await linkRow("a", "b");
  expect([link!.up, link!.member, typeof link!.down_since, typeof link!.why_down]).toEqual([
    false,
    true,
    "string",
    "string",
  ]);
  expect(await metric("mqttzoo_link_up", '{peer="b"}')).toBe(0);
  expect((await api.get("/overview")).unanswered).toEqual([{ broker: "b", why: "the link to it is down" }]);
  const troubles = await shown("troubles");
  expect(troubles).toContainEqual({ broker: "b", what: "broker", trouble: "is missing: the link to it is down" });
  expect(troubles).toContainEqual({
    broker: "a",
    what: "link",
    trouble: expect.stringContaining("both see ZooKeeper"),
  });
  expect((await shown("brokers")).find(({ id }) => id === "a")!.linksDown).toBe("b");
  const { findings } = await api.get("/explain?client_id=x&topic=y");
  expect(findings).toContainEqual(expect.objectContaining({ broker: "a", cause: "link", weight: "possible" }));
  proxy.heal();
  await eventually(async () => (await linkRow("a", "b"))?.up === true, "it is up again", 60_000);
  expect(await linkRow("a", "b")).toMatchObject({ down_since: null, why_down: null });
  expect((await shown("troubles")).filter(({ what }) => what === "link")).toEqual([]);
}, 90_000);

test("a broker that is lost", async () => {
  wrong.kill("SIGKILL");
  await named("a", "broker", "broker wrong was lost");
  expect(await shown("troubles")).toContainEqual(expect.objectContaining({ broker: "a", what: "broker" }));
}, 60_000);
