/**
 * A broker that leaves in order: its clients are sent to others, and nothing is lost, and no will is published wrongly.
 */
import { expect, test } from "bun:test";
import { freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { linked, startCluster } from "../support/cluster.ts";
import { executable } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const five = { protocolVersion: 5 };
const lasting = { clean: false, properties: { sessionExpiryInterval: 600 } };

test("clients are told where to go, paced; sessions, messages and wills go with them", async () => {
  const cluster = await startCluster(["a", "b"], { drainTime: 1 });
  const [a, b] = cluster.brokers;
  const witness = await RawClient.connect(cluster.port(1));
  await witness.subscribe("wills/#", { qos: 1 });
  const will = (name: string): AnyPacket => ({ will: { topic: `wills/${name}`, payload: name, qos: 1 } });
  const names = Array.from({ length: 20 }, (_, index) => `mover-${index}`);
  const movers = await Promise.all(
    names.map((name) => RawClient.connect(cluster.port(0), { ...five, ...lasting, ...will(name), clientId: name })),
  );
  for (const mover of movers) await mover.subscribe("work/#", { qos: 1 });
  const old = await RawClient.connect(cluster.port(0), { clean: false, clientId: "old", ...will("old") });
  await RawClient.connect(cluster.port(0), { ...five, ...will("lost") });
  const publisher = await RawClient.connect(cluster.port(1), five);
  publisher.publish("work/1", "before", { qos: 1, messageId: 1 });
  // They have it, and do not acknowledge it.
  for (const mover of movers) await mover.take("publish");
  const stopping = a!.stop();
  await eventually(() => a!.broker.context.self.isDraining, "it drains");
  await eventually(() => b!.broker.context.peers.get("a")?.facts?.draining === true, "the others know");
  await expect(RawClient.connect(cluster.port(0), five)).rejects.toThrow();
  const toldAt = await Promise.all(
    movers.map(async (mover) => {
      const { reasonCode, properties } = await mover.take("disconnect");
      expect(reasonCode).toBe(0x9c);
      expect(properties.serverReference).toBe(`127.0.0.1:${cluster.port(1)}`);
      return performance.now();
    }),
  );
  expect(Math.max(...toldAt) - Math.min(...toldAt)).toBeGreaterThan(200);
  await old.untilClosed();
  publisher.publish("work/2", "meanwhile", { qos: 1, messageId: 2 });
  const moved = await Promise.all(
    names.map((name) => RawClient.connect(cluster.port(1), { ...five, ...lasting, ...will(name), clientId: name })),
  );
  await RawClient.connect(cluster.port(1), { clean: false, clientId: "old", ...will("old") });
  for (const client of moved) {
    const packets = await client.takeMany("publish", 2);
    expect(packets.map(({ payload }) => payload.toString())).toEqual(["before", "meanwhile"]);
    for (const { messageId } of packets) client.send({ cmd: "puback", messageId });
  }
  expect((await publisher.takeMany("puback", 2)).length).toBe(2);
  await stopping;
  await eventually(() => b!.broker.context.peers.get("a")?.epoch === undefined, "it has left");
  // Those that came are expected no longer: nothing is left of their earlier wills.
  const { coordinator } = b!.broker.context;
  const left = (): Promise<number> =>
    new Promise((done) =>
      coordinator.read([{ kind: "children", path: "/wills/a" }], (_, [result]) =>
        done(typeof result === "object" && "children" in result ? result.children.length : 0),
      ),
    );
  await eventually(async () => (await left()) === 0, "no will of those that came is left", 60_000);
  await witness.ping();
  // Only who did not come is told of.
  expect(witness.packets.map(({ payload }) => payload.toString())).toEqual(["lost"]);
  await cluster.stop();
}, 120_000);

test("who has nobody to send clients to ends at once, without a word", async () => {
  const cluster = await startCluster(["a"], { drainTime: 30 });
  const client = await RawClient.connect(cluster.port(0), five);
  const startedAt = performance.now();
  await cluster.stop();
  await client.untilClosed();
  expect(client.packets).toEqual([]);
  // Long before it would have given up waiting.
  expect(performance.now() - startedAt).toBeLessThan(20_000);
});

test("where all brokers have one address clients are closed without a word, and come back by it", async () => {
  const cluster = await startCluster(["a", "b"], { drainTime: 1, serverReference: "none" });
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 1), "both are linked");
  const client = await RawClient.connect(cluster.port(0), five);
  const stopping = cluster.brokers[0]!.stop();
  await client.untilClosed();
  expect(client.packets).toEqual([]);
  await stopping;
  await cluster.stop();
}, 60_000);

test("a second SIGTERM ends a broker that drains at once", async () => {
  const cluster = await startCluster(["a"]);
  const [port, httpPort] = [await freePort(), await freePort()];
  const flags = ["--zk", cluster.zk, "--id", "slow", "--advertise", "127.0.0.1", "--link-port", "0"];
  const child = Bun.spawn(
    [executable, "broker", "--host", "127.0.0.1", "--port", String(port), "--http-port", String(httpPort), ...flags],
    { stdout: "ignore", stderr: "ignore", env: { ...process.env, MQTTZOO_DRAIN_TIME: "60" } },
  );
  await untilListening(port);
  await eventually(
    () => [...cluster.brokers[0]!.broker.context.peers.values()].some(({ isLinked }) => isLinked),
    "a link",
  );
  const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(port, five)));
  child.kill("SIGTERM");
  const notReady = async (): Promise<boolean> => {
    const response = await fetch(`http://127.0.0.1:${httpPort}/readyz`);
    const { checks } = (await response.json()) as { checks: { name: string; ok: boolean; why: string }[] };
    const drain = checks.find(({ name }) => name === "drain")!;
    return response.status === 503 && !drain.ok && drain.why === "clients are being sent to other brokers";
  };
  await eventually(notReady, "it is not ready, and says why");
  // It would take its time.
  expect(clients.some(({ closed }) => !closed)).toBe(true);
  expect(child.exitCode).toBe(null);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(1);
  await cluster.stop();
}, 120_000);
