/** The dashboard in a real browser, at a cluster of two brokers: each page as its users meet it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { hashPassword } from "../../src/access/hashes.ts";
import { freePort } from "../bench/brokers.ts";
import { desk, type Look, phone, TestBrowser, type Visit } from "../support/browser.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-dashboard-"));
const httpUsers = join(folder, "users");
let cluster: Cluster;
let browser: TestBrowser;
let base: string;
let visits: Visit[] = [];

beforeAll(async () => {
  const [vera, olga] = await Promise.all([hashPassword("v"), hashPassword("o")]);
  writeFileSync(httpUsers, `vera:viewer:${vera}\nolga:operator:${olga}\n`);
  const httpPort = await freePort();
  base = `http://127.0.0.1:${httpPort}/`;
  cluster = await startCluster(["a"], { httpPort, httpHost: "127.0.0.1", httpUsers });
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
    await page.locator(".chart[aria-label*='in: 1']").or(page.locator(".chart[aria-label*='in: 9']")).first().waitFor();
    clearInterval(beat);
    await page.getByText("Checks of each broker").click();
    await shows(page, "persistent sessions are served");
    await picture("now");
    for (const client of clients) client.abort();
  }, 90_000);
});
