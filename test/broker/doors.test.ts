/** Every way in, with foreign clients: TLS, WebSocket, both, a Unix socket, behind a load balancer. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import mqttPacket from "mqtt-packet";
import { hashPassword } from "../../src/access/hashes.ts";
import { silentLog } from "../../src/base/log.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { startServer } from "../../src/server/server.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority, type Pair, textOf } from "../support/certificates.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

let authority: Authority;
let server: Pair;
let device: Pair;
let broker: TestBroker;

beforeAll(async () => {
  authority = makeAuthority();
  server = authority.issue("server");
  device = authority.issue("device-7");
  broker = await startBroker({
    tlsPort: 0,
    wsPort: 0,
    wssPort: 0,
    tlsCert: server.cert,
    tlsKey: server.key,
    socket: join(authority.folder, "mqtt.sock"),
  });
});

afterAll(async () => {
  await broker.stop();
  authority.remove();
});

async function dial(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const ca = textOf(authority.ca);
  return mqtt.connectAsync(url, { ca, reconnectPeriod: 0, connectTimeout: 30_000, ...options });
}

/** A connection that fails; what the client heard. */
async function refusalOf(url: string, options: IClientOptions = {}): Promise<string> {
  const error = await dial(url, options).then(
    (client) => client.endAsync(true).then(() => new Error("it was let in")),
    (why: Error) => why,
  );
  return error.message;
}

test("one message through every door, small and large [MQTT-4.2.0-1]", async () => {
  const { ports } = broker.server;
  const urls = [
    `mqtt://127.0.0.1:${ports.tcp}`,
    `mqtts://localhost:${ports.tls}`,
    `ws://127.0.0.1:${ports.ws}/mqtt`,
    `ws://127.0.0.1:${ports.ws}`,
    `wss://localhost:${ports.wss}/mqtt`,
  ];
  const clients = await Promise.all(urls.map((url, index) => dial(url, { protocolVersion: index % 2 === 0 ? 5 : 4 })));
  const large = Buffer.alloc(3_000_000, 5);
  let heard = 0;
  for (const client of clients) {
    client.on("message", (_, payload) => {
      if (payload.length === 2 || large.equals(payload)) heard++;
    });
    await client.subscribeAsync("all/#", { qos: 1 });
  }
  for (const client of clients) {
    await client.publishAsync("all/small", "hi", { qos: 1 });
    await client.publishAsync("all/large", large, { qos: 2 });
  }
  await eventually(() => heard === 2 * urls.length ** 2, "all have heard all");
  await Promise.all(clients.map((client) => client.endAsync()));
});

test("a Unix socket", async () => {
  const socket = connectSocket(join(authority.folder, "mqtt.sock"));
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  const connack = new Promise<{ cmd: string }>((resolve) => parser.on("packet", resolve));
  socket.on("data", (bytes) => parser.parse(bytes as Buffer));
  socket.write(mqttPacket.generate(connectPacket(), { protocolVersion: 4 }));
  expect((await connack).cmd).toBe("connack");
  socket.destroy();
});

test("TLS: old versions, other protocols and plain text get nowhere, and hurt nobody", async () => {
  const port = broker.server.ports.tls;
  const attempt = (options: object): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTls({ port, host: "localhost", ca: textOf(authority.ca), ...options }, () => {
        resolve(`${socket.getProtocol()} ${socket.alpnProtocol}`);
        socket.destroy();
      });
      socket.on("error", () => resolve("refused"));
    });
  expect(await attempt({})).toBe("TLSv1.3 false");
  expect(await attempt({ maxVersion: "TLSv1.2", ALPNProtocols: ["mqtt"] })).toBe("TLSv1.2 mqtt");
  expect(await attempt({ ALPNProtocols: ["h2"] })).toBe("refused");
  expect(await attempt({ minVersion: "TLSv1", maxVersion: "TLSv1.1" })).toBe("refused");
  const plain = await RawClient.dial(port);
  plain.send(connectPacket());
  await plain.untilClosed();
  const silent = await RawClient.dial(port);
  const client = await dial(`mqtts://localhost:${port}`);
  await client.endAsync();
  silent.abort();
});

test("clients' certificates: required ones give the user's name, others are refused", async () => {
  const expired = authority.issue("expired", { days: -1 });
  const stranger = makeAuthority();
  const other = stranger.issue("device-8");
  const acl = join(authority.folder, "acl");
  writeFileSync(acl, "user device-7\ntopic readwrite d7/#\nuser device-7.test\ntopic readwrite san/#\n");
  const base = { tlsPort: 0, wssPort: 0, tlsCert: server.cert, tlsKey: server.key, tlsCa: authority.ca, aclFile: acl };
  const strict = await startBroker({ ...base, tlsClientCert: "require" });
  const url = `mqtts://localhost:${strict.server.ports.tls}`;
  const shown = (pair: Pair) => ({ cert: textOf(pair.cert), key: textOf(pair.key) });
  const client = await dial(url, { ...shown(device), protocolVersion: 5 });
  expect((await client.subscribeAsync(["d7/x", "d8/x"], { qos: 0 }).catch((error) => error)).message).toContain(
    "Not authorized",
  );
  const [connected] = strict.server.broker.context.localSessions.values();
  expect(connected!.connection!.transport.address).toBe("127.0.0.1");
  await client.publishAsync("d7/x", "hi", { qos: 1 });
  expect((await client.publishAsync("d8/x", "hi", { qos: 1 }).catch((error: Error) => error)) as Error).toBeInstanceOf(
    Error,
  );
  await client.endAsync();
  expect(await refusalOf(url)).not.toContain("let in");
  expect(await refusalOf(url, shown(expired))).not.toContain("let in");
  expect(await refusalOf(url, shown(other))).not.toContain("let in");
  const overWeb = await dial(`wss://localhost:${strict.server.ports.wss}/mqtt`, {
    wsOptions: { ...shown(device), ca: textOf(authority.ca) },
  });
  await overWeb.publishAsync("d7/x", "hi", { qos: 1 });
  await overWeb.endAsync();
  await strict.stop();
  const lenient = await startBroker({ ...base, tlsClientCert: "request", tlsIdentity: "san", allowAnonymous: true });
  const mild = `mqtts://localhost:${lenient.server.ports.tls}`;
  await (await dial(mild)).endAsync();
  const named = await dial(mild, shown(device));
  await named.publishAsync("san/x", "hi", { qos: 1 });
  await named.endAsync();
  expect(await refusalOf(mild, shown(other))).not.toContain("let in");
  await lenient.stop();
  stranger.remove();
});

test("a certificate that is replaced serves new handshakes; a broken one does not, and connections stay", async () => {
  const next = authority.issue("next");
  // As Kubernetes has it: the folder's files are links into a link that is swapped.
  const folder = join(authority.folder, "mounted");
  const version = (name: string, pair: Pair): void => {
    mkdirSync(join(folder, name), { recursive: true });
    copyFileSync(pair.cert, join(folder, name, "tls.crt"));
    copyFileSync(pair.key, join(folder, name, "tls.key"));
    symlinkSync(name, join(folder, "..next"));
    renameSync(join(folder, "..next"), join(folder, "..data"));
  };
  version("1", server);
  for (const file of ["tls.crt", "tls.key"]) symlinkSync(join("..data", file), join(folder, file));
  const own = await startBroker({
    port: -1,
    tlsPort: 0,
    tlsCert: join(folder, "tls.crt"),
    tlsKey: join(folder, "tls.key"),
  });
  const port = own.server.ports.tls;
  const subject = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ port, host: "localhost", ca: textOf(authority.ca) }, () => {
        resolve(socket.getPeerCertificate().subject.CN);
        socket.destroy();
      });
      socket.on("error", reject);
    });
  const old = await dial(`mqtts://localhost:${port}`);
  expect(await subject()).toBe("server");
  version("2", next);
  await eventually(async () => (await subject()) === "next", "the new certificate is shown");
  version("3", { cert: server.cert, key: next.key });
  own.server.reload();
  expect(await subject()).toBe("next");
  version("4", server);
  own.server.reload();
  expect(await subject()).toBe("server");
  await old.publishAsync("still/there", "hi", { qos: 1 });
  await old.endAsync();
  await own.stop();
});

test("behind a balancer: the PROXY header says who comes, and nobody comes without", async () => {
  const own = await startBroker({ proxyProtocol: true, wsPort: 0, maxConnectionsPerAddress: 1 });
  const through = async (address: string): Promise<RawClient> => {
    const client = await RawClient.dial(own.port, 5);
    client.write(Buffer.from(`PROXY TCP4 ${address} 10.0.0.1 4000 1883\r\n`));
    client.send(connectPacket({ protocolVersion: 5 }));
    return client;
  };
  const first = await through("192.0.2.1");
  expect((await first.take("connack")).reasonCode).toBe(0);
  const second = await through("192.0.2.1");
  expect((await second.take("connack")).reasonCode).toBe(0x97);
  const third = await through("192.0.2.2");
  expect((await third.take("connack")).reasonCode).toBe(0);
  const bare = await RawClient.dial(own.port);
  bare.send(connectPacket());
  await bare.untilClosed();
  first.disconnect();
  await first.untilClosed();
  await eventually(
    async () => (await (await through("192.0.2.1")).take("connack")).reasonCode === 0,
    "there is room again",
  );
  // From elsewhere nobody is believed; the names of certificates nowhere, unless that is said.
  const passwordFile = join(authority.folder, "users");
  writeFileSync(passwordFile, `admin:${await hashPassword("pw")}\n`);
  const answers = async (options: Partial<BrokerOptions>): Promise<number> => {
    const guarded = await startBroker({ proxyProtocol: true, passwordFile, ...options });
    const intruder = await RawClient.dial(guarded.port, 5);
    intruder.write(proxyHeaderOf("admin"));
    intruder.send(connectPacket({ protocolVersion: 5 }));
    const answer = (): AnyPacket | undefined => intruder.packets.find(({ cmd }) => cmd === "connack");
    await Promise.race([eventually(() => answer() !== undefined, "CONNACK", 60_000), intruder.untilClosed()]);
    const code = answer()?.reasonCode ?? -1;
    expect(guarded.server.broker.context.metrics.turnedAway.proxy).toBe(code === -1 ? 1 : 0);
    await guarded.stop();
    return code;
  };
  expect(await answers({})).toBe(0x87);
  expect(await answers({ proxyCertificates: true })).toBe(0);
  expect(await answers({ proxyCertificates: true, proxyFrom: ["10.0.0.0/8"] })).toBe(-1);
  await own.stop();
});

/** Version 2, for a client whose certificate the proxy says it has verified. */
function proxyHeaderOf(commonName: string): Buffer {
  const name = [0x22, 0, commonName.length, ...Buffer.from(commonName)];
  const body = [192, 0, 2, 9, 127, 0, 0, 1, 1, 1, 7, 91, 0x20, 0, 5 + name.length, 2, 0, 0, 0, 0, ...name];
  const head = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, body.length];
  return Buffer.from([...head, ...body]);
}

test("a slow subscriber holds back what comes in over WebSocket and TLS, too", async () => {
  const { ports } = broker.server;
  for (const url of [`ws://127.0.0.1:${ports.ws}/mqtt`, `mqtts://localhost:${ports.tls}`]) {
    const publisher = await dial(url);
    const subscriber = await dial(url);
    let heard = 0;
    subscriber.on("message", () => heard++);
    await subscriber.subscribeAsync("bulk", { qos: 1 });
    const payload = Buffer.alloc(200_000, 1);
    await Promise.all(Array.from({ length: 100 }, () => publisher.publishAsync("bulk", payload, { qos: 1 })));
    await eventually(() => heard === 100, "all 20 MB have come", 60_000);
    await Promise.all([publisher.endAsync(), subscriber.endAsync()]);
  }
});

test("options that do not go together, or would let everybody in, are refused in words", async () => {
  const start = (options: object): Promise<string> =>
    startServer({ ...defaultOptions, port: 0, data: join(authority.folder, "none"), ...options }, silentLog).then(
      () => "it started",
      (error: Error) => error.message,
    );
  expect(await start({ host: "0.0.0.0" })).toContain("--allow-anonymous");
  expect(await start({ tlsPort: 0 })).toContain("need --tls-cert and --tls-key");
  expect(await start({ tlsPort: 0, tlsCert: server.cert, tlsKey: device.key })).toContain(
    "not the one of the certificate",
  );
  expect(await start({ tlsPort: 0, tlsCert: server.key, tlsKey: server.key })).toContain("none in PEM");
  expect(await start({ tlsPort: 0, tlsCert: server.cert, tlsKey: server.key, tlsClientCert: "require" })).toContain(
    "--tls-ca",
  );
  expect(await start({ tlsPort: 0, tlsCert: server.cert, tlsKey: server.key, proxyProtocol: true })).toContain(
    "--proxy-protocol",
  );
  expect(await start({ proxyFrom: ["10.0.0.0/8"] })).toContain("they need --proxy-protocol");
  expect(await start({ proxyCertificates: true })).toContain("they need --proxy-protocol");
  expect(await start({ port: -1 })).toContain("nothing to listen on");
  expect(await start({ passwordFile: "/nowhere" })).toContain("cannot read /nowhere");
});
