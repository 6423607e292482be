/** The page for React as its reader has it: both files compiled and bundled, and used in a headless Chromium. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { TestBrowser } from "../support/browser.ts";
import { builtPackage } from "../support/package.ts";

const root = join(import.meta.dir, "../..");
const page = readFileSync(join(root, "src/client/react.md"), "utf8");
const [hooks, app] = [...page.matchAll(/```tsx\n([\s\S]*?)```/g)].map(([, code]) => code!) as [string, string];

let folder: string;
let broker: TestBroker;
let browser: TestBrowser;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-react-"));
  mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
  for (const name of ["react", "react-dom", "scheduler", "csstype", "@types/react", "@types/react-dom"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  symlinkSync(builtPackage(), join(folder, "node_modules/mqttzoo"));
  writeFileSync(join(folder, "mqtt.tsx"), hooks);
  writeFileSync(join(folder, "app.tsx"), app);
  broker = await startBroker({ wsPort: 0 });
  browser = await TestBrowser.start();
}, 120_000);

afterAll(async () => {
  await browser.stop();
  await broker.stop();
  rmSync(folder, { recursive: true });
});

test("the hooks are as short as the page says, and of the right types", async () => {
  expect(hooks.split("\n").filter((line) => line.trim() !== "" && !/^\s*\/\*\*/.test(line)).length).toBeLessThan(41);
  const compilerOptions = {
    ...{ module: "preserve", moduleResolution: "bundler", target: "esnext", lib: ["esnext", "dom", "dom.iterable"] },
    ...{ jsx: "react-jsx", types: [], strict: true, noEmit: true, skipLibCheck: true, preserveSymlinks: true },
    allowImportingTsExtensions: true,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["app.tsx"] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, tsc, "--project", folder], { stdout: "pipe" });
  expect([exitCode, stdout.toString()]).toEqual([0, ""]);
}, 120_000);

/** Serves the application with a URL of ours; in strict mode React mounts each component twice, as in development. */
async function served(url: string): Promise<{ readonly url: string; stop(): void }> {
  const strict = app
    .replace('"ws://localhost"', JSON.stringify(url))
    .replace("<MqttProvider", "<StrictMode><MqttProvider")
    .replace("</MqttProvider>,", "</MqttProvider></StrictMode>,");
  writeFileSync(join(folder, "strict.tsx"), `import { StrictMode } from "react";\n${strict}`);
  const built = await Bun.build({
    entrypoints: [join(folder, "strict.tsx")],
    target: "browser",
    define: { "process.env.NODE_ENV": '"development"' },
    conditions: ["development"],
  });
  const script = await built.outputs[0]!.text();
  const html =
    '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="app.js"></script>';
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url: asked }) =>
      asked.endsWith("app.js")
        ? new Response(script, { headers: { "content-type": "text/javascript" } })
        : new Response(html, { headers: { "content-type": "text/html" } }),
  });
  return { url: `http://127.0.0.1:${server.port}/`, stop: () => void server.stop(true) };
}

test("a page shows what comes, publishes, and follows its connection; nothing of it stays at the broker", async () => {
  const { metrics } = broker.server.broker.context;
  const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`);
  await publisher.publishAsync("room/kitchen/temp", "19", { qos: 1, retain: true });
  const pages = await served(`ws://127.0.0.1:${broker.server.ports.ws}`);
  try {
    const { page, complaints } = await browser.visit(pages.url);
    await page.getByRole("heading", { name: "kitchen: 19" }).waitFor();
    await page.locator("output", { hasText: "connected" }).waitFor();
    const asked = new Promise<string>((resolve) =>
      publisher.on("message", (_, payload) => resolve(payload.toString())),
    );
    await publisher.subscribeAsync("room/kitchen/set", { qos: 1 });
    await page.getByRole("button", { name: "22 °C" }).click();
    expect(await asked).toBe("22");
    for (const degrees of ["20", "21"]) await publisher.publishAsync("room/kitchen/temp", degrees, { qos: 1 });
    await page.getByRole("heading", { name: "kitchen: 21" }).waitFor();
    const lines = page.locator("li");
    await eventually(async () => (await lines.count()) === 3, "three messages are shown");
    expect((await lines.allTextContents()).slice(0, 2)).toEqual(["room/kitchen/temp 21", "room/kitchen/temp 20"]);
    // Of the client that strict mode connected first nothing is left.
    await eventually(() => metrics.connections === 2, "the page has one connection");
    await page.close();
    await eventually(() => metrics.connections === 1, "the page has none");
    expect(complaints).toEqual([]);
  } finally {
    pages.stop();
    await publisher.endAsync();
  }
}, 60_000);

test("a broker that is not there is told of in words", async () => {
  const pages = await served("ws://127.0.0.1:9");
  try {
    const { page } = await browser.visit(pages.url);
    await page.locator("output", { hasText: "127.0.0.1:9" }).waitFor();
    expect(await page.getByRole("button").isDisabled()).toBe(true);
  } finally {
    pages.stop();
  }
}, 60_000);
