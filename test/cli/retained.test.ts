/** `mqttzoo retained`: whose retained messages there are, and clearing those of who may not publish there any more. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-retained-"));
const data = join(folder, "data");
const users = join(folder, "users");
const acl = join(folder, "acl");
let port: number;
let broker: ReturnType<typeof Bun.spawn>;
let cluster: Cluster;

beforeAll(async () => {
  for (const user of ["alice", "mallory"]) await runExecutable(["passwd", users, user], { input: `pw-${user}\n` });
  port = await freePort();
  const flags = ["--log-level", "error", "--password-file", users, "--allow-anonymous"];
  broker = Bun.spawn([executable, ...brokerArguments(port, data), ...flags], { stdout: "ignore" });
  await untilListening(port);
  cluster = await startCluster(["a", "b"]);
}, 120_000);
afterAll(async () => {
  broker.kill("SIGKILL");
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: rows of both commands.
async function rows(...words: string[]): Promise<any[]> {
  const { code, out, err } = await runExecutable(["retained", ...words, "--json"]);
  if (code !== 0) throw new Error(err);
  return out.split("\n").flatMap((line) => (line.trim() === "" ? [] : [JSON.parse(line)]));
}

const topicsOf = (found: { topic: string }[]): string[] => found.map(({ topic }) => topic);

async function retain(at: number, topics: readonly string[], username?: string, payload = "on"): Promise<void> {
  const credentials = username === undefined ? {} : { username, password: `pw-${username}` };
  const client = await RawClient.connect(at, credentials);
  for (const [index, topic] of topics.entries()) {
    client.publish(topic, payload, { qos: 1, messageId: index + 1, retain: true });
    await client.take("puback");
  }
  client.disconnect();
  await client.untilClosed();
}

/** The topics of what a new subscriber is handed. */
async function handed(at: number, filter: string): Promise<string[]> {
  const client = await RawClient.connect(at);
  await client.subscribe(filter);
  await client.ping();
  client.disconnect();
  return client.packets.flatMap(({ cmd, topic }) => (cmd === "publish" ? [String(topic)] : [])).sort();
}

async function boundBy(user: string, ...where: string[]): Promise<number> {
  const { out } = await runExecutable(["bank", "statement", "--by", "user", "--json", ...where]);
  const holders = out.split("\n").flatMap((line) => (line.trim() === "" ? [] : [JSON.parse(line)]));
  return holders.find((holder) => holder.user === user)?.messages ?? 0;
}

async function balances(...where: string[]): Promise<void> {
  expect((await runExecutable(["bank", "audit", ...where])).out).toBe("it balances\n");
}

test("a broker alone: what a revoked writer has left is listed, tried, and cleared; all else stays", async () => {
  const where = ["--data", data];
  await retain(port, ["home/a", "home/a/b", "own/alice"], "alice");
  await retain(port, ["home/m", "home/a/m", "own/mallory", "own/mallory/x"], "mallory");
  await retain(port, ["open/x", "home/nobody"]);
  const all = ["home/a", "home/a/b", "home/a/m", "home/m", "home/nobody", "open/x"];
  const mine = ["own/alice", "own/mallory", "own/mallory/x"];
  expect(topicsOf(await rows("list", ...where))).toEqual([...all, ...mine]);
  const [first] = await rows("list", "home/#", "--user", "mallory", ...where);
  expect(first).toMatchObject({ topic: "home/a/m", user: "mallory", expires: null });
  expect(first.credits).toBeGreaterThan(0);
  expect(topicsOf(await rows("list", "--user", "", ...where))).toEqual(["home/nobody", "open/x"]);
  const [surprise] = await rows("get", "own/mallory/x", ...where);
  expect(surprise).toMatchObject({ user: "mallory", broker: hostname(), payload: "on" });
  expect(surprise.client_id).toMatch(/^./);
  expect(Date.now() - Date.parse(surprise.retained_at)).toBeLessThan(60_000);
  const { out } = await runExecutable(["retained", "get", "own/mallory/x", ...where]);
  expect(out).toMatch(/^user +mallory$/m);
  expect((await runExecutable(["retained", "get", "own/none", ...where])).err).toContain("nothing is retained on that");
  writeFileSync(acl, "topic open/#\nuser alice\ntopic home/#\npattern own/%u/#\npattern deny own/%u/%c\n");
  const notAllowed = ["--not-allowed", "--acl-file", acl];
  const gone = ["home/a/m", "home/m", "home/nobody"];
  // mallory may be any client there; the denial is one client's only.
  expect(topicsOf(await rows("list", ...notAllowed, ...where))).toEqual(gone);
  expect(await rows("clear", ...notAllowed, "--dry-run", ...where)).toMatchObject(
    gone.map((topic) => ({ topic, cleared: "no: dry run" })),
  );
  expect(await handed(port, "#")).toEqual([...all, ...mine]);
  expect(await rows("clear", ...notAllowed, ...where)).toMatchObject(gone.map((topic) => ({ topic, cleared: "yes" })));
  expect(await handed(port, "#")).toEqual(["home/a", "home/a/b", "open/x", ...mine]);
  await balances(...where);
  await eventually(async () => (await boundBy("mallory", ...where)) === 2, "her credits come back");
  // With the brokers' users: whoever has been taken out may publish nowhere.
  await runExecutable(["passwd", users, "mallory", "--delete"]);
  const files = [...notAllowed, "--password-file", users];
  // One below another: the upper one goes, and the lower one does not go with it.
  expect(topicsOf(await rows("clear", "own/mallory", ...files, ...where))).toEqual(["own/mallory"]);
  expect(await handed(port, "own/#")).toEqual(["own/alice", "own/mallory/x"]);
  expect(topicsOf(await rows("clear", ...files, ...where))).toEqual(["own/mallory/x"]);
  expect(await handed(port, "own/#")).toEqual(["own/alice"]);
  await balances(...where);
}, 120_000);

test("a cluster: all brokers see it, credits come back to the branch that paid, no level stays behind", async () => {
  const where = ["--zk", cluster.zk];
  await retain(cluster.port(0), ["deep/x/y/z", "deep/keep"]);
  await retain(cluster.port(1), ["deep/x", "deep/large"], undefined, "L".repeat(1_500_000));
  const bound = async (): Promise<number[]> => {
    const { out } = await runExecutable(["bank", "balance", "--json", ...where]);
    const accounts = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    return ["a", "b"].map((name) => accounts.find(({ account }) => account === name).bound);
  };
  const zookeeper = await ZooKeeper.connect(cluster.zk);
  // The brokers register what is published on, and pay for that as well: some seconds later, each all of it at once.
  const isRegistered = async (topic: string, by: string): Promise<boolean> => {
    const found = await zookeeper.children(`/publishers/${topic}`).catch(() => ({ children: [] as readonly string[] }));
    return found.children.includes(by);
  };
  for (const [topic, by] of [
    ["deep/keep", "@a"],
    ["deep/large", "@b"],
  ] as const)
    await eventually(() => isRegistered(topic, by), "the topics to be registered");
  const before = await bound();
  expect(before[1]).toBeGreaterThan(100_000);
  expect(topicsOf(await rows("clear", "deep/x/#", ...where))).toEqual(["deep/x", "deep/x/y/z"]);
  expect(topicsOf(await rows("clear", "deep/large", ...where))).toEqual(["deep/large"]);
  for (const at of [0, 1])
    await eventually(async () => (await handed(cluster.port(at), "deep/#")).join() === "deep/keep", "all see it");
  await eventually(async () => {
    const [one, other] = await bound();
    return one! < before[0]! && other! < 1_000;
  }, "credits come back");
  await balances(...where);
  expect((await zookeeper.children("/retained/deep")).children).toEqual(["keep"]);
  expect((await zookeeper.children("/parts")).children).toEqual([]);
  await zookeeper.close();
  // The command for all kinds of stored messages leaves what is below alone, too.
  await retain(cluster.port(0), ["drop", "drop/below"]);
  await runExecutable(["bank", "mail", "drop", "drop", ...where]);
  await eventually(async () => (await handed(cluster.port(1), "drop/#")).join() === "drop/below", "it has gone");
}, 120_000);

test("what is not said, or cannot be, is refused in one line", async () => {
  const where = ["--data", data];
  for (const [words, why] of [
    [["clear"], "say what to clear: a topic filter ('#': all), --user or --not-allowed"],
    [["list", "--not-allowed"], "--not-allowed needs the brokers' --acl-file, --password-file or both"],
    [["list", "a/#/b"], '"a/#/b" is no topic filter'],
    [["list", "--not-allowed", "--acl-file", "/nowhere"], "cannot read /nowhere"],
  ] as const) {
    const { code, err } = await runExecutable(["retained", ...words, ...where]);
    expect([code, err]).toEqual([2, expect.stringContaining(why)]);
  }
  writeFileSync(acl, "topick a\n");
  const { err } = await runExecutable(["retained", "list", "--not-allowed", "--acl-file", acl, ...where]);
  expect(err).toContain(`${acl}: line 1`);
});
