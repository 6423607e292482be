/** The client library over TLS, on Bun and on Node: who is believed, and who is not. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { builtPackage } from "../support/package.ts";

let authority: Authority;
let stranger: Authority;
let broker: TestBroker;
let strict: TestBroker;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-sdk-tls-"));
  [authority, stranger] = [makeAuthority(), makeAuthority()];
  const { cert, key } = authority.issue("server");
  const files = { tlsPort: 0, tlsCert: cert, tlsKey: key };
  broker = await startBroker(files);
  strict = await startBroker({ ...files, tlsCa: authority.ca, tlsClientCert: "require" });
});
afterAll(async () => {
  await Promise.all([broker.stop(), strict.stop()]);
  for (const one of [authority, stranger]) one.remove();
  rmSync(folder, { recursive: true });
});

/** Publishes, is told its own message, and prints it; or what has gone wrong. */
const program = `
const [library, url, tls] = process.argv.slice(2);
const { connect } = await import(library);
try {
  const client = await connect(url, { tls: JSON.parse(tls), reconnect: false, connectTimeoutMs: 30_000 });
  const messages = await client.subscribe("tls", { qos: 1 });
  await client.publish("tls", "over TLS", { qos: 1 });
  console.log((await messages.next()).value.text);
  await client.end();
} catch (error) {
  console.log(\`\${error.name}: \${error.message}\`);
}
process.exit(0);
`;

async function play(
  runtime: "bun" | "node",
  { tls }: TestBroker["server"]["ports"],
  options: object,
  host = "localhost",
) {
  const path = join(folder, "program.mjs");
  writeFileSync(path, program);
  const command = runtime === "bun" ? process.execPath : "node";
  const args = [join(builtPackage(), runtime, "main.js"), `mqtts://${host}:${tls}`, JSON.stringify(options)];
  const child = Bun.spawn([command, path, ...args], { stdout: "pipe", stderr: "inherit" });
  return (await new Response(child.stdout).text()).trim();
}

test.each(["bun", "node"] as const)("%s: certificates and names are looked at", async (runtime) => {
  const { ports } = broker.server;
  const ca = readFileSync(authority.ca, "utf8");
  expect(await play(runtime, ports, { ca })).toBe("over TLS");
  expect(await play(runtime, ports, { ca, version: "1.2" })).toBe("over TLS");
  const other = await play(runtime, ports, { ca: readFileSync(stranger.ca, "utf8") });
  expect(other).toMatch(/^ConnectFailed: cannot connect to localhost:\d+: TLS: .*(certificate|VERIFY|signed)/i);
  expect(await play(runtime, ports, {})).toStartWith("ConnectFailed");
  expect(await play(runtime, ports, { isInsecure: true })).toBe("over TLS");
  expect(await play(runtime, ports, { ca, serverName: "other.example.org" })).toStartWith("ConnectFailed");
  expect(await play(runtime, ports, { ca, serverName: "other.example.org", isInsecure: true })).toBe("over TLS");
});

test.each(["bun", "node"] as const)("%s: a broker that wants certificates is shown one", async (runtime) => {
  const { ports } = strict.server;
  const ca = readFileSync(authority.ca, "utf8");
  const { cert, key } = authority.issue(`client-${runtime}`);
  const shown = { ca, cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  expect(await play(runtime, ports, shown)).toBe("over TLS");
  expect(await play(runtime, ports, { ca })).toStartWith("ConnectFailed");
});
