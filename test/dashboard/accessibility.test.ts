/** The dashboard for everybody: axe finds nothing on any page, keys alone do, and nothing is wider than a phone. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { freePort } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { desk, phone, TestBrowser, type Visit } from "../support/browser.ts";
import { RawClient } from "../support/raw-client.ts";

const axe = readFileSync(Bun.resolveSync("axe-core/axe.min.js", import.meta.dir), "utf8");
/** The levels of the Web Content Accessibility Guidelines that are held. */
const rules = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] };
const pages = ["now", "clients", "topics", "bank", "refused", "trace", "cluster"] as const;

let broker: TestBroker;
let browser: TestBrowser;
let base: string;

beforeAll(async () => {
  const httpPort = await freePort();
  base = `http://127.0.0.1:${httpPort}/`;
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1" });
  browser = await TestBrowser.start();
  // Something to be seen on each page.
  const client = await RawClient.connect(broker.port, {
    ...{ protocolVersion: 5, clientId: "a-client", clean: false, properties: { sessionExpiryInterval: 600 } },
  });
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "home/#", qos: 1 }] });
  await client.take("suback");
  client.send({ cmd: "publish", topic: "$SYS/not", payload: "x", qos: 1, messageId: 2 });
  await client.take("puback");
  client.abort();
  const other = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "b-client" });
  other.send({ cmd: "publish", topic: "home/light", payload: "on", qos: 1, messageId: 3, retain: true });
  await other.take("puback");
}, 60_000);
afterAll(async () => {
  await browser.stop();
  await broker.stop();
});

interface Finding {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** Returns what axe finds on a page, each with the first element that it is about. */
async function findings({ page }: Visit): Promise<readonly string[]> {
  await page.evaluate(axe);
  const found = await page.evaluate<readonly Finding[]>(
    `axe.run(document, ${JSON.stringify(rules)}).then(({ violations }) => violations)`,
  );
  return found.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 160)} ${nodes[0]?.failureSummary ?? ""}`);
}

describe.each([
  ["on a desk, light", desk],
  ["on a desk, dark", { ...desk, dark: true }],
  ["on a phone, light", phone],
  ["on a small phone, dark", { ...phone, width: 320, dark: true }],
])("%s", (_, look) => {
  test("axe finds nothing, and nothing is wider than the screen", async () => {
    const visit = await browser.visit(base, look);
    const { page } = visit;
    for (const name of pages) {
      await page.goto(`${base}#/${name}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.getByText("Loading …").first().waitFor({ state: "detached" });
      expect([name, await findings(visit)]).toEqual([name, []]);
      const tooWide = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
      expect([name, Math.max(0, tooWide)]).toEqual([name, 0]);
      await visit.picture(`all-${name}`);
    }
    await page.goto(`${base}#/clients/a-client`);
    await page.getByRole("dialog").getByText("home/#").waitFor();
    expect(await findings(visit)).toEqual([]);
    expect(visit.complaints).toEqual([]);
    await page.context().close();
  }, 90_000);
});

test("keys alone lead to each page, over the navigation, and into a client and back", async () => {
  const { page, complaints } = await browser.visit(base, desk);
  await page.getByRole("heading", { name: "Now" }).waitFor();
  await page.keyboard.press("Tab");
  const focused = (): Promise<string> =>
    page.evaluate("document.activeElement.textContent || document.activeElement.id");
  expect(await focused()).toBe("Skip to the page");
  await page.keyboard.press("Enter");
  expect(await page.evaluate<string>("document.activeElement.id")).toBe("main");
  await page.keyboard.press("Shift+Tab");
  for (const title of ["Cluster", "Trace", "Refused", "Bank", "Topics", "Clients"]) {
    expect(await focused()).toBe(title);
    if (title !== "Clients") await page.keyboard.press("Shift+Tab");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "a-client" }).waitFor();
  await page.getByRole("link", { name: "a-client" }).focus();
  await page.keyboard.press("ArrowDown");
  expect(await focused()).toBe("b-client");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "b-client" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(await focused()).toBe("b-client");
  expect(complaints).toEqual([]);
  await page.context().close();
}, 60_000);
