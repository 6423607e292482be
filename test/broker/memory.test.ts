/** Memory that clients may have the broker take: each alone, each user, and all of them together. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqttPacket from "mqtt-packet";
import { hashForScram } from "../../src/access/hashes.ts";
import { eventually, withBroker } from "../support/broker.ts";
import { type Bystander, startBystander } from "../support/bystander.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

test("memory of one client: its subscriptions, and what waits for it", async () => {
  await withBroker({ maxMemoryPerClient: 1024 * 1024 }, async ({ port, server }) => {
    const { metrics } = server.broker.context;
    const greedy = await RawClient.connect(port, { protocolVersion: 5 });
    const topics = Array.from({ length: 2000 }, (_, at) => ({ topic: `a/topic/of/some/length/${at}`, qos: 0 }));
    greedy.send({ cmd: "subscribe", messageId: 1, subscriptions: topics });
    const { granted, properties } = await greedy.take("suback");
    const taken = granted.filter((code: number) => code === 0).length;
    expect([taken > 400, taken < 700, granted.at(-1)]).toEqual([true, true, 0x97]);
    expect(properties.reasonString).toContain("memory");
    // Though it may have no more, it is within its limit: whoever looks lets it be.
    metrics.memory.clients = 0;
    await eventually(() => metrics.memory.clients > 0, "it was looked at");
    await greedy.ping();
    // It has what it has; what is given up makes room.
    expect((await greedy.subscribe("a/topic/of/some/length/0")).granted).toEqual([0]);
    greedy.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: topics.slice(0, 10).map(({ topic }) => topic) });
    await greedy.take("unsuback");
    expect((await greedy.subscribe("one/more")).granted).toEqual([0]);
    const slow = await RawClient.connect(port, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
    await slow.subscribe("slow", { qos: 1 });
    const publisher = await RawClient.connect(port, { protocolVersion: 5 });
    for (let messageId = 1; messageId <= 30; messageId++)
      publisher.publish("slow", "x".repeat(50_000), { qos: 1, messageId });
    const { reasonCode, properties: said } = await slow.take("disconnect");
    expect([reasonCode, said.reasonString]).toEqual([0x97, expect.stringContaining("memory")]);
    expect([publisher.closed, greedy.closed, metrics.beyondLimit.memory > 1000]).toEqual([false, false, true]);
  });
});

test("memory for slow clients is bounded, whoever they are together", async () => {
  const maxQueueMemory = 4 * 1024 * 1024;
  await withBroker({ maxQueueMemory, maxInflight: 5 }, async ({ port, server }) => {
    const { context } = server.broker;
    const publisher = await RawClient.connect(port, { protocolVersion: 5 });
    for (let index = 0; index < 8; index++) {
      const slow = await RawClient.connect(port, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
      await slow.subscribe("#", { qos: index % 2 });
      slow.pause();
    }
    for (let at = 0; at < 200; at++) publisher.publish("t", "x".repeat(100_000), { qos: at % 2, messageId: 1 });
    await publisher.ping();
    await eventually(() => context.metrics.droppedQueue + context.metrics.droppedOutput > 0, "something is dropped");
    expect(context.metrics.queuedBytes).toBeLessThanOrEqual(maxQueueMemory);
    // Each may have a little, whatever the others have.
    expect(context.turn.unsent).toBeLessThan(maxQueueMemory + 8 * 1024 * 1024);
    expect(context.metrics.droppedOutput).toBeGreaterThan(0);
  });
});

/** Two users, alice and bob, whose password is "pw". */
async function withUsers(use: (passwordFile: string, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-memory-"));
  const passwordFile = join(folder, "users");
  const hash = await hashForScram("pw");
  writeFileSync(passwordFile, `alice:${hash}\nbob:${hash}\n`);
  try {
    await use(passwordFile, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const login = (username: string): AnyPacket => ({ username, password: Buffer.from("pw"), protocolVersion: 5 });

/** Connects, and returns the CONNACK; none if there are so many that it is just closed. */
async function connackOf(port: number, options: AnyPacket): Promise<AnyPacket> {
  const client = await RawClient.dial(port, options.protocolVersion).catch(() => undefined);
  if (client === undefined) return {};
  client.send(connectPacket(options));
  await client.until(() => client.closed || client.packets.length > 0, "an answer");
  client.abort();
  return client.packets[0] ?? {};
}

/** Begins a PUBLISH of 64 MB, of which so many bytes come, and no more. */
function beginPublish(client: RawClient, bytes: number): void {
  client.write(Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x20));
  client.write(new Uint8Array(bytes));
}

test("memory of one user, whose clients each take little: refused in words, then the largest are disconnected", () =>
  withUsers(async (passwordFile) => {
    const options = { passwordFile, maxMemoryPerUser: 4_000_000, maxPacketSize: 100_000_000 };
    await withBroker(options, async ({ port, server }) => {
      const { metrics } = server.broker.context;
      const [alice, old, bob] = await Promise.all([
        RawClient.connect(port, login("alice")),
        RawClient.connect(port, { ...login("alice"), protocolVersion: 4 }),
        RawClient.connect(port, login("bob")),
      ]);
      const others: RawClient[] = [];
      for (let at = 0; at < 4; at++) {
        others.push(await RawClient.connect(port, login("alice")));
        beginPublish(others.at(-1)!, 900_000);
      }
      // Which of them are told no depends on when it is looked; in the end all that would take more is refused.
      await eventually(async () => (await connackOf(port, login("alice"))).reasonCode === 0x97, "CONNECT is refused");
      const { properties } = await connackOf(port, login("alice"));
      expect(properties.reasonString).toContain("user alice");
      expect((await connackOf(port, { ...login("alice"), protocolVersion: 4 })).returnCode).toBe(3);
      const { granted } = await alice.subscribe("a");
      expect(granted).toEqual([0x97]);
      alice.publish("t", "x", { qos: 1, messageId: 1 });
      expect(await alice.take("puback")).toMatchObject({ reasonCode: 0x97 });
      alice.publish("t", "x", { qos: 2, messageId: 2 });
      expect(await alice.take("pubrec")).toMatchObject({ reasonCode: 0x97 });
      old.publish("t", "x", { qos: 1, messageId: 1 });
      await old.untilClosed();
      // Nobody else is concerned.
      expect((await bob.subscribe("a")).granted).toEqual([0]);
      bob.publish("a", "x", { qos: 1, messageId: 1 });
      expect((await bob.take("puback")).reasonCode).toBe(0);
      // One that grows is the largest, and goes; what it had is there again.
      beginPublish(others[0]!, 2_000_000);
      expect((await others[0]!.take("disconnect")).reasonCode).toBe(0x97);
      for (const other of others) other.abort();
      await eventually(async () => (await connackOf(port, login("alice"))).reasonCode === 0, "alice is served again");
      expect([alice.closed, bob.closed]).toEqual([false, false]);
      expect(metrics.turnedAway.memory).toBeGreaterThan(0);
    });
  }));

/** A broker that is attacked, and who stands by. */
interface Attack {
  readonly broker: BrokerProcess;
  readonly bystander: Bystander;
}

const limitMegabytes = 224;
/** The memory that it may have for a moment, on a busy machine: an attack that is not held takes many times as much. */
const residentBytesMax = 2 * limitMegabytes * 1024 * 1024;
const patienceMs = 60_000;

function residentBytesOf({ pid }: BrokerProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}

/** Attacks a broker of its own; fails if it takes too much memory, or a bystander is disconnected. */
function attack(how: (attack: Attack) => Promise<void>, says: RegExp): Promise<void> {
  return withUsers(async (passwordFile, folder) => {
    const stderr = join(folder, "log");
    const args = ["--max-memory", `${limitMegabytes}M`, "--max-packet-size", "100M", "--password-file", passwordFile];
    const broker = await startBrokerProcess(join(folder, "data"), { args: [...args, "--allow-anonymous"], stderr });
    const bystander = await startBystander(broker.port);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, residentBytesOf(broker));
    }, 20);
    try {
      await how({ broker, bystander });
      expect((await bystander.waits()).p99).toBeGreaterThan(0);
      expect(most).toBeLessThan(residentBytesMax);
      expect(readFileSync(stderr, "utf8")).toMatch(says);
      const isBack = async (): Promise<boolean> => (await connackOf(broker.port, login("alice"))).reasonCode === 0;
      await eventually(isBack, "everybody is served again", patienceMs);
    } finally {
      clearInterval(watch);
      bystander.stop();
      await broker.kill("SIGKILL");
    }
  });
}

/** Starts attackers until somebody has said no `times` times. Returns them all. */
async function untilRefused(start: () => Promise<RawClient | undefined>, times: number): Promise<RawClient[]> {
  const all: RawClient[] = [];
  const giveUpAt = performance.now() + patienceMs;
  for (let refused = 0; refused < times; ) {
    const one = await start();
    if (one === undefined) refused++;
    else all.push(one);
    if (performance.now() > giveUpAt) throw new Error(`nobody was refused: ${all.length} came in`);
    await Bun.sleep(5);
  }
  return all;
}

const says = /memory is short.*(user=alice|address=127\.0\.0\.1)/;

test(
  "the process is held to --max-memory: one user's clients that each send half of a packet",
  () =>
    attack(async ({ broker: { port } }) => {
      const clients = await untilRefused(async () => {
        const client = await RawClient.dial(port, 5);
        client.send(connectPacket(login("alice")));
        const { reasonCode } = await client.take("connack");
        if (reasonCode !== 0) {
          expect(reasonCode).toBe(0x97);
          return undefined;
        }
        beginPublish(client, 3_000_000);
        return client;
      }, 20);
      // Those that are in may still send, and nobody is told no before the packet is whole.
      for (const client of clients) client.write(new Uint8Array(3_000_000));
      const isTold = ({ packets }: RawClient): boolean => packets.some(({ reasonCode }) => reasonCode === 0x97);
      await eventually(() => clients.some(isTold), "the largest are disconnected", patienceMs);
      for (const client of clients) client.abort();
    }, says),
  2 * patienceMs,
);

test(
  "the process is held to --max-memory: CONNECTs that never become whole",
  () =>
    attack(async ({ broker: { port } }) => {
      const head = connectPacket({ protocolVersion: 5, will: { topic: "w", payload: Buffer.alloc(60_000) } });
      const properties = { userProperties: { a: "a".repeat(60_000), b: "b".repeat(60_000) } };
      const whole = mqttPacket.generate({ ...head, properties } as never, { protocolVersion: 5 });
      const all: RawClient[] = [];
      for (let at = 0; at < 3000; at++) {
        const stranger = await RawClient.dial(port, 5).catch(() => undefined);
        if (stranger === undefined) continue;
        stranger.write(whole.subarray(0, -1));
        all.push(stranger);
        if (at % 50 === 0) await Bun.sleep(1);
      }
      await eventually(() => all.some(({ closed }) => closed), "some are closed", patienceMs);
      for (const stranger of all) stranger.abort();
    }, says),
  2 * patienceMs,
);

test(
  "the process is held to --max-memory: one user's readers that do not read",
  () =>
    attack(async ({ broker: { port } }) => {
      for (let at = 0; at < 150; at++) {
        const reader = await RawClient.connect(port, login("alice")).catch(() => undefined);
        await reader?.subscribe("large", { qos: at % 2 }).catch(() => undefined);
        reader?.pause();
      }
      const giveUpAt = performance.now() + patienceMs / 2;
      // 6 GB in all; what waits for slow clients has a limit of its own, so that they may be let alone.
      for (let at = 0; at < 7; at++) {
        const client = await RawClient.connect(port, login("alice")).catch(() => undefined);
        for (let messageId = 1; messageId <= 100; messageId++)
          client?.publish("large", "x".repeat(60_000), { qos: 1, messageId });
        const isAnswered = (): boolean => client!.closed || client!.packets.length >= 100;
        await client?.until(isAnswered, "100 answers").catch(() => {});
        client?.abort();
        if (performance.now() > giveUpAt) break;
      }
    }, /broker is ready/),
  2 * patienceMs,
);
