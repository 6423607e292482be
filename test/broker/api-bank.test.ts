/** The bank's statement and the stored mail over the HTTP API: a page at a time, one walk over the store at once. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { clearedAtOnceMax } from "../../src/base/api-limits.ts";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient, type ApiReply } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
let api: ApiClient;
let publisher: RawClient;
beforeAll(async () => {
  const port = await freePort();
  broker = await startBroker({ httpPort: port, httpHost: "127.0.0.1", mailDrop: ["drop/#"] });
  api = await ApiClient.open(port);
  publisher = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "publisher" });
});
afterAll(async () => {
  publisher.abort();
  await broker.stop();
});

let lastId = 0;
async function publish(topic: string, payload = "x", retain = false): Promise<void> {
  const messageId = (++lastId % 60_000) + 1;
  publisher.publish(topic, payload, { qos: 1, messageId, retain });
  await publisher.take("puback");
}

/** Leaves a persistent session that is away. */
async function away(clientId: string, ...filters: string[]): Promise<void> {
  const client = await RawClient.connect(broker.port, { clean: false, clientId });
  for (const filter of filters) await client.subscribe(filter, { qos: 1 });
  client.disconnect();
  await client.untilClosed();
}

const drop = (query: string): Promise<ApiReply> => api.ask(`/bank/mail?${query}`, { method: "DELETE" });
const topicsOf = async (query: string): Promise<string[]> =>
  (await api.all(`/bank/mail?${query}`)).map(({ topic }: { topic: string }) => topic);

test("stored messages are listed by filter, client and any order, in pages", async () => {
  await away("one", "m/#");
  await away("two", "m/+");
  for (const topic of ["m/b", "m/a", "m/a/deep", "drop/x"]) await publish(topic, "payload");
  await publish("kept", "x".repeat(500), true);
  expect(await topicsOf("filter=m/%23")).toEqual(["m/a", "m/a/deep", "m/b"].sort());
  expect(await topicsOf("filter=m/%23&limit=1")).toEqual(await topicsOf("filter=m/%23"));
  expect(await topicsOf("filter=m/%23&limit=1&sort=-path")).toEqual((await topicsOf("filter=m/%23")).reverse());
  expect(await topicsOf("client_id=two")).toEqual(["m/a", "m/b"]);
  expect(await topicsOf("client_id=two&filter=%2B/b")).toEqual(["m/b"]);
  expect(await topicsOf("client_id=nobody")).toEqual([]);
  expect((await topicsOf("sort=-bytes&limit=2"))[0]).toBe("kept");
  const [message] = await api.all("/bank/mail?filter=m/a");
  expect(message).toMatchObject({ retained: false, user: null, branch: "test", recipients: 2, waiting: 2 });
  expect(message.credits).toBeGreaterThan(1);
  const [kept] = await api.all("/bank/mail?filter=kept");
  expect(kept).toMatchObject({ path: "/retained/kept", retained: true, expires_at: null, recipients: 0, waiting: 0 });
  expect((await api.all("/bank/mail?filter=drop/%2B"))[0]).toMatchObject({ recipients: 0, waiting: 0 });
  expect((await api.ask("/bank/mail?filter=a%23")).status).toBe(400);
  expect((await api.ask("/bank/mail?cursor=nonsense")).status).toBe(400);
});

test("a statement adds up to what is bound, by whatever it is asked", async () => {
  const bound = (await api.get("/bank")).bound as number;
  const all = await api.all("/bank/mail?limit=2");
  const sum = (rows: { credits: number }[]): number => rows.reduce((total, { credits }) => total + credits, 0);
  for (const by of ["topic", "branch", "age"])
    expect(sum(await api.all(`/bank/statement?by=${by}&limit=1`))).toBeCloseTo(sum(all), 3);
  // What a user has besides messages is in it, too.
  expect(sum(await api.all("/bank/statement?by=user"))).toBeCloseTo(bound, 3);
  const [anonymous] = await api.all("/bank/statement?by=user");
  expect(anonymous).toMatchObject({ holder: "", messages: all.length });
  expect(anonymous.others).toBeGreaterThan(3);
  const clients = await api.all("/bank/statement?by=client");
  expect(clients).toMatchObject([
    { holder: "one", messages: 3 },
    { holder: "two", messages: 2 },
  ]);
  const topics = (await api.all("/bank/statement")).map(({ credits }: { credits: number }) => credits);
  expect(topics).toEqual([...topics].sort((a, b) => b - a));
  expect((await api.ask("/bank/statement?by=nobody")).status).toBe(400);
});

test("mail is only counted in a dry run, then dropped: one client's part, then all of it; credits come back", async () => {
  expect((await drop("client_id=one")).status).toBe(400);
  const { body } = await drop("filter=m/%23&client_id=one");
  expect(body).toMatchObject({ dry_run: true, matched: 3, dropped: 0, remaining: 3 });
  expect(body.paths.length).toBe(3);
  expect(await topicsOf("client_id=one")).toHaveLength(3);
  expect((await drop("filter=m/a&client_id=one&dry_run=false")).body).toMatchObject({ matched: 1, dropped: 1 });
  expect(await topicsOf("client_id=one")).toEqual(["m/a/deep", "m/b"]);
  expect((await api.all("/bank/mail?filter=m/a"))[0]).toMatchObject({ recipients: 2, waiting: 1 });
  const before = (await api.get("/bank")).messages as number;
  expect((await drop("filter=%23&dry_run=false")).body).toMatchObject({ matched: 5, dropped: 5, remaining: 0 });
  expect(await topicsOf("")).toEqual([]);
  expect((await api.get("/retained")).items.filter(({ topic }: { topic: string }) => topic === "kept")).toEqual([]);
  await eventually(async () => (await api.get("/bank")).messages === before - 5, "their branch has its credits back");
  const [change] = (await api.get("/audit-log?sort=-number&limit=1")).items;
  expect(change).toMatchObject({ what: "dropMail", before: "5 stored", after: "5 dropped" });
});

test("one request drops so many at most", async () => {
  await away("many", "many");
  const count = clearedAtOnceMax + 5;
  for (let at = 0; at < count; at++) {
    publisher.publish("many", "x", { qos: 1, messageId: at + 1 });
    if (at % 100 === 99) await publisher.takeMany("puback", 100);
  }
  await publisher.takeMany("puback", count % 100);
  expect((await drop("filter=many&dry_run=false")).body).toMatchObject({ matched: count, remaining: 5 });
  expect((await drop("filter=many&dry_run=false&client_id=many")).body).toMatchObject({ matched: 5, remaining: 0 });
  expect(await topicsOf("filter=many")).toEqual([]);
});

test("the store is walked over for one at a time; a page reads no more of it than it needs", async () => {
  await away("pages", "pages/#");
  for (let at = 0; at < 40; at++) await publish(`pages/${String(at).padStart(3, "0")}`);
  const { coordinator } = broker.server.broker.context;
  const read = coordinator.read.bind(coordinator);
  const asked: string[] = [];
  let release: (() => void) | undefined;
  let isHeld = true;
  coordinator.read = (operations, done) => {
    asked.push(...operations.map(({ path }) => path));
    if (!isHeld || operations[0]?.path !== "/retained") return read(operations, done);
    isHeld = false;
    release = () => read(operations, done);
  };
  try {
    const first = api.ask("/bank/mail?filter=pages/%23&limit=1");
    await eventually(() => release !== undefined, "the walk has begun");
    const second = await api.ask("/bank/statement");
    expect([second.status, second.body.detail]).toEqual([503, "the store is being walked over for somebody else"]);
    release!();
    const { next, items } = (await first).body;
    expect(items[0].topic).toBe("pages/000");
    // The way to the cursor is read, and what is behind it, but no topic before.
    let cursor = next as string;
    for (let page = 0; page < 30; page++) {
      const { body } = await api.ask(`/bank/mail?filter=pages/%23&limit=1&cursor=${cursor}`);
      cursor = body.next;
    }
    asked.length = 0;
    const { body } = await api.ask(`/bank/mail?filter=pages/%23&limit=1&cursor=${cursor}`);
    expect(body.items[0].topic).toBe("pages/031");
    expect(asked.filter((path) => path.startsWith("/topics/pages/02"))).toEqual([]);
  } finally {
    coordinator.read = read;
  }
});

test("what has outlived its time goes when the operator wants it to, and not only when the teller comes to it", async () => {
  await away("late", "late/#");
  publisher.publish("late/x", "x", { qos: 1, messageId: 1, properties: { messageExpiryInterval: 1 } });
  await publisher.take("puback");
  const [{ expires_at }] = await api.all("/bank/mail?filter=late/%23");
  await eventually(() => Date.now() > Date.parse(expires_at), "its time is over");
  const { status, body } = await api.ask("/bank/sweep", { method: "POST" });
  expect([status, body]).toEqual([200, { teller: "test" }]);
  // By itself the teller would come in half a minute.
  await eventually(async () => (await topicsOf("filter=late/%23")).length === 0, "it has gone", sweepMs / 3);
});
