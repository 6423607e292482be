/** `--http-tls`: probes and the API over TLS alone, with a certificate that follows its files. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority, type Pair } from "../support/certificates.ts";

let authority: Authority;
let first: Pair;
let next: Pair;
let broker: TestBroker;
let httpPort: number;
let own: Pair;
let ca: string;
beforeAll(async () => {
  authority = makeAuthority();
  ca = readFileSync(authority.ca, "utf8");
  [first, next] = [authority.issue("first"), authority.issue("next")];
  own = { cert: join(authority.folder, "tls.crt"), key: join(authority.folder, "tls.key") };
  show(first);
  httpPort = await freePort();
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1", httpTls: true, tlsCert: own.cert, tlsKey: own.key });
});
afterAll(async () => {
  await broker.stop();
  authority.remove();
});

function show({ cert, key }: Pair): void {
  copyFileSync(cert, own.cert);
  copyFileSync(key, own.key);
}

function dial(options: object = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port: httpPort, host: "localhost", ca, ...options }, () => resolve(socket));
    socket.on("error", reject);
  });
}

/** Returns the name in the certificate that is shown; "reset": the port has just been closed and opened again. */
async function subject(): Promise<unknown> {
  const socket = await dial().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ECONNRESET" && error.code !== "ECONNREFUSED") throw error;
    return undefined;
  });
  if (socket === undefined) return "reset";
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

test("probes, metrics and the API are answered over TLS, and plain HTTP is not", async () => {
  const ask = (path: string): Promise<Response> => fetch(`https://localhost:${httpPort}${path}`, { tls: { ca } });
  for (const path of ["/readyz", "/metrics", "/api/v1/clients"]) expect((await ask(path)).status).toBe(200);
  expect(((await (await ask("/api/v1/me")).json()) as { from: string }).from).toBe("127.0.0.1");
  expect(await fetch(`http://localhost:${httpPort}/readyz`).catch(() => "refused")).toBe("refused");
  expect(await fetch(`https://localhost:${httpPort}/readyz`).catch(() => "refused")).toBe("refused");
  expect(await dial({ minVersion: "TLSv1", maxVersion: "TLSv1.1" }).catch(() => "refused")).toBe("refused");
});

test("a renewed certificate is shown; what is being asked meanwhile is answered, and a broken one changes nothing", async () => {
  expect(await subject()).toBe("first");
  const slow = await dial();
  let got = "";
  slow.on("data", (bytes) => {
    got += String(bytes);
  });
  const body = JSON.stringify({ topic: "to/nobody", payload: "x" });
  const head = `POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  slow.write(`${head}Content-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`);
  show(next);
  broker.server.reload();
  await eventually(async () => (await subject()) === "next", "the new certificate is shown");
  slow.write(body.slice(5));
  await eventually(() => got.includes('{"done":true}'), "the slow request is answered");
  slow.destroy();
  show({ cert: first.cert, key: next.key });
  broker.server.reload();
  expect(await subject()).toBe("next");
  show(first);
  broker.server.reload();
  await eventually(async () => (await subject()) === "first", "the one before is shown again");
});

test("it needs a certificate, and a port", async () => {
  const why = (options: object): Promise<unknown> =>
    startBroker(options).then(
      (started) => started.stop(),
      (error: Error) => error.message,
    );
  expect(await why({ httpPort: 1, httpTls: true })).toBe("--http-tls needs --tls-cert and --tls-key");
  expect(await why({ httpTls: true, tlsCert: own.cert, tlsKey: own.key })).toContain("it needs --http-port");
});
