/**
 * The store of a client in a page, in a headless Chromium: pages are closed, and crash, at any moment; what `stored()`
 * has resolved for is lost by none of them, and QoS 2 comes once.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { Page } from "playwright-core";
import type * as browserLibrary from "../../src/client/for-browsers.ts";
import { connect } from "../../src/client/for-bun.ts";
import { IndexedDbStore } from "../../src/client/indexed-db-store.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { TestBrowser } from "../support/browser.ts";
import { builtPackage } from "../support/package.ts";

let broker: TestBroker;
let browser: TestBrowser;
let pages: ReturnType<typeof Bun.serve>;
let first: Page;

beforeAll(async () => {
  broker = await startBroker({ wsPort: 0 });
  browser = await TestBrowser.start();
  pages = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) =>
      url.endsWith(".js")
        ? new Response(Bun.file(join(builtPackage(), "browser", new URL(url).pathname)))
        : new Response('<!doctype html><link rel="icon" href="data:,">', { headers: { "content-type": "text/html" } }),
  });
  first = (await browser.visit(pages.url.href)).page;
}, 60_000);

afterAll(async () => {
  await browser.stop();
  pages.stop(true);
  await broker.stop();
});

/** Opens another tab beside the first: what one has stored the other has. */
async function tab(): Promise<Page> {
  const page = await first.context().newPage();
  await page.goto(pages.url.href);
  return page;
}

/** The program of a page; it is sent there as text. */
async function publishNumbers({ url, name, from, count }: Numbers): Promise<void> {
  const { connect, indexedDbStore } = (await import(`${location.origin}/main.js`)) as typeof browserLibrary;
  const client = await connect(url, {
    ...{ clientId: name, sessionExpiryMs: 600_000, retry: "for ever", reconnect: { minMs: 1, maxMs: 20 } },
    store: indexedDbStore(name),
  });
  for (let number = from; number < from + count; number += 5) {
    for (const n of [0, 1, 2, 3, 4]) void client.publish(`numbers/${name}`, String(number + n), { qos: 2 });
    await client.stored();
    kept(number + 4);
  }
  while (client.pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  kept(-1);
}

interface Numbers {
  readonly url: string;
  readonly name: string;
  readonly from: number;
  readonly count: number;
}

declare const location: { readonly origin: string };
/** Tells the test up to which number all are kept; -1: all are settled. */
declare const kept: (number: number) => void;

test("pages that crash or are closed lose nothing that was stored, QoS 2 comes once, and nothing stays", async () => {
  const name = "page";
  const url = `ws://127.0.0.1:${broker.server.ports.ws}`;
  const reader = await connect(`mqtt://127.0.0.1:${broker.port}`, { clientId: `${name}-reader` });
  const messages = await reader.subscribe(`numbers/${name}`, { qos: 2 });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { text } of messages) seen.push(Number(text));
  })();
  const accepted: number[] = [];
  let from = 1;
  for (const end of ["crash", "settle", "settled"]) {
    const page = await tab();
    let last = from - 1;
    let isSettled = false;
    await page.exposeFunction("kept", (number: number) => {
      if (number === -1) isSettled = true;
      else last = number;
    });
    const count = { crash: 100_000, settle: 20, settled: 0 }[end]!;
    page.evaluate(publishNumbers, { url, name, from, count }).catch(() => {});
    const killAt = from + 30;
    await eventually(() => (end === "crash" ? last >= killAt : isSettled), "messages to be stored");
    if (end === "crash") {
      const crashed = page.waitForEvent("crash");
      const session = await page.context().newCDPSession(page);
      session.send("Page.crash").catch(() => {});
      await crashed;
    }
    await page.close();
    for (let number = from; number <= last; number++) accepted.push(number);
    // Some more may be stored that nobody could be told of.
    from = last + 1000;
  }
  await eventually(() => accepted.every((number) => seen.includes(number)), "all to come");
  const inOrder = [...new Set(seen)];
  expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
  expect(seen.length).toBe(inOrder.length);
  await reader.end();
  await reading;
}, 30_000);

test("one client at a time, and always the same", async () => {
  const open = async ({ clientId, url }: { clientId: string; url: string }): Promise<string> => {
    const { connect, indexedDbStore } = (await import(`${location.origin}/main.js`)) as typeof browserLibrary;
    const options = { clientId, sessionExpiryMs: 600_000, store: indexedDbStore("shared") };
    return connect(url, options).then(
      () => "open",
      (error) => `${error.name}: ${error.message}`,
    );
  };
  const url = `ws://127.0.0.1:${broker.server.ports.ws}`;
  const [one, other] = [await tab(), await tab()];
  expect(await one.evaluate(open, { clientId: "c", url })).toBe("open");
  expect(await other.evaluate(open, { clientId: "c", url })).toBe(
    "StoreFailed: the store shared is in use by another client, maybe in another tab",
  );
  await one.close();
  expect(await other.evaluate(open, { clientId: "d", url })).toBe(
    'StoreFailed: the store shared is of the client "c", not "d"',
  );
  expect(await other.evaluate(open, { clientId: "c", url })).toBe("open");
  await other.close();
}, 30_000);

test("a page that has come over plain HTTP is told what it needs", async () => {
  const store = new IndexedDbStore("x", { indexedDB: { open: () => expect.unreachable() }, locks: undefined });
  await expect(store.open("c")).rejects.toThrow("a store needs a page that has come over HTTPS");
});
