/**
 * Messages that are larger than what ZooKeeper takes at once: they are stored in parts, and appear whole or not at all.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { walk } from "../../src/coordinator/mirror.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const megabyte = 1024 * 1024;
let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(["a", "b"], { mailDrop: ["drop/#"], maxPacketSize: 20 * megabyte });
}, 120_000);
afterAll(() => cluster.stop());

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Bytes that are different everywhere, so that a lost or swapped piece shows. */
function payloadOf(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32BE((at * 2654435761 + seed) >>> 0, at);
  return bytes;
}

async function settle(client: RawClient, topic: string, payload: Buffer, options: AnyPacket = {}): Promise<void> {
  client.publish(topic, payload as never, { qos: 1, messageId: 1, ...options });
  await client.take("puback");
}

async function partsLeft(): Promise<number> {
  let count = 0;
  await walk(cluster.brokers[0]!.broker.context.coordinator, "/parts", (path) => {
    if (path.split("/").length === 4) count++;
  });
  return count;
}

test("for sessions that are away, one and several of them, and nothing of it is left when they have it", async () => {
  for (const [recipients, size] of [
    [1, 3 * megabyte],
    [3, 16 * megabyte],
  ] as const) {
    const ids = Array.from({ length: recipients }, (_, index) => `away-${recipients}-${index}`);
    for (const clientId of ids) {
      const client = await RawClient.connect(cluster.port(1), { clean: false, clientId });
      await client.subscribe(`large/${recipients}`, { qos: 1 });
      client.disconnect();
      await client.untilClosed();
    }
    const payload = payloadOf(size, recipients);
    const publisher = await RawClient.connect(cluster.port(0));
    await settle(publisher, `large/${recipients}`, payload);
    expect(await partsLeft()).toBeGreaterThan(size / megabyte);
    for (const clientId of ids) {
      const client = await RawClient.connect(cluster.port(0), { clean: false, clientId });
      const { payload: got, messageId } = await client.take("publish");
      expect(digest(got)).toBe(digest(payload));
      client.send({ cmd: "puback", messageId });
      await client.ping();
      client.disconnect();
    }
    await eventually(async () => (await partsLeft()) === 0, "no part is left");
    publisher.disconnect();
  }
}, 120_000);

test("retained: read at every broker, replaced, and cleared", async () => {
  const publisher = await RawClient.connect(cluster.port(0));
  for (const [round, size] of [2 * megabyte, 5 * megabyte, 100].entries()) {
    const payload = payloadOf(size, round);
    await settle(publisher, "large/kept", payload, { retain: true });
    const kept = (): number | undefined =>
      cluster.brokers[1]!.broker.context.retained.get("large/kept")?.publish.payloadLength;
    await eventually(() => kept() === size, "the other broker has it");
    const late = await RawClient.connect(cluster.port(1));
    await late.subscribe("large/kept", { qos: 0 });
    expect(digest((await late.take("publish")).payload)).toBe(digest(payload));
    late.disconnect();
  }
  await eventually(async () => (await partsLeft()) === 0, "what was replaced is gone");
  await settle(publisher, "large/kept", payloadOf(3 * megabyte, 9), { retain: true });
  // A broker that comes later reads it before it serves anybody.
  const third = await cluster.add("c");
  const { retained } = third.broker.context;
  expect(retained.get("large/kept")?.publish.payloadLength).toBe(3 * megabyte);
  await settle(publisher, "large/kept", Buffer.alloc(0), { retain: true });
  await eventually(async () => (await partsLeft()) === 0, "what was cleared is gone");
  publisher.disconnect();
}, 120_000);

test("in a mail drop, for sessions of both kinds", async () => {
  const publisher = await RawClient.connect(cluster.port(0));
  const payload = payloadOf(4 * megabyte, 3);
  await settle(publisher, "drop/large", payload);
  await settle(publisher, "drop/large", Buffer.from("small"));
  for (const clean of [true, false]) {
    const client = await RawClient.connect(cluster.port(1), { clean, clientId: `drop-${clean}` });
    await client.subscribe("drop/large", { qos: 1 });
    const packets = await client.takeMany("publish", 2);
    expect(digest(packets[0]!.payload)).toBe(digest(payload));
    expect(packets[1]!.payload.toString()).toBe("small");
    for (const { messageId } of packets) client.send({ cmd: "puback", messageId });
    await client.ping();
    client.disconnect();
  }
  publisher.disconnect();
}, 120_000);
