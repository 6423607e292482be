/**
 * A link that is cut without a word between a publisher's broker and that of a subscriber whose session outlives its
 * connection: both see ZooKeeper, so nobody waits for the link.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, linked, startCluster } from "../support/cluster.ts";
import { startProxy, type TcpProxy } from "../support/proxy.ts";
import { RawClient } from "../support/raw-client.ts";

let cluster: Cluster;
/** Between `a`, which dials, and `b`. */
let proxy: TcpProxy;
let ports: Record<"a" | "b" | "c", number>;
/** Between `b` and ZooKeeper. */
let keeperProxy: TcpProxy;
/** A subscriber at `b`. */
let watcher: RawClient;

beforeEach(async () => {
  cluster = await startCluster(["c"]);
  const linkPort = await freePort();
  proxy = startProxy({ host: "127.0.1.9", port: linkPort }, { host: "127.0.0.1", port: linkPort });
  const { host, port: keeperPort, pathname } = new URL(`zk://${cluster.zk}`);
  keeperProxy = startProxy({ host: "127.0.0.1", port: 0 }, { host: host.split(":")[0]!, port: Number(keeperPort) });
  const zk = `127.0.0.1:${keeperProxy.port}${pathname}`;
  await cluster.add("b", { linkPort, advertise: "127.0.1.9", zk });
  await cluster.add("a");
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 2), "all are linked");
  ports = { c: cluster.port(0), b: cluster.port(1), a: cluster.port(2) };
  watcher = await RawClient.connect(ports.b, {
    clientId: "watcher",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 600 },
  });
  await watcher.subscribe("state/#", { qos: 1 });
}, 120_000);
afterEach(async () => {
  await cluster.stop();
  proxy.stop();
  keeperProxy.stop();
});

/** Nothing is reset: both take the link for whole until nothing has come for a while. */
function cut(): void {
  proxy.cut('"id":"a"');
}

async function heard(): Promise<string> {
  const packet = await watcher.take("publish");
  watcher.send({ cmd: "puback", messageId: packet.messageId });
  return packet.payload.toString();
}

/** A device connects, and says so. */
async function arrive(port: number, life: number): Promise<RawClient> {
  const will = { topic: "state/device", payload: `gone ${life}`, qos: 1, retain: false };
  const device = await RawClient.connect(port, { clientId: "device", will });
  device.publish("state/device", `here ${life}`, { qos: 1, messageId: 1 });
  await device.take("puback");
  return device;
}

test("who publishes is acknowledged while the link stays cut, when everybody there has it in a mailbox", async () => {
  const publisher = await RawClient.connect(ports.a);
  cut();
  for (const messageId of [1, 2, 3]) publisher.publish("state/x", `${messageId}`, { qos: 1, messageId });
  const acks = await publisher.takeMany("puback", 3);
  expect(acks.map(({ messageId }) => messageId)).toEqual([1, 2, 3]);
  expect([await heard(), await heard(), await heard()]).toEqual(["1", "2", "3"]);
  // What waits for the link does not come again when it is back.
  proxy.heal();
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 2), "all are linked", 60_000);
  publisher.publish("state/x", "4", { qos: 1, messageId: 4 });
  expect(await heard()).toBe("4");
}, 120_000);

test.each(["a", "c"] as const)(
  "a will is not overtaken by its client's return to broker %s",
  async (place) => {
    const device = await arrive(ports.a, 1);
    expect(await heard()).toBe("here 1");
    cut();
    device.abort();
    await arrive(ports[place], 2);
    expect([await heard(), await heard()]).toEqual(["gone 1", "here 2"]);
  },
  120_000,
);

test("... nor when the watcher's broker hears of the store only later", async () => {
  const device = await arrive(ports.a, 1);
  expect(await heard()).toBe("here 1");
  cut();
  keeperProxy.cut("", "to dialler");
  device.abort();
  const { metrics } = cluster.brokers[0]!.broker.context;
  const before = metrics.forwarded;
  const will = { topic: "x", payload: "x", qos: 0, retain: false };
  const back = await RawClient.connect(ports.c, { clientId: "device", will });
  back.publish("state/device", "here 2", { qos: 1, messageId: 1 });
  await eventually(() => metrics.forwarded > before, "it is on its way to the watcher's broker");
  await watcher.ping();
  keeperProxy.heal();
  expect([await heard(), await heard()]).toEqual(["gone 1", "here 2"]);
}, 120_000);

/** The last word that a watcher of a status has heard, whose session ends with its connection. */
async function listen(port: number): Promise<{ last: () => string | undefined; client: RawClient }> {
  const client = await RawClient.connect(port);
  await client.subscribe("status/device", { qos: 1 });
  return { client, last: () => client.packets.findLast(({ cmd }) => cmd === "publish")?.payload.toString() };
}

/** Both ways, or the one from broker `a`, which `b` does not hear. */
test.each(["both", "from dialler"] as const)(
  "a retained will that comes late over a link (cut: %s) is not the last that is heard",
  async (way) => {
    const will = { topic: "status/device", payload: "gone 1", qos: 1, retain: true } as const;
    const device = await RawClient.connect(ports.a, { clientId: "device", will });
    device.publish("status/device", "here 1", { qos: 1, messageId: 1, retain: true });
    await device.take("puback");
    const watchers = await Promise.all([ports.a, ports.b, ports.c].map(listen));
    await eventually(() => watchers.every(({ last }) => last() === "here 1"), "everybody knows that it is here");
    proxy.cut('"id":"a"', way);
    device.abort();
    const back = await RawClient.connect(ports.c, { clientId: "device", will: { ...will, payload: "gone 2" } });
    back.publish("status/device", "here 2", { qos: 1, messageId: 1, retain: true });
    await back.take("puback");
    await eventually(() => watchers.every(({ last }) => last() === "here 2"), "everybody knows that it is back");
    proxy.heal();
    const hasBoth = (): boolean =>
      watchers.every(({ client }) => client.packets.some(({ payload }) => payload?.toString() === "gone 1"));
    await eventually(hasBoth, "the will comes where it was waited for", 60_000);
    await eventually(() => watchers.every(({ last }) => last() === "here 2"), "nobody takes it for gone");
    const late = await listen(ports.b);
    await eventually(() => late.last() === "here 2", "that is what is retained");
  },
  120_000,
);
