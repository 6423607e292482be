/**
 * The ZooKeeper client's words when ZooKeeper is not there, is not what it should be, or does not want what it is
 * asked.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OperatingError } from "../../src/base/errors.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type EnsembleOptions, sharedZooKeeper, startEnsemble } from "../support/zookeeper.ts";

const ends: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of ends) await end();
});

async function ensemble(size: number, options: EnsembleOptions) {
  const started = await startEnsemble(size, options);
  ends.push(() => started.stop());
  return started;
}

/** A server that answers each packet with what `answer` makes of it. */
function fakeServer(answer: (packet: Buffer) => Buffer | undefined): string {
  const listener = Bun.listen<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        let rest = Buffer.from(bytes);
        while (rest.length >= 4) {
          const end = 4 + rest.readInt32BE(0);
          const reply = answer(rest.subarray(4, end));
          if (reply !== undefined) socket.write(reply);
          rest = rest.subarray(end);
        }
      },
    },
  });
  ends.push(() => listener.stop(true));
  return `127.0.0.1:${listener.port}`;
}

function numbers(...values: readonly (number | bigint)[]): Buffer {
  const body = Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(typeof value === "bigint" ? 8 : 4);
      if (typeof value === "bigint") bytes.writeBigInt64BE(value);
      else bytes.writeInt32BE(value);
      return bytes;
    }),
  );
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
}

async function whyNot(opening: Promise<unknown>): Promise<string> {
  const error = (await opening.then(
    () => new Error("it worked"),
    (refused) => refused,
  )) as OperatingError;
  expect(error.message).not.toContain("\n");
  return error.message;
}

/** Opens again and again, with a short patience each time, until the reason why it is refused has such words. */
async function untilRefused(open: () => Promise<unknown>, words: string): Promise<void> {
  let why = "";
  const isSaid = async (): Promise<boolean> => {
    why = await whyNot(open());
    return why.includes(words);
  };
  await eventually(isSaid, words).catch(() => expect(why).toContain(words));
}

const onFatal = (): void => {};

test("nobody listens", async () => {
  const port = await freePort();
  const words = `cannot reach ZooKeeper at 127.0.0.1:${port}: ZooKeeper at 127.0.0.1:${port}: `;
  await untilRefused(() => ZooKeeper.connect(`127.0.0.1:${port}`, { connectTimeoutMs: 300 }), words);
});

test("a name that does not resolve", async () => {
  const why = await whyNot(ZooKeeper.connect("no-such-host.invalid:2181", { connectTimeoutMs: 1000 }));
  expect(why).toContain("cannot reach ZooKeeper at no-such-host.invalid:2181");
});

test("what listens is no ZooKeeper", async () => {
  const where = fakeServer(() => Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await untilRefused(() => ZooKeeper.connect(where, { connectTimeoutMs: 300 }), "does not speak ZooKeeper's protocol");
});

test("a server before 3.6 knows nothing of what a broker needs", async () => {
  let isFirst = true;
  const where = fakeServer((packet) => {
    if (isFirst) {
      isFirst = false;
      return numbers(0, 6000, 77n, 16, 0n, 0n);
    }
    return numbers(packet.readInt32BE(0), 1n, -6);
  });
  const why = await whyNot(ZooKeeperCoordinator.open({ connect: where, id: "x", onFatal }));
  expect(why).toContain("MQTTZoo needs ZooKeeper 3.6 or later");
});

test("credentials of a kind that nobody knows", async () => {
  const { connect } = await sharedZooKeeper();
  const zookeeper = await ZooKeeper.connect(connect);
  const said = new Promise<string | undefined>((resolve) => zookeeper.client.onState((_, why) => resolve(why)));
  zookeeper.addAuth("no-such-scheme", "x");
  expect(await said).toContain("the credentials of add-auth were refused");
  zookeeper.client.terminate();
});

test("a server in read-only mode", async () => {
  const three = await ensemble(3, { properties: ["-Dreadonlymode.enabled=true"] });
  const [survivor, ...others] = three.servers;
  await Promise.all(others.map((server) => server.kill()));
  await eventually(
    async () => (await survivor!.ask("isro")) === "ro",
    "the server that is left is in read-only mode",
    60_000,
  );
  const open = (): Promise<unknown> => ZooKeeper.connect(survivor!.address, { connectTimeoutMs: 500 });
  await untilRefused(open, "it is in read-only mode: it has lost contact with the other servers");
}, 120_000);

test("a server whose packet limit is lower than ours", async () => {
  const one = await ensemble(1, { properties: ["-Djute.maxbuffer=100000"] });
  const zookeeper = await ZooKeeper.connect(one.connect);
  const said: string[] = [];
  zookeeper.client.onState((_, why) => void said.push(why ?? ""));
  const large = zookeeper.create("/large", new Uint8Array(300_000));
  await expect(large).rejects.toMatchObject({ code: "ConnectionLoss", outcomeUnknown: true });
  expect(said[0]).toContain("a request of 300053 bytes was under way; its jute.maxbuffer may be lower");
  const ours = await ZooKeeper.connect(one.connect, { packetBytesMax: 100_000 });
  const refused = ours.create("/large", new Uint8Array(300_000));
  await expect(refused).rejects.toMatchObject({ code: "PacketTooLarge", outcomeUnknown: false });
  await Promise.all([zookeeper.close(), ours.close()]);
}, 120_000);

test("a group of commits that the server's limit cannot take is committed in smaller ones", async () => {
  const one = await ensemble(1, { properties: ["-Djute.maxbuffer=100000"] });
  const coordinator = await ZooKeeperCoordinator.open({ connect: `${one.connect}/small`, id: "x", onFatal });
  const committed: Promise<unknown>[] = [];
  for (let index = 0; index < 40; index++) {
    const path = `/n${index}`;
    committed.push(
      new Promise((resolve) =>
        coordinator.write([{ kind: "create", path, data: new Uint8Array(10_000), mode: "persistent" }], resolve),
      ),
    );
  }
  expect(await Promise.all(committed)).toEqual(new Array(40).fill(undefined));
  await new Promise<void>((resolve) => coordinator.close(resolve));
}, 120_000);

test("TLS to the server", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-tls-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  const [key, cert, pem] = ["key.pem", "cert.pem", "both.pem"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const made = Bun.spawnSync(
    [
      "openssl",
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-days",
      "2",
      "-keyout",
      key,
      "-out",
      cert,
      ...subject,
    ],
    { stderr: "ignore" },
  );
  expect(made.exitCode).toBe(0);
  await Bun.write(pem, readFileSync(key, "utf8") + readFileSync(cert, "utf8"));
  const port = await freePort();
  const factory = "org.apache.zookeeper.server.NettyServerCnxnFactory";
  const store = (what: string, path: string): string[] => [`ssl.${what}.location=${path}`, `ssl.${what}.type=PEM`];
  await ensemble(1, {
    config: [
      `secureClientPort=${port}`,
      "secureClientPortAddress=127.0.0.1",
      "ssl.clientAuth=none",
      ...store("keyStore", pem),
      ...store("trustStore", cert),
    ],
    properties: [`-Dzookeeper.serverCnxnFactory=${factory}`],
  });
  const ca = readFileSync(cert, "utf8");
  const zookeeper = await ZooKeeper.connect(`localhost:${port}`, {
    tls: { ca },
    // Java takes its time for the first handshake.
    connectTimeoutMs: 60_000,
    sessionTimeoutMs: 60_000,
  });
  await zookeeper.create("/secret", new Uint8Array([1]));
  expect((await zookeeper.get("/secret")).data).toEqual(new Uint8Array([1]));
  await zookeeper.close();
  await untilRefused(() => ZooKeeper.connect(`localhost:${port}`, { tls: {}, connectTimeoutMs: 1000 }), "certificate");
}, 120_000);
