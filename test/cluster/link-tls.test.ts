/** Links over TLS: with a certificate that brokers keep in the tree, or the operator's; beside brokers without. */
import { afterAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { read } from "../../src/coordinator/mirror.ts";
import { linkCertificatePath } from "../../src/coordinator/paths.ts";
import { FrameType, jsonFrame } from "../../src/link/frames.ts";
import { dialTcp } from "../../src/net/tcp.ts";
import type { TlsOptions, Transport, TransportEvents } from "../../src/net/transport.ts";
import type { Server } from "../../src/server/server.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { type Cluster, linked, startCluster } from "../support/cluster.ts";
import { runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const ends: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

function authority(): Authority {
  const made = makeAuthority();
  ends.push(() => made.remove());
  return made;
}

/** Publishes at one broker what is subscribed to at another one. */
async function passes(cluster: Cluster, from: number, to: number): Promise<void> {
  const subscriber = await RawClient.connect(cluster.port(to));
  await subscriber.subscribe("t/#", { qos: 1 });
  const publisher = await RawClient.connect(cluster.port(from));
  publisher.publish("t/x", `from ${from}`, { qos: 1, messageId: 1 });
  await publisher.take("puback");
  expect((await subscriber.take("publish")).payload.toString()).toBe(`from ${from}`);
  for (const client of [subscriber, publisher]) client.disconnect();
}

/** Tells what becomes of who names himself as another broker over TLS, unproved: "accepted" if he is answered. */
async function knock({ broker }: Server, as: Server, tls: TlsOptions): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const events: TransportEvents<void> = {
    opened(transport: Transport) {
      const { options, self } = as.broker.context;
      const hello = { protocol: "mqttzoo-link-2", id: options.id, epoch: self.epoch, nonce: "n" };
      const frame = jsonFrame(FrameType.hello, hello);
      transport.write(frame, 0, frame.length);
    },
    received: () => resolve("accepted"),
    drained: () => {},
    closed: (_, why) => resolve(`closed: ${why}`),
  };
  const { linkPort } = broker.context.options;
  await dialTcp("127.0.0.1", linkPort, events, { tls: { ...tls, isInsecure: true } }).catch(({ message }) =>
    resolve(message),
  );
  return promise;
}

test("without files brokers keep a certificate in the tree, and nobody comes in who does not show it", async () => {
  const cluster = await startCluster(["a", "b"], { linkTls: true });
  await passes(cluster, 0, 1);
  await passes(cluster, 1, 0);
  const [node] = await read(cluster.brokers[0]!.broker.context.coordinator, [
    { kind: "get", path: linkCertificatePath },
  ]);
  const pem = Buffer.from((node as { data: Uint8Array }).data).toString();
  expect(pem).toMatch(/^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----/);
  const another = authority().issue("b");
  const texts = { cert: readFileSync(another.cert, "utf8"), key: readFileSync(another.key, "utf8") };
  const [a, b] = cluster.brokers;
  // TLS 1.3 tells a client only after the handshake that its certificate is not accepted.
  expect(await knock(b!, a!, { protocol: "mqttzoo-link" })).toMatch(/^closed: /);
  expect(await knock(b!, a!, { ...texts, protocol: "mqttzoo-link" })).toMatch(/^closed: /);
  const plain = await RawClient.dial(cluster.brokers[1]!.broker.context.options.linkPort);
  plain.write(Buffer.from([0, 0, 0, 3, 1, 0x7b, 0x7d]));
  await plain.untilClosed();
  expect(cluster.brokers.map(({ broker }) => linked(broker))).toEqual([1, 1]);
  await cluster.stop();
}, 120_000);

test("brokers with TLS and without are linked with each other: so a cluster is changed broker by broker", async () => {
  const cluster = await startCluster(["b"]);
  // Dials the one without, and is dialled by it.
  await cluster.add("a", { linkTls: true });
  await cluster.add("c", { linkTls: true });
  const all = (): boolean => cluster.brokers.every(({ broker }) => linked(broker) === 2);
  await eventually(all, "all are linked with all", 60_000);
  await passes(cluster, 0, 2);
  await passes(cluster, 2, 0);
  await passes(cluster, 1, 2);
  await cluster.stop();
}, 120_000);

test("with the operator's files: renewed ones are shown from then on, and another authority's broker gets no link", async () => {
  const made = authority();
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-link-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  const files = (name: string, from: Authority) => {
    const { cert, key } = from.issue(name);
    const mine = { linkTlsCert: join(folder, `${name}.crt`), linkTlsKey: join(folder, `${name}.key`) };
    copyFileSync(cert, mine.linkTlsCert);
    copyFileSync(key, mine.linkTlsKey);
    return { linkTls: true, linkTlsCa: from.ca, ...mine };
  };
  const cluster = await startCluster([], { advertise: "localhost" });
  const httpPort = await freePort();
  await cluster.add("a", { ...files("a", made), httpPort, httpHost: "127.0.0.1" });
  await cluster.add("b", files("b", made));
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 1), "both are linked", 60_000);
  const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  const { validToDate } = new X509Certificate(readFileSync(join(folder, "a.crt")));
  const end = validToDate.getTime() / 1000;
  expect(metrics).toContain(`mqttzoo_link_tls_certificate_expiry_timestamp_seconds ${end}\n`);
  await passes(cluster, 0, 1);
  const stranger = await cluster.add("c", files("c", authority()));
  // The same pair again, but of another key: what is dialled from now on sees the new one.
  files("b", made);
  cluster.brokers[1]!.reload();
  await cluster.add("0", files("zero", made));
  const { context } = cluster.brokers[3]!.broker;
  await eventually(() => linked({ context } as never) === 2, "the newest is linked with both", 60_000);
  expect(linked(stranger.broker)).toBe(0);
  // Others would wait for it before they answer SUBSCRIBE.
  await stranger.stop();
  await passes(cluster, 3, 1);
  await cluster.stop();
}, 120_000);

test("files that are missing or do not belong together are refused in one line", async () => {
  const { ca, folder } = authority();
  const run = async (...flags: string[]): Promise<string> => {
    const { err, code } = await runExecutable(["broker", "--port", "0", "--data", join(folder, "data"), ...flags]);
    expect(code).not.toBe(0);
    return err;
  };
  expect(await run("--link-tls-ca", ca)).toBe(
    "mqttzoo: --link-tls-cert, --link-tls-key and --link-tls-ca go together\n",
  );
  const missing = ["--link-tls-cert", "/nowhere", "--link-tls-key", "/nowhere", "--link-tls-ca", ca];
  expect(await run(...missing)).toMatch(/^mqttzoo: cannot read \/nowhere: .*\n$/);
}, 120_000);
