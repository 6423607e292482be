/** `mqttzoo bank`: against a broker that runs alone, and against a cluster. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { executable } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bank-"));
let port: number;
let broker: ReturnType<typeof Bun.spawn>;
let cluster: Cluster;

beforeAll(async () => {
  port = await freePort();
  const flags = ["--bank-capital", "2000", "--log-level", "error"];
  broker = Bun.spawn([executable, ...brokerArguments(port, folder), ...flags], { stdout: "ignore" });
  await untilListening(port);
  cluster = await startCluster(["a", "b"], { bankCapital: 3000 });
}, 60_000);
afterAll(async () => {
  broker.kill("SIGKILL");
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function bank(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([executable, "bank", ...words], { stdout: "pipe", stderr: "pipe", env: {} });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

// biome-ignore lint/suspicious/noExplicitAny: rows of many kinds.
async function rows(...words: string[]): Promise<any[]> {
  const { out, err } = await bank(...words, "--json");
  if (err !== "") throw new Error(err);
  return out
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** Publishes to an absent session until the bank refuses; returns how many were taken, and the refusal. */
async function fill(at: number, topic: string): Promise<{ taken: number; refusal: AnyPacket }> {
  const publisher = await RawClient.connect(at, { protocolVersion: 5 });
  for (let taken = 0; ; taken++) {
    publisher.publish(topic, "x".repeat(200), { qos: 1, messageId: (taken % 60_000) + 1 });
    const refusal = await publisher.take("puback");
    if (refusal.reasonCode !== 0x97) continue;
    publisher.disconnect();
    return { taken, refusal };
  }
}

async function away(at: number, clientId: string, filter: string): Promise<void> {
  const client = await RawClient.connect(at, { clean: false, clientId });
  await client.subscribe(filter, { qos: 1 });
  client.disconnect();
  await client.untilClosed();
}

test("a broker alone: filled to its last credits, refused in words, emptied again; it always balances", async () => {
  const where = ["--data", folder];
  expect(await rows("balance", ...where)).toMatchObject([{ account: "(capital)", granted: 2000, bound: 0 }, {}, {}]);
  await away(port, "away", "home/#");
  const { taken, refusal } = await fill(port, "home/x");
  expect(refusal.properties.reasonString).toMatch(/price [\d.]+, balance [\d.]+ credits.*try again in/);
  const [all] = await rows("balance", ...where);
  expect(all).toMatchObject({ granted: 2000, messages: taken });
  expect(all.free).toBeLessThan(110);
  expect((await bank("audit", ...where)).code).toBe(0);
  expect(await rows("statement", "--by", "client", ...where)).toMatchObject([{ client: "away", messages: taken }]);
  const listed = await rows("mail", "list", "home/+", ...where);
  expect(listed.length).toBe(taken);
  expect((await bank("mail", "show", listed[0].path, ...where)).out).toBe(`${"x".repeat(200)}\n`);
  const reader = await RawClient.connect(port, { clean: false, clientId: "away" });
  for (const { messageId } of await reader.takeMany("publish", taken)) reader.send({ cmd: "puback", messageId });
  await eventually(async () => (await rows("balance", ...where))[0].bound === 0, "all credits come back", 10_000);
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
  const busy = await bank("deposit", "5", ...where);
  expect([busy.code, busy.err.trim().split("\n").length]).toEqual([1, 1]);
  expect(busy.err).toContain("a broker is using");
}, 60_000);

test("a cluster: filled from two brokers to its last credits, raised while it runs, lowered, dropped", async () => {
  const where = ["--zk", cluster.zk];
  await away(cluster.port(0), "gone", "fill/#");
  const both = await Promise.all([fill(cluster.port(0), "fill/a"), fill(cluster.port(1), "fill/b")]);
  const [all] = await rows("balance", ...where);
  expect(all).toMatchObject({ granted: 3000, messages: both[0].taken + both[1].taken });
  // Nobody could have stored one more: what is free everywhere together is less than two messages cost.
  expect(all.free).toBeLessThan(2 * 110);
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
  expect(await rows("deposit", "1000", ...where)).toEqual([{ changed: 1000, capital: 4000 }]);
  expect((await fill(cluster.port(1), "fill/more")).taken).toBeGreaterThan(3);
  expect(await rows("mail", "drop", "fill/a", ...where)).toEqual([{ dropped: both[0].taken }]);
  await eventually(async () => (await fill(cluster.port(0), "fill/c")).taken > 0, "credits come back", 20_000);
  const publisher = await RawClient.connect(cluster.port(0), { protocolVersion: 5 });
  await eventually(
    async () => {
      const properties = { messageExpiryInterval: 1 };
      publisher.publish("fill/short", "x", { qos: 1, messageId: 1, properties });
      return (await publisher.take("puback")).reasonCode === 0;
    },
    "a message that is kept for a second is taken",
    20_000,
  );
  await eventually(async () => (await rows("sweep", ...where))[0].swept > 0, "its time is over", 10_000);
  expect(await rows("mail", "list", "fill/short", ...where)).toEqual([]);
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
}, 60_000);

test("the console, on a terminal", async () => {
  const command = `${executable} bank --zk ${cluster.zk}`;
  const child = Bun.spawn(["script", "-qec", command, "/dev/null"], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  let seen = "";
  const reading = (async () => {
    for await (const bytes of child.stdout) seen += Buffer.from(bytes).toString();
  })();
  const say = async (line: string, answer: string): Promise<void> => {
    const from = seen.length;
    child.stdin.write(`${line}\n`);
    await child.stdin.flush();
    await eventually(() => seen.slice(from).includes(answer), `${answer} after ${line}`, 10_000);
  };
  await eventually(() => seen.includes("bank>"), "a prompt", 10_000);
  await say("help mail", "mail drop");
  await say("quote 256 30", "10.2");
  await say("audit", "it balances");
  await say("statement nobody", "is none of topic, client, branch, age");
  await say("nonsense", "Invalid Command");
  child.stdin.write("quit\n");
  await child.stdin.flush();
  expect(await child.exited).toBe(0);
  await reading;
  const alone = await bank();
  expect([alone.code, alone.err]).toEqual([2, "mqttzoo: name a command; without one the console needs a terminal\n"]);
}, 60_000);

test("a quote, and mistakes in one line", async () => {
  expect(await rows("quote", "256", "--ttl", "30")).toEqual([{ bytes: 256, ttl: 30, least: 10.2, most: 10.2 }]);
  for (const words of [
    ["quote", "many"],
    ["audit", "--data", `${folder}-none`],
    ["mail", "list", "a#", "--data", folder],
  ]) {
    const { code, err } = await bank(...words);
    expect(code).not.toBe(0);
    expect(err.trim().split("\n").length).toBe(1);
  }
});
