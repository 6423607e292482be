/**
 * Sessions whose mailboxes are full end, whichever broker keeps them and whichever finds their mailboxes full;
 * publishers notice nothing, and the client is told at the broker that it comes back to.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mailPath, sessionPath, subscriberPath } from "../../src/coordinator/paths.ts";
import { hasStat } from "../../src/coordinator/read-results.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const maxQueued = 20;
/** Time in which a busy machine has ended a session. */
const patienceMs = 60_000;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(["a", "b"], { maxQueued });
}, 120_000);
afterAll(() => cluster.stop());

const durable = (clientId: string, version: 4 | 5 = 5): AnyPacket => ({
  ...{ clientId, clean: false, protocolVersion: version },
  ...(version === 5 ? { properties: { sessionExpiryInterval: 1000, receiveMaximum: 2 } } : {}),
});

/** Has a client subscribe at a broker. */
async function subscribe(at: number, options: AnyPacket, filter: string): Promise<RawClient> {
  const reader = await RawClient.connect(cluster.port(at), options);
  await reader.subscribe(filter, { qos: 2 });
  return reader;
}

/** Publishes one after the other at a broker until a session has ended; returns how many were refused. */
async function publishUntilEnded(at: number, { clientId, topic }: { clientId: string; topic: string }) {
  const publisher = await RawClient.connect(cluster.port(at), { protocolVersion: 5 });
  let refused = 0;
  let id = 0;
  await eventually(
    async () => {
      publisher.publish(topic, String(++id), { qos: 1, messageId: id });
      if (((await publisher.take("puback")).reasonCode ?? 0) >= 0x80) refused++;
      return id > maxQueued && !(await isThere(clientId, topic));
    },
    `${clientId} has ended`,
    patienceMs,
  );
  publisher.disconnect();
  return refused;
}

/** Returns true while anything of a session stands in the store. */
function isThere(clientId: string, filter: string): Promise<boolean> {
  const paths = [sessionPath(clientId), mailPath(clientId), subscriberPath(filter, clientId)];
  const reads = paths.map((path) => ({ kind: "exists", path }) as const);
  const { coordinator } = cluster.brokers[0]!.broker.context;
  return new Promise((resolve) =>
    coordinator.sync(() => coordinator.read(reads, (_, results) => resolve(results.some((result) => hasStat(result))))),
  );
}

for (const at of [0, 1])
  test(`a forgotten session of broker b ends when it is published at ${at === 0 ? "a" : "b"}`, async () => {
    const names = { clientId: `gone ${at}`, topic: `gone/${at}` };
    (await subscribe(1, durable(names.clientId), names.topic)).disconnect();
    const live = await subscribe(1, { clientId: `live ${at}` }, names.topic);
    expect(await publishUntilEnded(at, names)).toBe(0);
    await live.takeMany("publish", maxQueued + 1);
    // It is told at the other broker than the one that has ended it.
    const { connack } = await RawClient.connect(cluster.port(0), durable(names.clientId));
    expect([connack.sessionPresent, connack.properties.reasonString]).toEqual([
      false,
      expect.stringContaining("its mailbox was full"),
    ]);
    live.disconnect();
  }, 120_000);

test("a client at another broker that does not acknowledge is disconnected there with the reason", async () => {
  const names = { clientId: "stuck", topic: "stuck" };
  const stuck = await subscribe(1, durable(names.clientId), names.topic);
  expect(await publishUntilEnded(0, names)).toBe(0);
  const told = await stuck.take("disconnect");
  expect([told.reasonCode, told.properties.reasonString]).toEqual([0x97, expect.stringContaining("was full")]);
  await stuck.untilClosed();
}, 120_000);

test("a will that waits for its delay is published when its session is ended from another broker", async () => {
  const names = { clientId: "mortal", topic: "mortal" };
  const will = { topic: "wills/mortal", payload: Buffer.from("gone"), qos: 1, retain: false };
  const properties = { willDelayInterval: 900 };
  const mortal = await subscribe(1, { ...durable(names.clientId), will: { ...will, properties } }, names.topic);
  const live = await subscribe(0, { clientId: "live mortal" }, "wills/#");
  mortal.abort();
  expect(await publishUntilEnded(0, names)).toBe(0);
  expect((await live.take("publish")).topic).toBe("wills/mortal");
  live.disconnect();
}, 120_000);

test("a session of MQTT 3.1.1 ends at QoS 2 as well, and its client begins anew", async () => {
  const names = { clientId: "old", topic: "old" };
  (await subscribe(1, durable(names.clientId, 4), names.topic)).disconnect();
  const publisher = await RawClient.connect(cluster.port(0), { protocolVersion: 5 });
  let id = 0;
  await eventually(
    async () => {
      publisher.publish(names.topic, String(++id), { qos: 2, messageId: id });
      expect((await publisher.take("pubrec")).reasonCode ?? 0).toBeLessThan(0x80);
      publisher.send({ cmd: "pubrel", messageId: id });
      await publisher.take("pubcomp");
      return id > maxQueued && !(await isThere(names.clientId, names.topic));
    },
    "it has ended",
    patienceMs,
  );
  const back = await RawClient.connect(cluster.port(1), durable(names.clientId, 4));
  expect(back.connack.sessionPresent).toBe(false);
}, 120_000);
