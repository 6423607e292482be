/** Clients whose certificates have been revoked, over TLS and over WebSocket: they do not come in, nor stay. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import mqttPacket from "mqtt-packet";
import { silentLog } from "../../src/base/log.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { startServer } from "../../src/server/server.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority, type Pair, textOf } from "../support/certificates.ts";
import { type AnyPacket, connectPacket } from "../support/raw-client.ts";

let authority: Authority;
let server: Pair;
let good: Pair;
let bad: Pair;

beforeAll(() => {
  authority = makeAuthority();
  server = authority.issue("server");
  good = authority.issue("good");
  bad = authority.issue("bad");
});
afterAll(() => authority.remove());

let files = 0;

/** A broker for clients with certificates, and its file of lists. */
async function start(list: string, more: Partial<BrokerOptions> = {}): Promise<[broker: TestBroker, crl: string]> {
  const crl = join(authority.folder, `lists-${files++}.pem`);
  writeFileSync(crl, list);
  const tls = { tlsPort: 0, wssPort: 0, tlsCert: server.cert, tlsKey: server.key, tlsCa: authority.ca, tlsCrl: crl };
  return [await startBroker({ port: -1, ...tls, tlsClientCert: "require", ...more }), crl];
}

const identity = (pair: Pair) => ({ ca: textOf(authority.ca), cert: textOf(pair.cert), key: textOf(pair.key) });

interface Visitor {
  readonly client: MqttClient;
  /** Reason codes of DISCONNECT that the broker has sent. */
  readonly told: number[];
  readonly isClosed: () => boolean;
}

async function visit(broker: TestBroker, pair: Pair, way: "tls" | "wss", more: IClientOptions = {}): Promise<Visitor> {
  const { tls, wss } = broker.server.ports;
  const url = way === "tls" ? `mqtts://localhost:${tls}` : `wss://localhost:${wss}/mqtt`;
  const shown = way === "tls" ? identity(pair) : { wsOptions: identity(pair) };
  const options = { protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 20_000 } as const;
  const client = await mqtt.connectAsync(url, { ...options, ...shown, ...more });
  const told: number[] = [];
  let isClosed = false;
  client.on("disconnect", ({ reasonCode }) => told.push(reasonCode ?? 0));
  client.on("close", () => {
    isClosed = true;
  });
  client.on("error", () => {});
  return { client, told, isClosed: () => isClosed };
}

/** True if a client with that certificate is let in. */
async function isLetIn(broker: TestBroker, pair: Pair, way: "tls" | "wss"): Promise<boolean> {
  const visitor = await visit(broker, pair, way).catch(() => undefined);
  await visitor?.client.endAsync(true);
  return visitor !== undefined;
}

/** A TLS connection whose handshake is over. */
async function shakeHands(broker: TestBroker, pair: Pair, session?: Buffer): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const options = {
    port: broker.server.ports.tls,
    host: "localhost",
    ...identity(pair),
    maxVersion: "TLSv1.2" as const,
  };
  const socket = connectTls({ ...options, ...(session && { session }) }, () => resolve(socket));
  socket.on("error", reject);
  return promise;
}

/** Sends CONNECT over a connection that is open; returns CONNACK's reason code; -1: it was closed. */
async function connectOver(socket: TLSSocket): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const parser = mqttPacket.parser({ protocolVersion: 5 });
  parser.on("packet", (packet: AnyPacket) => resolve(packet.reasonCode ?? 0));
  socket.on("data", (bytes) => parser.parse(bytes as Buffer));
  socket.on("close", () => resolve(-1));
  socket.on("error", () => resolve(-1));
  socket.write(mqttPacket.generate(connectPacket({ protocolVersion: 5 }), { protocolVersion: 5 }));
  return promise;
}

test("a revoked certificate does not come in, over TLS nor WebSocket; others do", async () => {
  const [broker] = await start(authority.list([bad]));
  for (const way of ["tls", "wss"] as const) {
    expect(await isLetIn(broker, bad, way)).toBe(false);
    expect(await isLetIn(broker, good, way)).toBe(true);
  }
  await broker.stop();
  const [lenient] = await start(authority.list([bad]), { tlsClientCert: "request", allowAnonymous: true });
  expect(await isLetIn(lenient, bad, "tls")).toBe(false);
  expect(await isLetIn(lenient, good, "tls")).toBe(true);
  const bare = mqtt.connectAsync(`mqtts://localhost:${lenient.server.ports.tls}`, { ca: textOf(authority.ca) });
  await (await bare).endAsync();
  await lenient.stop();
});

test("a certificate that is revoked meanwhile ends its connections, with 0x87; a malformed file ends nobody's", async () => {
  const [broker, crl] = await start(authority.list([]));
  const visitors = await Promise.all([
    visit(broker, bad, "tls"),
    visit(broker, bad, "wss"),
    visit(broker, good, "tls"),
  ]);
  const [overTls, overWeb, other] = visitors as [Visitor, Visitor, Visitor];
  const waiting = await shakeHands(broker, bad);
  const impostor = makeAuthority();
  const list = authority.list([bad]);
  for (const wrong of [list.slice(0, -40), "", impostor.list([bad])]) {
    writeFileSync(crl, wrong);
    broker.server.reload();
    expect(await isLetIn(broker, bad, "tls")).toBe(true);
  }
  for (const { client } of visitors) await client.publishAsync("still/here", "", { qos: 1 });
  writeFileSync(crl, list);
  broker.server.reload();
  await eventually(() => overTls.isClosed() && overWeb.isClosed(), "the revoked ones' connections end", 60_000);
  expect([overTls.told, overWeb.told, other.told]).toEqual([[0x87], [0x87], []]);
  // The handshake was over before, and CONNECT comes now.
  expect(await connectOver(waiting)).toBe(0x87);
  await other.client.publishAsync("still/here", "", { qos: 1 });
  expect(await isLetIn(broker, bad, "tls")).toBe(false);
  await other.client.endAsync();
  await broker.stop();
  impostor.remove();
});

test("who is revoked while a hook thinks about him is sent away", async () => {
  const { promise: answer, resolve: decide } = Promise.withResolvers<void>();
  let isAsked = false;
  const hook = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch() {
      isAsked = true;
      await answer;
      return Response.json({ result: "allow" });
    },
  });
  const [broker, crl] = await start(authority.list([]), { authHook: hook.url.href, tlsIdentity: "none" });
  const more = { username: "u", password: "p" };
  const coming = visit(broker, bad, "tls", more);
  coming.catch(() => {});
  await eventually(() => isAsked, "the hook is asked", 60_000);
  writeFileSync(crl, authority.list([bad]));
  broker.server.reload();
  decide();
  const visitor = await coming.catch(() => undefined);
  if (visitor !== undefined) await eventually(visitor.isClosed, "he is sent away", 60_000);
  await eventually(() => broker.server.broker.context.metrics.connections === 0, "nobody is here", 60_000);
  await broker.stop();
  await hook.stop(true);
});

test("a TLS session of before the certificate was revoked is of no use", async () => {
  const [broker, crl] = await start(authority.list([]));
  const before = await shakeHands(broker, bad);
  expect(await connectOver(before)).toBe(0);
  const session = Buffer.from(before.getSession()!);
  const again = await shakeHands(broker, bad, session);
  // Otherwise the test shows nothing.
  expect(again.isSessionReused()).toBe(true);
  expect(await connectOver(again)).toBe(0);
  writeFileSync(crl, authority.list([bad]));
  broker.server.reload();
  const late = await shakeHands(broker, bad, session).catch(() => undefined);
  if (late !== undefined) expect(await connectOver(late)).toBe(-1);
  await broker.stop();
});

test("where no list says anything, or the list has ended, nobody is let in; /metrics says when it ends", async () => {
  const httpPort = await freePort();
  const until = new Date(Math.floor(Date.now() / 1000) * 1000 + 3_600_000);
  const [broker, crl] = await start(authority.list([], { until }), { httpPort, httpHost: "127.0.0.1" });
  const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  expect(metrics).toContain(`mqttzoo_tls_crl_expiry_timestamp_seconds ${until.getTime() / 1000}\n`);
  expect(await isLetIn(broker, good, "tls")).toBe(true);
  writeFileSync(
    crl,
    authority.list([], { from: new Date(Date.now() - 7_200_000), until: new Date(Date.now() - 1000) }),
  );
  broker.server.reload();
  expect(await isLetIn(broker, good, "tls")).toBe(false);
  const other = makeAuthority({ name: "Another" });
  const ca = join(authority.folder, "both.pem");
  writeFileSync(ca, `${textOf(authority.ca)}${textOf(other.ca)}`);
  await broker.stop();
  const [second] = await start(other.list([]), { tlsCa: ca });
  expect(await isLetIn(second, good, "tls")).toBe(false);
  expect(await isLetIn(second, other.issue("theirs"), "tls")).toBe(true);
  await second.stop();
  other.remove();
});

test("options that do not go together, and files that are wrong, are refused in words", async () => {
  const crl = join(authority.folder, "wrong.pem");
  const base = { tlsPort: 0, tlsCert: server.cert, tlsKey: server.key, tlsCrl: crl, data: join(authority.folder, "d") };
  const begin = (options: Partial<BrokerOptions>): Promise<string> =>
    startServer({ ...defaultOptions, port: -1, ...base, ...options }, silentLog).then(
      () => "it started",
      (error: Error) => error.message,
    );
  writeFileSync(crl, authority.list([]));
  expect(await begin({ tlsCa: authority.ca })).toContain("--tls-crl says which");
  expect(await begin({ port: 0, tlsPort: -1, tlsClientCert: "require" })).toContain("--tls-crl says which");
  expect(await begin({ tlsClientCert: "require" })).toContain("--tls-ca");
  const strict = { tlsCa: authority.ca, tlsClientCert: "require" } as const;
  writeFileSync(crl, textOf(authority.ca));
  expect(await begin(strict)).toContain(`${crl}: among the lists of revoked certificates is a CERTIFICATE`);
  writeFileSync(crl, "");
  expect(await begin(strict)).toContain("there is no list");
  expect(await begin({ ...strict, tlsCrl: "/nowhere" })).toContain("cannot read /nowhere");
});
