/** Presence in a cluster, watched from outside: a broker that is killed, and one that loses ZooKeeper. */
import { expect, test } from "bun:test";
import { willGraceMs } from "../../src/base/limits.ts";
import { freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { linked, startCluster } from "../support/cluster.ts";
import { executable } from "../support/process.ts";
import { startProxy } from "../support/proxy.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const five = { protocolVersion: 5 };
const will = (name: string, properties: AnyPacket = {}): AnyPacket => ({
  clientId: name,
  will: { topic: `state/${name}`, payload: Buffer.from("offline"), qos: 1, retain: true, properties },
});
const lasting = { ...five, clean: false, properties: { sessionExpiryInterval: 600 } };

/** Comes, and says so. */
async function arrive(port: number, options: AnyPacket): Promise<RawClient> {
  const device = await RawClient.connect(port, options);
  device.publish(`state/${options.clientId}`, "online", { qos: 1, messageId: 1, retain: true });
  await device.take("puback");
  return device;
}

async function watch(port: number): Promise<() => string[]> {
  const watcher = await RawClient.connect(port);
  await watcher.subscribe("state/#", { qos: 0 });
  return () => {
    const said = watcher.packets.filter(({ payload }) => payload.toString() === "offline");
    return [...new Set<string>(said.map(({ topic }) => topic.slice("state/".length)))].sort();
  };
}

/** The retained messages that a new subscriber is told. */
async function retained(port: number): Promise<Record<string, string>> {
  const reader = await RawClient.connect(port);
  await reader.subscribe("state/#", { qos: 0 });
  await reader.ping();
  const said = reader.packets.map(({ topic, payload }) => [topic.slice("state/".length), payload.toString()]);
  reader.disconnect();
  return Object.fromEntries(said);
}

test("kill -9: devices that are back are not declared dead, those that are gone are, after their delay", async () => {
  const cluster = await startCluster(["b", "c"]);
  const port = await freePort();
  const flags = ["--zk", cluster.zk, "--id", "a", "--advertise", "127.0.0.1", "--link-port", "0"];
  const child = Bun.spawn(
    [executable, "broker", "--host", "127.0.0.1", "--port", String(port), "--zk-session-timeout", "4", ...flags],
    { stdout: "ignore", stderr: "ignore" },
  );
  await untilListening(port);
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 2), "all are linked");
  const dead = await watch(cluster.port(1));
  const kinds: Record<string, AnyPacket> = {
    clean: will("clean"),
    session: { ...will("session"), clean: false },
    delayed: { ...lasting, ...will("delayed", { willDelayInterval: 60 }) },
    plain: will("plain"),
    "gone-clean": will("gone-clean"),
    "gone-session": { ...lasting, ...will("gone-session") },
    "gone-delayed": { ...lasting, ...will("gone-delayed", { willDelayInterval: 12 }) },
  };
  for (const options of Object.values(kinds)) await arrive(port, options);
  child.kill("SIGKILL");
  const killedAt = performance.now();
  await Bun.sleep(300);
  for (const name of ["clean", "session", "delayed"]) await arrive(cluster.port(0), kinds[name]);
  // It comes back without a will, and nothing of its session is in the store.
  await arrive(cluster.port(0), { clientId: "plain" });
  await eventually(() => dead().length === 2, "those that are gone are declared dead", 60_000);
  expect(dead()).toEqual(["gone-clean", "gone-session"]);
  await eventually(() => dead().length === 3, "the delayed one is, too", 60_000);
  expect(performance.now() - killedAt).toBeGreaterThan(12_000);
  expect(await retained(cluster.port(1))).toEqual({
    clean: "online",
    session: "online",
    delayed: "online",
    plain: "online",
    "gone-clean": "offline",
    "gone-session": "offline",
    "gone-delayed": "offline",
  });
  await cluster.stop();
}, 120_000);

test("a broker that loses ZooKeeper closes connections with wills before others take their clients for gone", async () => {
  const cluster = await startCluster(["b"]);
  const [servers, chroot] = [cluster.zk.split("/")[0]!, cluster.zk.slice(cluster.zk.indexOf("/"))];
  const [host, zkPort] = servers.split(":");
  const proxy = startProxy({ host: "127.0.0.1", port: 0 }, { host: host!, port: Number(zkPort) });
  await cluster.add("a", { zk: `127.0.0.1:${proxy.port}${chroot}`, zkSessionTimeout: 4 });
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 1), "both are linked");
  const dead = await watch(cluster.port(0));
  const stays = await arrive(cluster.port(1), will("stays-away"));
  const moves = await arrive(cluster.port(1), { ...five, ...will("moves") });
  const plain = await RawClient.connect(cluster.port(1));
  proxy.cut("");
  await eventually(() => stays.closed && moves.closed, "both connections are closed", 60_000);
  expect(dead()).toEqual([]);
  // A reason that DISCONNECT may have: Use another server.
  expect((await moves.take("disconnect")).reasonCode).toBe(0x9c);
  await arrive(cluster.port(0), { ...five, ...will("moves") });
  await eventually(() => dead().length > 0, "who stays away is declared dead", willGraceMs + 20_000);
  // QoS 0 among sessions that end with their connections goes on; whoever has a will is sent on.
  await plain.ping();
  await expect(RawClient.connect(cluster.port(1), will("refused"))).rejects.toThrow();
  proxy.heal();
  proxy.reset();
  await eventually(() => cluster.brokers[1]!.broker.context.self.isFenced === false, "there is contact again", 60_000);
  await Bun.sleep(willGraceMs + 1000);
  expect(dead()).toEqual(["stays-away"]);
  expect(await retained(cluster.port(0))).toEqual({ moves: "online", "stays-away": "offline" });
  await cluster.stop();
  proxy.stop();
}, 120_000);
