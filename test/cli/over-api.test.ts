/** `mqttzoo bank`, `show` and `topics` over a broker's HTTP port: as they read the store themselves. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashPassword } from "../../src/access/hashes.ts";
import { clearedAtOnceMax } from "../../src/base/api-limits.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type BrokerProcess, runExecutable, startBrokerProcess } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-over-api-"));
const data = join(folder, "data");
let broker: BrokerProcess;
let viewer: string[];
let operator: string[];
let publisher: RawClient;
beforeAll(async () => {
  const users = join(folder, "users");
  writeFileSync(users, `vera:viewer:${await hashPassword("v")}\nolga:operator:${await hashPassword("o")}\n`);
  const port = await freePort();
  const args = ["--http-port", String(port), "--http-host", "127.0.0.1", "--http-users", users];
  broker = await startBrokerProcess(data, { args });
  viewer = ["--api", `http://vera:v@127.0.0.1:${port}`];
  operator = ["--api", `http://olga:o@127.0.0.1:${port}`];
  for (const [clientId, filter] of [
    ["one", "home/#"],
    ["two", "home/+/temp"],
  ] as const) {
    const client = await RawClient.connect(broker.port, { clean: false, clientId });
    await client.subscribe(filter, { qos: 1 });
    client.disconnect();
    await client.untilClosed();
  }
  publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  for (const [at, topic] of ["home/kitchen/temp", "home/hall/temp", "home/hall/light"].entries()) {
    publisher.publish(topic, "x".repeat(50), { qos: 1, messageId: at + 1 });
    await publisher.take("puback");
  }
  publisher.publish("kept/here", "x", { qos: 1, messageId: 9, retain: true });
  await publisher.take("puback");
}, 60_000);
afterAll(async () => {
  publisher.abort();
  await broker.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: rows of many kinds.
async function rows(...words: string[]): Promise<any[]> {
  const { code, out, err } = await runExecutable([...words, "--json"]);
  expect([code, err]).toEqual([0, ""]);
  return out
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

test("statement, mail and balance are what they are where the store is read", async () => {
  const store = ["--data", data];
  for (const words of [
    ["bank", "statement"],
    ["bank", "statement", "--by", "user"],
    ["bank", "statement", "--by", "client", "--top", "1"],
    ["bank", "mail", "list"],
    ["bank", "mail", "list", "home/+/temp", "--client", "two"],
  ]) {
    // That somebody publishes on a topic is noted within seconds, and paid for.
    let [read, asked]: unknown[][] = [[], [0]];
    await eventually(async () => {
      // One is in the order of the mailbox, the other of the topics.
      const inOrder = async (where: string[]): Promise<unknown[]> =>
        (await rows(...words, ...where)).sort((a, b) => (String(a.path ?? "") < String(b.path ?? "") ? -1 : 1));
      [read, asked] = [await inOrder(store), await inOrder(viewer)];
      return Bun.deepEquals(read, asked);
    }, words.join(" "));
    expect(asked!.length).toBeGreaterThan(0);
  }
  const [capital, vault, branch] = await rows("bank", "balance", ...viewer);
  const [its, , own] = await rows("bank", "balance", ...store);
  expect([capital.granted, capital.messages, branch.account, branch.messages]).toEqual([
    ...[its.granted, its.messages, own.account, own.messages],
  ]);
  expect(vault.granted + branch.granted).toBeCloseTo(capital.granted, 1);
});

test("show prints brokers, sessions, subscriptions and publishers, also over the socket of a broker alone", async () => {
  for (const where of [viewer, ["--data", data]]) {
    const [own, ...others] = await rows("show", "brokers", ...where);
    expect(others).toEqual([]);
    expect(own).toMatchObject({ port: broker.port, linkPort: -1, draining: false });
    expect(own.epoch).toBeGreaterThan(0);
    const sessions = await rows("show", "clients", ...where);
    expect(sessions.map(({ client, connected, waiting }) => [client, connected, waiting])).toEqual([
      ["one", false, 3],
      ["two", false, 2],
    ]);
    // They have asked for no end, so they have seven days.
    for (const { expires } of sessions)
      expect(Date.parse(expires) - Date.now()).toBeWithin(6.9 * 86_400_000, 7 * 86_400_000);
    expect((await rows("show", "subscriptions", ...where)).map(({ filter, client }) => [filter, client])).toEqual([
      ["home/#", "one"],
      ["home/+/temp", "two"],
    ]);
    const topics = ["home/hall/light", "home/hall/temp", "home/kitchen/temp", "kept/here"];
    await eventually(async () => {
      const found = await rows("show", "publishers", ...where);
      return Bun.deepEquals(found.map(({ topic }) => topic).sort(), topics);
    }, "all that was published on is registered");
  }
});

test("topics are listed level by level, as deep as is asked", async () => {
  const topics = async (...words: string[]): Promise<string[]> =>
    (await rows("topics", "list", ...words)).map(({ topic }) => topic).filter((topic) => !topic.startsWith("$"));
  const over = { socket: ["--data", data], http: viewer };
  for (const where of Object.values(over)) {
    expect(await topics(...where)).toEqual(["home", "kept"]);
    expect(await topics("home", ...where)).toEqual(["home/hall", "home/kitchen"]);
    const all = ["home/hall", "home/hall/light", "home/hall/temp", "home/kitchen", "home/kitchen/temp"];
    expect(await topics("home", "--depth", "9", ...where)).toEqual(all);
    expect(await topics("home", "--depth", "9", "--top", "3", ...where)).toEqual(all.slice(0, 3));
  }
  const { code, err } = await runExecutable(["topics", "list", "a/#", ...viewer]);
  expect([code, err]).toEqual([1, "mqttzoo: below is no topic\n"]);
});

test("changes are an operator's: capital, a sweep, and mail, however much there is", async () => {
  const refused = await runExecutable(["bank", "deposit", "5", ...viewer]);
  expect([refused.code, refused.err]).toEqual([1, "mqttzoo: vera may only look\n"]);
  const [{ capital }] = await rows("bank", "deposit", "500", ...operator);
  expect(await rows("bank", "withdraw", "100", ...operator)).toEqual([{ changed: -100, capital: capital - 100 }]);
  expect((await runExecutable(["bank", "withdraw", "1", "--force", ...operator])).code).toBe(2);
  expect(await rows("bank", "sweep", ...operator)).toEqual([{ teller: "test", sweep: "has begun" }]);
  expect(await rows("bank", "mail", "drop", "home/hall/+", "--client", "one", ...operator)).toEqual([{ dropped: 2 }]);
  const left = async (): Promise<string[]> =>
    (await rows("bank", "mail", "list", "home/#", ...viewer)).map(({ topic }) => topic);
  expect(await left()).toEqual(["home/hall/temp", "home/kitchen/temp"]);
  const count = clearedAtOnceMax + 5;
  for (let at = 0; at < count; at++) {
    publisher.publish("home/many", "x", { qos: 1, messageId: at + 1 });
    if (at % 100 === 99) await publisher.takeMany("puback", 100);
  }
  await publisher.takeMany("puback", count % 100);
  expect(await rows("bank", "mail", "drop", "home/#", ...operator)).toEqual([{ dropped: count + 2 }]);
  expect(await left()).toEqual([]);
});
