/** The dashboard in a real browser, at a cluster of two brokers: each page as its users meet it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { hashPassword } from "../../src/access/hashes.ts";
import { freePort } from "../bench/brokers.ts";
import { desk, type Look, phone, TestBrowser, type Visit } from "../support/browser.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-dashboard-"));
const [httpUsers, aclFile, auditLog] = [join(folder, "users"), join(folder, "acl"), join(folder, "audit")];
let cluster: Cluster;
let browser: TestBrowser;
let base: string;
let visits: Visit[] = [];

beforeAll(async () => {
  const [vera, olga] = await Promise.all([hashPassword("v"), hashPassword("o")]);
  writeFileSync(httpUsers, `vera:viewer:${vera}\nolga:operator:${olga}\n`);
  const httpPort = await freePort();
  base = `http://127.0.0.1:${httpPort}/`;
  writeFileSync(aclFile, "topic readwrite #\ntopic deny secret/#\n");
  cluster = await startCluster(["a"], { httpPort, httpHost: "127.0.0.1", httpUsers, aclFile, auditLog });
  // This one has no HTTP of its own: the other tells of it.
  await cluster.add("b", { httpPort: 0 });
  browser = await TestBrowser.start();
}, 120_000);
afterAll(async () => {
  await browser?.stop();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(async () => {
  const complaints = visits.flatMap((visit) => visit.complaints);
  for (const { page } of visits) await page.context().close();
  visits = [];
  expect(complaints).toEqual([]);
});

async function visit(look: Look = desk): Promise<Visit> {
  const one = await browser.visit(base, look);
  visits.push(one);
  return one;
}

async function signIn(page: Page, name: "vera" | "olga"): Promise<void> {
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(name[0]!);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
}

/** Waits until a text stands on the page. */
const shows = (page: Page, text: string | RegExp): Promise<void> => page.getByText(text).first().waitFor();

const connect = (broker: number, clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(cluster.port(broker), { protocolVersion: 5, clientId, ...more });

describe("who asks", () => {
  test("is asked for name and password; a wrong one is told, a right one outlives a reload, and ends", async () => {
    const { page, picture } = await visit();
    await page.getByLabel("Name").fill("vera");
    await page.getByLabel("Password").fill("wrong");
    await picture("sign-in");
    await page.getByRole("button", { name: "Sign in" }).click();
    await shows(page, "user or password is wrong");
    await signIn(page, "vera");
    await shows(page, "viewer");
    await page.reload();
    await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
    const token = await page.evaluate<string>("sessionStorage.getItem('mqttzoo-token')");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Password").waitFor();
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${base}api/v1/me`, { headers })).status).toBe(401);
  }, 60_000);

  test("is told so when his token is not valid any more", async () => {
    const { page } = await visit();
    await signIn(page, "olga");
    const token = await page.evaluate<string>("sessionStorage.getItem('mqttzoo-token')");
    const headers = { authorization: `Bearer ${token}` };
    await fetch(`${base}api/v1/tokens/current`, { method: "DELETE", headers });
    await shows(page, "the token is not valid any more");
  }, 60_000);
});

describe.each([
  ["desk, light", desk],
  ["phone, dark", { ...phone, dark: true }],
])("on a %s", (_, look) => {
  test("Now tells what goes in and out, of both brokers, and whether they are ready", async () => {
    const { page, picture } = await visit(look);
    await signIn(page, "vera");
    await shows(page, "All 2 brokers are ready");
    const clients = await Promise.all([connect(0, "now-a"), connect(1, "now-b")]);
    const figure = (name: string) => page.locator(".figure", { hasText: name }).locator("strong");
    await figure("Connections")
      .getByText(/^[2-9]/)
      .waitFor();
    clients[0]!.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "now/#", qos: 0 }] });
    await clients[0]!.take("suback");
    const beat = setInterval(() => clients[1]!.send({ cmd: "publish", topic: "now/x", payload: "1", qos: 0 }), 100);
    await figure("Messages in")
      .getByText(/^[1-9]/)
      .waitFor();
    await figure("Messages out")
      .getByText(/^[1-9]/)
      .waitFor();
    // The first sample comes within ten seconds.
    await page.locator(".chart[aria-label*='Messages per second'] canvas").waitFor();
    await page.getByLabel(/^Messages per second.* in: (0\.0*)?[1-9]/).waitFor();
    clearInterval(beat);
    await page.getByText("Checks of each broker").click();
    await shows(page, "persistent sessions are served");
    await picture("now");
    for (const client of clients) client.abort();
  }, 90_000);

  test("Clients are found, told of and disconnected, at whichever broker they are", async () => {
    const { page, picture } = await visit(look);
    const clients = await Promise.all(["pump-1", "pump-2", "valve"].map((id, index) => connect(index % 2, id)));
    const away = await connect(0, "sleeper", { clean: false, properties: { sessionExpiryInterval: 600 } });
    away.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "sleep/#", qos: 1 }] });
    await away.take("suback");
    away.abort();
    clients[2]!.send({ cmd: "publish", topic: "sleep/well", payload: "zzz", qos: 1, messageId: 7 });
    await clients[2]!.take("puback");
    await signIn(page, "olga");
    await page.getByRole("link", { name: "Clients" }).click();
    await page.getByRole("link", { name: "valve" }).waitFor();
    await picture("clients");
    await page.getByLabel("Search").fill("pump");
    await shows(page, "2 clients");
    await page.getByRole("link", { name: "pump-2" }).click();
    const dialog = page.getByRole("dialog", { name: "pump-2" });
    await dialog.getByText("MQTT 5.0").waitFor();
    await dialog.getByRole("button", { name: "Disconnect" }).click();
    expect((await clients[1]!.take("disconnect")).reasonCode).toBe(0x98);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.getByLabel("Search").fill("sleeper");
    await page.getByRole("link", { name: "sleeper" }).click();
    const sleeper = page.getByRole("dialog", { name: "sleeper" });
    await sleeper.getByText("zzz").waitFor();
    await sleeper.getByText("sleep/#").waitFor();
    await picture("client");
    await sleeper.getByRole("button", { name: "End session" }).click();
    await sleeper.getByRole("button", { name: "End it" }).click();
    await sleeper.waitFor({ state: "detached" });
    await shows(page, "There is no such client.");
    for (const client of clients) client.abort();
  }, 90_000);

  test("Refused tells why, by which rule, and what to do", async () => {
    const { page, picture } = await visit(look);
    const client = await connect(1, "curious");
    client.send({ cmd: "publish", topic: "secret/plan", payload: "?", qos: 1, messageId: 3 });
    expect((await client.take("puback")).reasonCode).toBe(0x87);
    await signIn(page, "vera");
    await shows(page, "b, refused");
    await shows(page, /publish \(.*lately, the last time .* for client curious/);
    await page.getByRole("link", { name: "Refused" }).click();
    await shows(page, /on secret\/plan: .*acl line 2: topic deny secret\/#/);
    await shows(page, "To allow it, add or change a rule");
    await picture("refused");
    await page.getByLabel("Kind").selectOption("connect");
    await shows(page, "Nothing was refused lately.");
    await page.getByLabel("Kind").selectOption("publish");
    await page.getByRole("link", { name: "curious" }).first().click();
    const dialog = page.getByRole("dialog", { name: "curious" });
    await dialog.getByText("on secret/plan").first().waitFor();
    // A viewer changes nothing.
    expect(await dialog.getByRole("button").count()).toBe(1);
    client.abort();
  }, 90_000);

  test("Topics are browsed, published on, and cleared", async () => {
    const { page, picture } = await visit(look);
    await signIn(page, "olga");
    await page.getByRole("link", { name: "Topics" }).click();
    const publish = page.getByRole("region", { name: "Publish", exact: true });
    const watch = page.getByRole("region", { name: "Watch live" });
    await watch.getByLabel("Topic filter to watch").fill("zoo/#");
    await watch.getByRole("button", { name: "Watch" }).click();
    // The other broker's clients are heard, too.
    const keeper = await connect(1, "keeper");
    const beat = setInterval(() => keeper.send({ cmd: "publish", topic: "zoo/far", payload: "roar", qos: 0 }), 200);
    await watch.getByText("roar").first().waitFor();
    clearInterval(beat);
    for (const [topic, payload] of [
      ["zoo/lion/mood", "sleepy"],
      ["zoo/ape/mood", "<b>bold</b>"],
    ] as const) {
      await publish.getByLabel("Topic").fill(topic);
      await publish.getByLabel("Payload").fill(payload);
      await publish.getByLabel("Retain").check();
      await publish.getByRole("button", { name: "Publish" }).click();
      await shows(page, `Published on ${topic}`);
    }
    await watch.getByText("sleepy").waitFor();
    keeper.abort();
    await page.getByRole("button", { name: "Unfold zoo", exact: true }).click();
    await page.getByRole("button", { name: "Unfold zoo/ape", exact: true }).click();
    await page.locator(".tree").getByRole("link", { name: "mood" }).click();
    // What clients send stays a text.
    await shows(page, "<b>bold</b>");
    await picture("topics");
    await page.getByRole("region", { name: "zoo/ape/mood" }).getByRole("button", { name: "Clear" }).click();
    await shows(page, "Nothing is retained on this topic.");
    await watch.getByRole("button", { name: "Stop" }).click();
    await page.getByLabel("Topic filter", { exact: true }).fill("zoo/#");
    await page.getByRole("button", { name: "Clear all of them" }).click();
    await shows(page, "1 retained message matches zoo/#");
    await page.getByRole("button", { name: "Clear 1" }).click();
    await shows(page, "1 retained message is cleared.");
    await shows(page, "Nothing is retained there.");
    const stayer = await connect(1, "stayer");
    stayer.publish("zoo/ape/cage", "open", { qos: 1, messageId: 1, retain: true });
    await stayer.take("puback");
    await shows(page, /by somebody without a user name at b, /);
    await page.getByRole("link", { name: "zoo/ape/cage" }).first().click();
    await shows(page, /by client stayer at b, /);
    stayer.publish("zoo/ape/cage", "", { qos: 1, messageId: 2, retain: true });
    await stayer.take("puback");
    stayer.abort();
  }, 90_000);

  test("Bank tells who holds the credits, what is stored, what storing costs, and takes deposits", async () => {
    const { page, picture } = await visit(look);
    const away = await connect(0, "debtor", { clean: false, properties: { sessionExpiryInterval: 600 } });
    away.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "debt/#", qos: 1 }] });
    await away.take("suback");
    away.abort();
    const publisher = await connect(1, "lender");
    publisher.send({ cmd: "publish", topic: "debt/first", payload: "x".repeat(100), qos: 1, messageId: 7 });
    await publisher.take("puback");
    await signIn(page, "olga");
    await page.getByRole("link", { name: "Bank" }).click();
    await page.getByRole("region", { name: "Stored messages" }).getByText("debt/first").first().waitFor();
    const holders = page.getByRole("region", { name: "Who holds the credits" });
    await holders.getByText("debt/first").first().waitFor();
    await holders.getByLabel("Added up by").selectOption("client");
    await holders.getByText("debtor").waitFor();
    await shows(page, /[\d.,]+ to [\d.,]+ credits/);
    await page.getByLabel("Amount, in credits").fill("1000");
    await page.getByRole("button", { name: "Deposit" }).click();
    await shows(page, /The capital is [\d.,]+ credits now/);
    await page.getByRole("region", { name: "Branches" }).getByText("b", { exact: true }).waitFor();
    await picture("bank");
    const mail = page.getByRole("region", { name: "Stored messages" });
    await mail.getByLabel("Topic filter").fill("debt/#");
    await mail.getByRole("button", { name: "Drop all of them" }).click();
    await mail.getByRole("button", { name: /^Drop \d/ }).click();
    await shows(page, /stored messages? (is|are) dropped/);
    publisher.abort();
  }, 90_000);

  test("Trace says why a message does not come, and follows a client at both brokers, for operators", async () => {
    const { page, picture } = await visit(look);
    const reader = await connect(1, "traced");
    await reader.subscribe("traced/kitchen");
    await signIn(page, "olga");
    await page.getByRole("link", { name: "Trace" }).click();
    const why = page.getByRole("region", { name: "Why did it not arrive?" });
    await why.getByLabel("Client").fill("traced");
    await why.getByLabel("Topic").fill("traced/hall");
    await why.getByRole("button", { name: "Explain" }).click();
    await why.getByText("the reason").first().waitFor();
    await why
      .getByText(/traced\/kitchen/)
      .first()
      .waitFor();
    const follow = page.getByRole("region", { name: "Follow" });
    await follow.getByLabel("Which one").fill("traced");
    await follow.getByLabel("Payloads").check();
    await follow.getByRole("button", { name: "Follow" }).click();
    await follow.getByText(/followed for 60 s/).waitFor();
    const publisher = await connect(0, "tracer");
    const beat = setInterval(() => publisher.publish("traced/kitchen", "21.5 degrees"), 100);
    await follow.getByText("21.5 degrees").first().waitFor();
    clearInterval(beat);
    await picture("trace");
    await follow.getByRole("button", { name: "Stop" }).click();
    await follow.getByRole("button", { name: "Follow" }).waitFor();
    const audited = readFileSync(auditLog, "utf8").trimEnd().split("\n");
    const followed = audited.map((line) => JSON.parse(line)).find(({ what }) => what === "followTrace");
    expect(followed).toMatchObject({ who: "olga", from: "127.0.0.1", on: { client_id: "traced" } });
    expect(followed.after.payload_bytes).toBeGreaterThan(0);
    for (const client of [reader, publisher]) client.abort();
  }, 90_000);

  test("Cluster tells of brokers, links, versions and the store, and drains nobody before the operator is sure", async () => {
    const { page, picture } = await visit(look);
    await signIn(page, "olga");
    await page.getByRole("link", { name: "Cluster" }).click();
    for (const [broker, other] of ["ab", "ba"]) {
      const card = page.getByRole("region", { name: broker!, exact: true });
      await card.getByText("ZooKeeper").waitFor();
      await card.getByText("ready", { exact: true }).waitFor();
      const link = card.locator("li", { hasText: other! });
      await link.getByText("up", { exact: true }).waitFor();
      await link.getByText(/its clock [\d.]+ ms (ahead|behind) \(± [\d.]+ ms\)/).waitFor();
    }
    await picture("cluster");
    const card = page.getByRole("region", { name: "b", exact: true });
    await card.getByRole("button", { name: "Drain" }).click();
    await shows(page, "b sends its clients to the other brokers");
    await card.getByRole("button", { name: "Send its clients away" }).click();
    // These brokers have --drain-time 0.
    await shows(page, "it sends nobody elsewhere");
  }, 90_000);
});
