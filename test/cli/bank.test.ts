/** `mqttzoo bank`: against a broker that runs alone, and against a cluster. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Moment, plot, sparkline } from "../../cli/bank/watch.ts";
import { markPriceOf, milli } from "../../src/bank/price.ts";
import { version } from "../../src/broker/core/version.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { creditsOf } from "../support/credits.ts";
import { executable, runOnTerminal } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bank-"));
/** More than what a message of 200 bytes costs at most. */
const dear = 1 + creditsOf(256, { topic: "home/x", ttlMs: 86_400_000 });
let port: number;
let broker: ReturnType<typeof Bun.spawn>;
let cluster: Cluster;

beforeAll(async () => {
  port = await freePort();
  const flags = ["--bank-capital", "2000", "--log-level", "error"];
  broker = Bun.spawn([executable, ...brokerArguments(port, folder), ...flags], { stdout: "ignore" });
  await untilListening(port);
  cluster = await startCluster(["a", "b"], { bankCapital: 3000 });
}, 120_000);
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
  // The session and its subscription stay; so does, when the broker comes to it, that somebody publishes on the topics.
  const [{ bound: kept }, , { account: id }] = await rows("balance", ...where);
  expect(kept).toBeGreaterThan(100);
  const [one, other] = ["x", "y"].map((name) => markPriceOf(`/publishers/home/${name}/@${id}`) / milli);
  const isKeptOnly = async (): Promise<boolean> => {
    const beyond = (await rows("balance", ...where))[0].bound - kept;
    return [0, one!, one! + other!].some((price) => Math.abs(beyond - price) < 0.1);
  };
  const { taken, refusal } = await fill(port, "home/x");
  expect(refusal.properties.reasonString).toMatch(/price [\d.]+, balance [\d.]+ credits.*try again in/);
  const [all] = await rows("balance", ...where);
  expect(all).toMatchObject({ granted: 2000, messages: taken });
  // The last sixteenth is for who has less than that.
  expect(all.free).toBeLessThan(dear + 2000 / 16);
  expect((await bank("audit", ...where)).code).toBe(0);
  expect(await rows("statement", "--by", "client", ...where)).toMatchObject([{ client: "away", messages: taken }]);
  const [holder] = await rows("statement", "--by", "user", ...where);
  expect(holder).toMatchObject({ user: "(anonymous)", messages: taken, others: 2 });
  expect(holder.percent).toBeGreaterThan(80);
  const greedy = await bank("audit", "--share", "80", ...where);
  expect([greedy.code, greedy.out]).toEqual([1, expect.stringContaining("anonymous clients hold more than 80 %")]);
  expect((await bank("audit", "--share", "100", ...where)).code).toBe(0);
  const listed = await rows("mail", "list", "home/+", ...where);
  expect(listed.length).toBe(taken);
  expect((await bank("mail", "show", listed[0].path, ...where)).out).toBe(`${"x".repeat(200)}\n`);
  const reader = await RawClient.connect(port, { clean: false, clientId: "away" });
  for (const { messageId } of await reader.takeMany("publish", taken)) reader.send({ cmd: "puback", messageId });
  await eventually(isKeptOnly, "all credits come back");
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
  // Only the broker may write to its folder: it is asked to, and goes on all the while.
  expect(await rows("deposit", "500", ...where)).toEqual([{ changed: 500, capital: 2500 }]);
  expect(await rows("withdraw", "100", ...where)).toEqual([{ changed: -100, capital: 2400 }]);
  const more = await fill(port, "home/y");
  expect(more.taken).toBeGreaterThan(taken / 2);
  expect((await rows("balance", ...where))[0]).toMatchObject({ granted: 2400, messages: more.taken });
  const refusals = async (): Promise<boolean> => (await rows("balance", ...where))[0].refused >= 2;
  await eventually(refusals, "what was refused is told");
  expect(await rows("mail", "drop", "home/y", ...where)).toEqual([{ dropped: more.taken }]);
  await eventually(isKeptOnly, "all credits come back");
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
}, 120_000);

test("mail of one client is listed and dropped, and the others keep theirs", async () => {
  const where = ["--zk", cluster.zk];
  for (const clientId of ["one", "two"]) await away(cluster.port(0), clientId, "both/#");
  await away(cluster.port(0), "three", "both/x");
  const publisher = await RawClient.connect(cluster.port(0));
  for (const [index, topic] of ["both/x", "both/y"].entries()) {
    publisher.publish(topic, "hello", { qos: 1, messageId: index + 1 });
    await publisher.take("puback");
  }
  const topics = async (client: string): Promise<string[]> =>
    (await rows("mail", "list", "both/#", "--client", client, ...where)).map(({ topic }) => topic).sort();
  expect(await topics("one")).toEqual(["both/x", "both/y"]);
  expect(await topics("three")).toEqual(["both/x"]);
  expect(await rows("mail", "drop", "both/y", "--client", "one", ...where)).toEqual([{ dropped: 1 }]);
  expect(await rows("mail", "drop", "#", "--client", "two", ...where)).toEqual([{ dropped: 2 }]);
  expect(await topics("one")).toEqual(["both/x"]);
  // The last one of both/y has gone, and its message with it.
  expect((await rows("mail", "list", "both/#", ...where)).map(({ topic }) => topic)).toEqual(["both/x"]);
  const one = await RawClient.connect(cluster.port(1), { clean: false, clientId: "one" });
  const { topic, messageId } = await one.take("publish");
  expect(topic).toBe("both/x");
  one.send({ cmd: "puback", messageId });
  await one.ping();
  expect(one.packets).toEqual([]);
  expect(await rows("mail", "drop", "#", "--client", "three", ...where)).toEqual([{ dropped: 1 }]);
  await eventually(async () => (await rows("mail", "list", "both/#", ...where)).length === 0, "both/x has gone");
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
}, 120_000);

test("the live view tells flows and refusals", async () => {
  const where = ["--zk", cluster.zk];
  const child = Bun.spawn([executable, "bank", "watch", "--json", ...where], { stdout: "pipe", stderr: "ignore" });
  const moments: Moment[] = [];
  const reading = (async () => {
    let rest = "";
    for await (const bytes of child.stdout) {
      const lines = (rest + Buffer.from(bytes).toString()).split("\n");
      rest = lines.pop()!;
      for (const line of lines) moments.push(JSON.parse(line));
    }
  })();
  await eventually(() => moments.length > 1, "it runs");
  await away(cluster.port(0), "watched", "watched/#");
  const { taken } = await fill(cluster.port(0), "watched/x");
  await eventually(() => moments.some(({ refused }) => refused > 0), "a refusal is seen");
  const flows = (which: "in" | "out"): number => moments.reduce((sum, moment) => sum + moment[which], 0);
  expect(flows("in")).toBeGreaterThan(taken * 8000);
  await rows("mail", "drop", "watched/#", ...where);
  await eventually(() => flows("out") >= flows("in"), "what came in is seen to go");
  child.kill();
  await reading;
}, 120_000);

test("plots: a column each, the whole at the top; the largest is a full block", () => {
  expect(plot([0, 0.5, 1], "10").map((line) => line.slice(16))).toEqual(["  █", "  █", "  █", " ██", " ██", " ██"]);
  expect(plot([1], "10")[0]).toBe("            10 │█");
  expect(sparkline([0, 4, 8])).toBe(" ▄█");
});

test("a cluster: filled from two brokers to its last credits, raised while it runs, lowered, dropped", async () => {
  const where = ["--zk", cluster.zk];
  await away(cluster.port(0), "gone", "fill/#");
  const both = await Promise.all([fill(cluster.port(0), "fill/a"), fill(cluster.port(1), "fill/b")]);
  const [all] = await rows("balance", ...where);
  expect(all).toMatchObject({ granted: 3000, messages: both[0].taken + both[1].taken });
  // Nobody could have stored one more: what is free everywhere together is less than two messages cost.
  expect(all.free).toBeLessThan(2 * dear);
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
  expect(await rows("deposit", "1000", ...where)).toEqual([{ changed: 1000, capital: 4000 }]);
  expect((await fill(cluster.port(1), "fill/more")).taken).toBeGreaterThan(3);
  expect(await rows("mail", "drop", "fill/a", ...where)).toEqual([{ dropped: both[0].taken }]);
  await eventually(async () => (await fill(cluster.port(0), "fill/c")).taken > 0, "credits come back", 60_000);
  const publisher = await RawClient.connect(cluster.port(0), { protocolVersion: 5 });
  await rows("deposit", "300", ...where);
  await eventually(
    async () => {
      const properties = { messageExpiryInterval: 1 };
      publisher.publish("fill/short", "x", { qos: 1, messageId: 1, properties });
      return (await publisher.take("puback")).reasonCode === 0;
    },
    "a message that is kept for a second is taken",
    60_000,
  );
  await eventually(async () => (await rows("sweep", ...where))[0].swept > 0, "its time is over");
  expect(await rows("mail", "list", "fill/short", ...where)).toEqual([]);
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
}, 120_000);

test("the console, on a terminal", async () => {
  const child = runOnTerminal(["bank", "--zk", cluster.zk], { NO_COLOR: "1" });
  let seen = "";
  const reading = (async () => {
    for await (const bytes of child.stdout) seen += Buffer.from(bytes).toString();
  })();
  const say = async (line: string, answer: string): Promise<void> => {
    const from = seen.length;
    child.stdin.write(`${line}\n`);
    await child.stdin.flush();
    // And a prompt: what is typed before it is no line that can be completed.
    const isAnswered = (): boolean => {
      const at = seen.indexOf(answer, from);
      return at >= 0 && seen.indexOf("bank>", at) >= 0;
    };
    await eventually(isAnswered, `${answer} after ${line}`);
  };
  await eventually(() => seen.includes("bank>"), "a prompt");
  await say("help mail list", "Usage: bank mail list [options] [FILTER]");
  await say("-h", "stored messages");
  await say("version", version);
  await say("quote 256 --ttl 30", String(Math.round(10 * creditsOf(256, { topic: "topic", ttlMs: 30_000 })) / 10));
  await say("audit", "it balances");
  for (const [command, amount] of [
    ["deposit", "abc"],
    ["withdraw", "abc"],
    ["deposit", "1.5"],
    ["quote", "many"],
  ])
    await say(`${command} ${amount}`, `"${amount}" is not a whole number`);
  await say("balance", "(vault)");
  await say("audit", "it balances");
  child.stdin.write("bal\t");
  await child.stdin.flush();
  await eventually(() => /bal\S*ance/.test(seen.slice(seen.lastIndexOf("bank>"))), "Tab completes it");
  await say("", "(capital)");
  await say("statement --by nobody", "Allowed choices are topic, client, user, branch, age; see help statement");
  await say("balance --json", '"account":"(vault)"');
  await say("mail list home/# --json", "bank>");
  await say("mail list 'home/#' --client nobody", "bank>");
  await say("mail list home/[#", "is no topic filter");
  await say("mail drop", "missing required argument 'FILTER'; see help mail drop");
  await say("balance --nonsense", "unknown option '--nonsense'; see help balance");
  await say("nonsense", 'unknown command "nonsense"; see help');
  await say("mail list 'home", "a quote is not closed");
  // Pasted at once: none is lost, and they are answered in turn.
  const pasted = seen.length;
  child.stdin.write("version\nquote 256 --ttl 30\nbalance --json\nquit\n");
  await child.stdin.flush();
  expect(await child.exited).toBe(0);
  await reading;
  const answered = /bank> quote 256 --ttl 30\r?\n.*bank> balance --json\r?\n.*"account":"\(vault\)".*bank> quit/s;
  expect(seen.slice(pasted)).toMatch(answered);
  const alone = await bank();
  expect([alone.code, alone.err]).toEqual([2, "mqttzoo: name a command; without one the console needs a terminal\n"]);
}, 120_000);

test("the console ends with its input", async () => {
  const child = runOnTerminal(["bank", "--zk", cluster.zk], { NO_COLOR: "1" });
  let seen = "";
  for await (const bytes of child.stdout) {
    const had = seen.includes("bank>");
    seen += Buffer.from(bytes).toString();
    // Ctrl-D.
    if (!had && seen.includes("bank>")) child.stdin.write("\x04");
    await child.stdin.flush();
  }
  expect(await child.exited).toBe(0);
}, 60_000);

test("a damaged account is named, spreads nowhere, and is mended; amounts that are none are refused", async () => {
  const where = ["--zk", cluster.zk];
  for (const amount of ["abc", "-5", "1.5", "NaN", "1e999", ""]) {
    const { code, err } = await bank("deposit", ...where, "--", amount);
    expect([code, err]).toEqual([2, expect.stringContaining("is not a whole number")]);
  }
  const [capital, vault] = await rows("balance", ...where);
  const tooMuch = String(Math.ceil(vault.granted) + 1000);
  const refused = await bank("withdraw", tooMuch, ...where);
  expect(refused.code).not.toBe(0);
  expect(refused.err).toMatch(/^mqttzoo: the vault holds [\d.]+ credits/);
  const { coordinator, bankAccount } = cluster.brokers[0]!.broker.context;
  const spoilt: WriteOperation = {
    kind: "set",
    path: "/bank",
    data: Buffer.from('{"capital":null,"vault":null}'),
    version: -1,
  };
  await new Promise<void>((done) => coordinator.write([spoilt], () => done()));
  await eventually(() => bankAccount.capital === 0, "the broker sees it");
  const said = await bank("audit", ...where);
  expect([said.code === 0, said.out]).toEqual([false, expect.stringContaining('"mqttzoo bank repair" mends it')]);
  expect((await bank("balance", ...where)).err).toBe('mqttzoo: damaged: /bank; "mqttzoo bank audit" says more\n');
  expect((await bank("deposit", "5", ...where)).err).toContain('"mqttzoo bank repair" mends it');
  expect((await bank("repair", ...where)).err).toContain("give it with --capital CREDITS");
  const [mended] = await rows("repair", "--capital", String(capital.granted), ...where);
  expect(mended.account).toBe("/bank");
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
  await eventually(() => bankAccount.capital === capital.granted * 1000, "the broker goes on with it");
  const [taken] = await rows("withdraw", tooMuch, "--force", ...where);
  expect(taken.changed).toBeLessThanOrEqual(0);
  expect((await bank("audit", ...where)).out).toBe("it balances\n");
}, 120_000);

test("a quote, and mistakes in one line", async () => {
  const quoted = (topic: string, seconds: number): number =>
    Math.round(10 * creditsOf(256, { topic, ttlMs: seconds * 1000 })) / 10;
  const [least, most] = [quoted("topic", 30), quoted("topic", 86_400)];
  expect(most).toBeCloseTo(least + 100, 5);
  expect(await rows("quote", "256", "--ttl", "30")).toEqual([{ bytes: 256, ttl: 30, least, most: least }]);
  expect(await rows("quote", "256")).toEqual([
    { kept: "for a session", bytes: 256, ttl: 86_400, least: most, most },
    { kept: "in a mail drop", bytes: 256, ttl: "30..86400", least, most },
  ]);
  // Each level is one more znode.
  const deep = quoted("a/b/c", 30);
  expect(deep).toBeGreaterThan(least + 2 * 17);
  expect(await rows("quote", "256", "--ttl", "30", "--topic", "a/b/c")).toMatchObject([{ least: deep }]);
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
