/** The ways to a broker that the client library knows, from Bun and from Node: WebSocket, Unix sockets, keys. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/for-bun.ts";
import { listenUnix } from "../../src/net/tcp.ts";
import type { Transport } from "../../src/net/transport.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { builtPackage } from "../support/package.ts";

let authority: Authority;
let broker: TestBroker;
/** Lets in whoever has a certificate. */
let strict: TestBroker;
let folder: string;
let requests: { readonly path: string; readonly headers: Headers }[] = [];
let gateway: ReturnType<typeof Bun.serve>;
let key: string;
let cert: string;
const socket = (): string => join(folder, "broker sock");
let unix: ReturnType<typeof listenUnix>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-sdk-ways-"));
  authority = makeAuthority();
  const server = authority.issue("server");
  const client = authority.issue("device");
  cert = readFileSync(client.cert, "utf8");
  const encrypt = ["openssl", "pkcs8", "-topk8", "-in", client.key, "-passout", "pass:open sesame"];
  key = Bun.spawnSync(encrypt).stdout.toString();
  expect(key).toContain("ENCRYPTED");
  const tls = { tlsPort: 0, wssPort: 0, tlsCert: server.cert, tlsKey: server.key };
  broker = await startBroker({ wsPort: 0 });
  strict = await startBroker({ ...tls, tlsCa: authority.ca, tlsClientCert: "require" });
  gateway = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch({ url, headers }) {
      const { pathname, search } = new URL(url);
      requests.push({ path: pathname + search, headers });
      return new Response("", { status: headers.get("authorization") === null ? 401 : 403 });
    },
  });
  unix = listenUnix(socket(), bridgeTo(broker.port));
});
afterAll(async () => {
  unix.close();
  gateway.stop(true);
  await Promise.all([broker.stop(), strict.stop()]);
  authority.remove();
  rmSync(folder, { recursive: true });
});

interface Bridge {
  readonly queue: Uint8Array[];
  other?: { write(bytes: Uint8Array): number; end(): void };
}

/** A Unix socket in front of a port. */
function bridgeTo(port: number) {
  return {
    opened(transport: Transport): Bridge {
      const bridge: Bridge = { queue: [] };
      void Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: {
          open(socket) {
            for (const bytes of bridge.queue) socket.write(bytes);
            bridge.other = socket;
          },
          data: (_, bytes) => void transport.write(bytes, 0, bytes.length),
          close: () => transport.close(),
        },
      });
      return bridge;
    },
    received(bridge: Bridge, bytes: Uint8Array) {
      if (bridge.other === undefined) bridge.queue.push(bytes.slice());
      else bridge.other.write(bytes);
    },
    drained() {},
    closed: (bridge: Bridge) => bridge.other?.end(),
  };
}

/** Publishes, is told its own message, and prints it; or what has gone wrong. */
const program = `
const [library, url, options] = process.argv.slice(2);
const { connect } = await import(library);
try {
  const client = await connect(url, { reconnect: false, ...JSON.parse(options) });
  const messages = await client.subscribe("way", { qos: 1 });
  const text = "x".repeat(100_000);
  await client.publish("way", text, { qos: 1 });
  console.log((await messages.next()).value.text === text ? "whole" : "broken");
  await client.end();
} catch (error) {
  console.log(\`\${error.name}: \${error.message}\`);
}
process.exit(0);
`;

async function play(runtime: string, url: string, options: object = {}): Promise<string> {
  const path = join(folder, "program.mjs");
  writeFileSync(path, program);
  const library = join(builtPackage(), runtime, "main.js");
  const command = [runtime === "bun" ? process.execPath : "node", path, library, url, JSON.stringify(options)];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  return (await new Response(child.stdout).text()).trim();
}

test.each(["bun", "node"])("%s: every spelling of a URL, WebSocket and Unix sockets among them", async (runtime) => {
  const { ports } = strict.server;
  const tls = { tls: { ca: readFileSync(authority.ca, "utf8"), cert, key, passphrase: "open sesame" } };
  const ways: [string, object?][] = [
    [`tcp://localhost:${broker.port}`],
    [`ws://127.0.0.1:${broker.server.ports.ws}/mqtt`],
    [`mqtt+unix://${encodeURI(socket())}`],
    [`ssl://localhost:${ports.tls}`, tls],
    [`wss://localhost:${ports.wss}`, tls],
  ];
  for (const [url, options] of ways) expect([url, await play(runtime, url, options)]).toEqual([url, "whole"]);
  const closed = await play(runtime, `mqtts://localhost:${ports.tls}`, { tls: { ...tls.tls, passphrase: "wrong" } });
  expect(closed).toStartWith("ConnectFailed");
  expect(await play(runtime, `mqtt+unix://${join(folder, "nothing")}`)).toMatch(
    /^ConnectFailed: cannot connect to .*nothing/,
  );
});

test.each(["bun", "node"])(
  "%s: headers and the path of a WebSocket are sent, and a refusal says what helps",
  async (runtime) => {
    requests = [];
    const url = `ws://127.0.0.1:${gateway.port}/gate/way?token=1`;
    expect(await play(runtime, url)).toMatch(
      /^ConnectFailed: cannot connect to ws:.*401.*the option webSocket.headers$/,
    );
    const headers = { authorization: "Bearer x", "x-device": "7" };
    expect(await play(runtime, url, { webSocket: { headers } })).toContain("403");
    expect(requests.map(({ path }) => path)).toEqual(["/gate/way?token=1", "/gate/way?token=1"]);
    expect(requests[1]!.headers.get("x-device")).toBe("7");
    for (const bad of [{ "a b": "x" }, { a: "x\r\ny: z" }, { a: 5 }])
      expect(await play(runtime, url, { webSocket: { headers: bad } })).toStartWith("TypeError");
  },
);

test("headers may be asked for before each connection", async () => {
  requests = [];
  let asked = 0;
  const client = await connect(`ws://127.0.0.1:${gateway.port}/`, {
    retry: "for ever",
    reconnect: { minMs: 0, maxMs: 1 },
    webSocket: { headers: async () => ({ authorization: `Bearer ${++asked}` }) },
  });
  for await (const _ of client.statuses()) if (requests.length >= 3) break;
  await client.end();
  const tokens = requests.map(({ headers }) => headers.get("authorization"));
  expect(tokens.slice(0, 3)).toEqual(["Bearer 1", "Bearer 2", "Bearer 3"]);
});

test.each([
  ["http://x", "is not mqtt://"],
  ["mqtt://", "is not mqtt://"],
  ["mqtt+unix://host/path", "is not mqtt://"],
  ["mqtt+unix:///", "needs the path of a socket"],
  ["mqtt://user:50%@host", "a % in a broker's URL begins no character"],
])("%s is a TypeError in words", async (url, words) => {
  const error = await connect(url).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(TypeError);
  expect(error.message).toContain(words);
  expect(error.message).not.toContain("50%");
});
