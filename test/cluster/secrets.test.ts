/** Secrets of a cluster: links only for those who know one, a tree that is closed, TLS to ZooKeeper. */
import { afterAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sharedText } from "../../src/broker/peers/membership.ts";
import { linkSecretPath } from "../../src/coordinator/paths.ts";
import { FrameType, jsonFrame } from "../../src/link/frames.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { linked, startCluster } from "../support/cluster.ts";
import { runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";
import { startEnsemble } from "../support/zookeeper.ts";

const ends: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

function authority(): Authority {
  const made = makeAuthority();
  ends.push(() => made.remove());
  return made;
}

test("without a file brokers make a secret and keep it in the tree; one with another secret gets no link", async () => {
  const cluster = await startCluster(["a", "b"]);
  const [a] = cluster.brokers;
  expect(await sharedText(a!.broker.context.coordinator, linkSecretPath, () => "another")).toMatch(/^[0-9a-f]{64}$/);
  await eventually(() => linked(a!.broker) === 1, "they prove it to each other");
  const { folder } = authority();
  const linkSecretFile = join(folder, "secret");
  writeFileSync(linkSecretFile, "another secret\n");
  const stranger = await cluster.add("c", { linkSecretFile });
  const { log } = a!.broker.context;
  expect(log).toBeDefined();
  // Long enough for several attempts of both sides.
  const attempts = a!.broker.context.clock.now() + 1500;
  await eventually(() => a!.broker.context.clock.now() > attempts, "they have tried");
  expect([linked(stranger.broker), linked(a!.broker)]).toEqual([0, 1]);
  await cluster.stop();
});

test("a stranger at the link port is not believed, whatever it says", async () => {
  const cluster = await startCluster(["a", "b"]);
  const { options, metrics, localSessions } = cluster.brokers[0]!.broker.context;
  const port = options.linkPort;
  const publish = Buffer.from([0x30, 5, 0, 1, 0x61, 0x68, 0x69]);
  const forged: Uint8Array[] = [
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-1", id: "b", epoch: 1, nonce: "x" }),
    jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-2", id: "b", epoch: 1, nonce: "x" }),
    jsonFrame(FrameType.challenge, { nonce: "x" }),
    jsonFrame(FrameType.confirm, { received: 0, proof: "" }),
    jsonFrame(FrameType.control, { say: "hold" }),
    Buffer.concat([Buffer.from([FrameType.run, 0, 0, 0, publish.length]), publish]),
    Buffer.alloc(100_000, 0xff),
  ];
  const subscriber = await RawClient.connect(cluster.port(0));
  await subscriber.subscribe("#");
  for (const bytes of forged) {
    const stranger = await RawClient.dial(port);
    stranger.write(bytes);
    await stranger.untilClosed();
  }
  // A frame that would be as long as a broker's may be: nobody waits for it, as for one who says nothing yet.
  const silent = await RawClient.dial(port);
  const long = await RawClient.dial(port);
  long.write(Uint8Array.of(0x0f, 0xff, 0xff, 0xff, FrameType.hello, 0x7b));
  await long.untilClosed();
  expect(silent.closed).toBe(false);
  silent.abort();
  await subscriber.ping();
  expect(subscriber.packets).toEqual([]);
  expect([metrics.arrived, localSessions.size, linked(cluster.brokers[0]!.broker)]).toEqual([0, 1, 1]);
  await cluster.stop();
}, 120_000);

interface ShownFiles {
  readonly zkTlsCa: string;
  readonly zkTlsCert: string;
  readonly zkTlsKey: string;
}

/** Waits until a server has shaken hands once: Java takes its time for the first. */
async function shakeHands(port: number, { zkTlsCa, zkTlsCert, zkTlsKey }: ShownFiles): Promise<void> {
  const [ca, cert, key] = [zkTlsCa, zkTlsCert, zkTlsKey].map((path) => readFileSync(path, "utf8"));
  const patient = { connectTimeoutMs: 60_000, sessionTimeoutMs: 60_000 };
  await (
    await ZooKeeper.connect(`localhost:${port}`, { tls: { ca: ca!, cert: cert!, key: key! }, ...patient })
  ).close();
}

test("a closed tree over TLS: every znode is the brokers' alone, and tools get in with the same files", async () => {
  const made = authority();
  const pair = made.issue("localhost");
  const shown = made.issue("broker");
  const pem = join(made.folder, "server.pem");
  writeFileSync(pem, readFileSync(pair.key, "utf8") + readFileSync(pair.cert, "utf8"));
  const port = await freePort();
  const ensemble = await startEnsemble(1, {
    config: [
      `secureClientPort=${port}`,
      "secureClientPortAddress=127.0.0.1",
      "ssl.clientAuth=need",
      `ssl.keyStore.location=${pem}`,
      "ssl.keyStore.type=PEM",
      `ssl.trustStore.location=${made.ca}`,
      "ssl.trustStore.type=PEM",
    ],
    properties: ["-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory"],
  });
  ends.push(() => ensemble.stop());
  const zkAuthFile = join(made.folder, "zookeeper");
  writeFileSync(zkAuthFile, "mqttzoo:closed\n");
  const files = { zkAuthFile, zkTlsCa: made.ca, zkTlsCert: shown.cert, zkTlsKey: shown.key };
  const zk = `localhost:${port}/closed`;
  await shakeHands(port, files);
  const cluster = await startCluster(["a", "b"], { ...files, zk });
  const subscriber = await RawClient.connect(cluster.port(0), { clientId: "s", clean: false });
  await subscriber.subscribe("t/#", { qos: 1 });
  subscriber.disconnect();
  await subscriber.untilClosed();
  const publisher = await RawClient.connect(cluster.port(1));
  publisher.publish("t/x", "kept", { qos: 1, retain: true, messageId: 1 });
  await publisher.take("puback");
  const spy = await ZooKeeper.connect(ensemble.connect);
  const seen: string[] = [];
  const walk = async (path: string): Promise<void> => {
    const { acl } = await spy.getAcl(path).catch(() => ({ acl: [] }));
    seen.push(path);
    if (path.startsWith("/closed")) expect([path, acl.map(({ scheme }) => scheme)]).not.toEqual([path, ["world"]]);
    const { children } = await spy.children(path).catch(() => ({ children: [] as string[] }));
    for (const child of children) await walk(path === "/" ? `/${child}` : `${path}/${child}`);
  };
  await walk("/");
  expect(seen).toContain("/closed");
  // Without the credentials nothing below can even be listed.
  expect(seen.some((path) => path.startsWith("/closed/"))).toBe(false);
  await spy.client.addAuth("digest", Buffer.from("mqttzoo:closed"));
  await walk("/closed");
  expect(seen.filter((path) => path.startsWith("/closed/topics/t/x/")).length).toBeGreaterThan(0);
  await spy.close();
  const tls = ["--zk-tls-ca", made.ca, "--zk-tls-cert", shown.cert, "--zk-tls-key", shown.key];
  const flags = ["--zk", zk, "--zk-auth-file", zkAuthFile, ...tls];
  const audit = await runExecutable(["bank", "audit", ...flags]);
  expect([audit.out.trim(), audit.code]).toEqual(["it balances", 0]);
  expect((await runExecutable(["show", "brokers", ...flags])).code).toBe(0);
  // ZooKeeper lets in whoever shows the certificate of a broker, too: another one, then.
  const { cert, key } = made.issue("visitor");
  const visitor = ["--zk", zk, "--zk-tls-ca", made.ca, "--zk-tls-cert", cert, "--zk-tls-key", key];
  const locked = await runExecutable(["bank", "audit", ...visitor]);
  expect(locked.code).toBe(1);
  expect(locked.err).toMatch(/^mqttzoo: the tree at .* is closed to us: .*\n$/);
  expect((await runExecutable(["show", "brokers", ...visitor])).code).toBe(1);
  await cluster.stop();
}, 120_000);
