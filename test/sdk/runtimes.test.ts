/** The client library on Bun, on Node and in a browser: the same scenarios on each, with the built package. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrokerName, start } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { builtPackage } from "../support/package.ts";
import { allScenarios, play, scenarios, scenariosOf5 } from "./scenarios.mjs";

let broker: TestBroker;
let guarded: TestBroker;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-sdk-"));
  const users = join(folder, "users");
  expect(Bun.spawnSync(["mosquitto_passwd", "-b", "-c", users, "alice", "right"]).exitCode).toBe(0);
  writeFileSync(join(folder, "acl"), "user alice\ntopic readwrite home/#\n");
  // So little that a message of 1 MB cannot be paid.
  broker = await startBroker({ wsPort: 0, bankCapital: 30_000 });
  guarded = await startBroker({ wsPort: 0, passwordFile: users, aclFile: join(folder, "acl") });
});

afterAll(async () => {
  await Promise.all([broker.stop(), guarded.stop()]);
  rmSync(folder, { recursive: true });
});

function well(all: object): Record<string, string> {
  return Object.fromEntries(Object.keys(all).map((name) => [name, "ok"]));
}

const allWell = well(allScenarios);

function stage(scheme: "mqtt" | "ws"): Record<string, string> {
  const url = ({ port, server }: TestBroker): string =>
    `${scheme}://127.0.0.1:${scheme === "mqtt" ? port : server.ports.ws}`;
  return { url: url(broker), guardedUrl: url(guarded) };
}

/** Runs a process, and returns what it prints as JSON. */
async function resultsOf(command: readonly string[]): Promise<unknown> {
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe", cwd: import.meta.dir });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`${command[0]} failed: ${out}${err}`);
  return JSON.parse(out);
}

test.each(["mqtt", "ws"] as const)(
  "Bun, %s",
  async (scheme) => {
    const lib = await import(join(builtPackage(), "bun/main.js"));
    const results = await play(allScenarios, { ...stage(scheme), lib, connect: lib.connect });
    expect(results).toEqual(allWell);
  },
  120_000,
);

test("Node, mqtt", async () => {
  const results = await resultsOf([
    "node",
    "on-node.mjs",
    join(builtPackage(), "node/main.js"),
    JSON.stringify(stage("mqtt")),
  ]);
  expect(results).toEqual(allWell);
}, 120_000);

test("a headless Chromium, ws", async () => {
  const browser = Bun.which("chromium") ?? Bun.which("chromium-browser");
  if (browser === null) throw new Error("no chromium: install it (on Debian: apt-get install chromium)");
  const pages = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch({ url }) {
      const { pathname } = new URL(url);
      if (pathname === "/") return new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
      if (!/\.m?js$/.test(pathname)) return new Response("", { status: 404 });
      const folder = pathname === "/scenarios.mjs" ? import.meta.dir : join(builtPackage(), "browser");
      return new Response(Bun.file(join(folder, pathname)), { headers: { "content-type": "text/javascript" } });
    },
  });
  try {
    const page = `http://127.0.0.1:${pages.port}/`;
    const results = await resultsOf(["node", "in-browser.mjs", browser, page, JSON.stringify(stage("ws"))]);
    expect(results).toEqual(allWell);
  } finally {
    pages.stop(true);
  }
}, 120_000);

test.each([
  ["mosquitto", { ...scenarios, ...scenariosOf5 }],
  // It does not speak MQTT 5, so the client finds that it has to speak 3.1.1.
  ["aedes", scenarios],
] as const)(
  "Bun, at %s",
  async (name, played) => {
    const lib = await import(join(builtPackage(), "bun/main.js"));
    const other = await start(name as BrokerName);
    try {
      const stage = { url: `mqtt://127.0.0.1:${other.port}`, lib, connect: lib.connect };
      expect(await play(played, stage)).toEqual(well(played));
    } finally {
      await other.stop();
    }
  },
  120_000,
);
