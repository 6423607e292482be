/** The dashboard's files: small, compressed, strict in what a browser may do, and the same in the executable. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { readDashboard } from "../../src/server/dashboard-bundle.ts";
import { freePort } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { dashboardPlugin } from "../tools/dashboard-plugin.ts";

/** All that a browser fetches, in bytes, as it comes over the wire. */
const bytesMax = 150 * 1024;

let broker: TestBroker;
let base: string;
beforeAll(async () => {
  const httpPort = await freePort();
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1" });
  base = `http://127.0.0.1:${httpPort}`;
});
afterAll(() => broker.stop());

/** Returns the paths that the page names. */
async function filesOf(page: string): Promise<string[]> {
  return [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
}

describe("the dashboard's door", () => {
  test("the page and all that it names comes compressed, and is small", async () => {
    const page = await (await fetch(`${base}/`)).text();
    const files = await filesOf(page);
    expect(files.map((path) => path.split(".").at(-1)).sort()).toEqual(["css", "js", "svg"]);
    for (const encoding of ["gzip", "br"]) {
      let total = page.length;
      for (const path of files) {
        const answer = await fetch(base + path, { headers: { "accept-encoding": encoding }, decompress: false });
        const bytes = new Uint8Array(await answer.arrayBuffer());
        expect(answer.status).toBe(200);
        expect(answer.headers.get("cache-control")).toContain("immutable");
        total += bytes.length;
        if (path.endsWith(".svg")) continue;
        expect(answer.headers.get("content-encoding")).toBe(encoding);
        expect(answer.headers.get("vary")).toBe("accept-encoding");
        const plain = await fetch(base + path, { headers: { "accept-encoding": "identity" } });
        expect(plain.headers.get("content-encoding")).toBeNull();
        const unpacked = encoding === "br" ? brotliDecompressSync(bytes) : gunzipSync(bytes);
        expect(await plain.text()).toBe(unpacked.toString("utf8"));
      }
      expect(total).toBeGreaterThan(10_000);
      expect(total).toBeLessThan(bytesMax);
    }
  });

  test("no script but the own one, nothing from elsewhere, in nobody else's frame", async () => {
    const answer = await fetch(`${base}/`);
    const page = await answer.text();
    const policy = answer.headers.get("content-security-policy")!;
    for (const part of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"])
      expect(policy).toContain(part);
    expect(policy).not.toMatch(/unsafe|data:|https?:|\*/);
    expect(answer.headers.get("x-frame-options")).toBe("DENY");
    expect(page).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\son\w+=|style=|https?:/);
    const script = await (await fetch(base + (await filesOf(page)).find((path) => path.endsWith(".js"))!)).text();
    // Names of SVG's and XHTML's are no addresses.
    const addresses = [...script.matchAll(/https?:\/\/[\w.-]+/g)].map(([address]) => address);
    expect(addresses.filter((address) => address !== "http://www.w3.org")).toEqual([]);
  });

  test("only what is there is answered, and only to who reads", async () => {
    expect((await fetch(`${base}/dashboard-nothing.js`)).status).toBe(404);
    expect((await fetch(`${base}/`, { method: "POST" })).status).toBe(405);
    const head = await fetch(`${base}/`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });

  test("the executable holds the same files", async () => {
    const { script, style } = await readDashboard();
    let module = "";
    const plugin = await dashboardPlugin();
    plugin.setup({
      onLoad: (_: unknown, load: () => { contents: string }) => {
        module = load().contents;
      },
    } as never);
    const url = `data:text/javascript;base64,${Buffer.from(module).toString("base64")}`;
    expect(await (await import(url)).readDashboard()).toEqual({ script, style });
  });
});
