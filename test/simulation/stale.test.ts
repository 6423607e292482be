/** Requests that wait for contact with the store count for nothing when their client has gone elsewhere meanwhile. */
import { expect, test } from "bun:test";
import type { BrokerNode } from "./broker-node.ts";
import { retainedTexts } from "./checkers.ts";
import { cutBefore } from "./cut-before.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const will = { topic: "state/d", payload: Buffer.from("gone"), qos: 1 } as const;

/** Two brokers that do not hear each other. */
async function makeWorld() {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  a.cutFrom.add("b");
  await world.pass(1000, () => !b.broker!.context.peers.get("a")!.isLinked);
  return { world, a };
}

/** There is contact again, after so long; if nothing else is said, after the keeper session has ended. */
async function heal(world: World, a: BrokerNode, afterMs = 5000): Promise<void> {
  await world.pass(afterMs);
  a.healKeeper();
  a.cutFrom.clear();
  await world.pass(5000, () => !a.broker!.context.self.isFenced);
  await world.pass(2000);
}

const wills = (world: World): string[] => [...world.tree.nodes.keys()].filter((path) => /^\/wills\/.*\/d$/.test(path));

test("a CONNECT that is committed late does not take the will of the client's connection elsewhere", async () => {
  for (const [when, forMs] of [
    ["it has come", 5000],
    ["it has come", 0],
    ["its will is committed", 0],
  ] as const) {
    const { world, a } = await makeWorld();
    const watcher = await Device.connect(world, "b");
    await watcher.subscribe("state/#", { qos: 1 });
    // Nobody has noticed yet that there is no contact with the keeper.
    if (when === "it has come") a.cutKeeper();
    const isCut = cutBefore(a, ({ path }) => path === "/wills/a/d");
    const early = Device.dial(world, "a", { clientId: "d", will });
    await world.pass(1000, () => forMs === 0 && isCut());
    early?.abort();
    const late = await Device.connect(world, "b", { clientId: "d", will });
    await heal(world, a, forMs);
    expect([when, watcher.packets, wills(world)]).toEqual([when, [], ["/wills/b/d"]]);
    late.abort();
    expect((await watcher.take("publish")).payload.toString()).toBe("gone");
  }
});

test("what a client was not acknowledged does not replace what it was acknowledged elsewhere later", async () => {
  const { world, a } = await makeWorld();
  const early = await Device.connect(world, "a", { clientId: "d" });
  a.cutKeeper();
  early.publish("state/d", "old", { qos: 1, messageId: 1, retain: true });
  early.publish("state/e", "", { qos: 1, messageId: 2, retain: true });
  await world.pass(500);
  early.abort();
  const late = await Device.connect(world, "b", { clientId: "d" });
  late.publish("state/d", "new", { qos: 1, messageId: 1, retain: true });
  late.publish("state/e", "new", { qos: 1, messageId: 2, retain: true });
  for (let acks = 0; acks < 2; acks++) await late.take("puback");
  await heal(world, a);
  for (const topic of ["state/d", "state/e"]) {
    const texts = retainedTexts(world, topic);
    expect([topic, texts.get("the store"), texts.get("a"), texts.get("b")]).toEqual([topic, "new", "new", "new"]);
  }
});

test("what was said in the name of a session does not count for the one that its client has begun anew", async () => {
  const { world, a } = await makeWorld();
  const lasting = { clean: true, properties: { sessionExpiryInterval: 1000 } };
  const reader = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  await reader.subscribe("state/#", { qos: 1 });
  const early = await Device.connect(world, "a", { clientId: "d", ...lasting });
  a.cutKeeper();
  early.publish("state/d", "old", { qos: 1, messageId: 1 });
  await world.pass(500);
  early.abort();
  // No session lasts in between, so the records of both sessions have the same version.
  (await Device.connect(world, "b", { clientId: "d" })).leave();
  const late = await Device.connect(world, "b", { clientId: "d", ...lasting });
  late.publish("state/d", "new", { qos: 1, messageId: 1 });
  await late.take("puback");
  await heal(world, a);
  const received = reader.packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => payload.toString());
  expect(received).toEqual(["new"]);
});

test("a client that begins anew ends its session at a broker that is not reached, and not the other way round", async () => {
  for (const sessionExpiryInterval of [0, 1000]) {
    const { world, a } = await makeWorld();
    const early = await Device.connect(world, "a", { clientId: "d", properties: { sessionExpiryInterval: 1000 } });
    await early.subscribe("state/#", { qos: 1 });
    const late = await Device.connect(world, "b", { clientId: "d", properties: { sessionExpiryInterval } });
    await world.pass(3000);
    expect([...world.tree.nodes.keys()].filter((path) => path.endsWith("/~d"))).toEqual([]);
    // What each broker has asked the other one arrives now.
    a.cutFrom.clear();
    await world.pass(5000);
    expect([early.closed, late.closed]).toEqual([true, false]);
    late.abort();
    const back = Device.dial(world, "a", { clientId: "d", clean: false, properties: { sessionExpiryInterval } });
    expect((await back!.take("connack")).sessionPresent).toBe(sessionExpiryInterval > 0);
  }
});

test("a slip that is released at a broker that is not reached is not discarded besides", async () => {
  const { world } = await makeWorld();
  const b = world.node("b");
  const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };
  const other = await Device.connect(world, "b", { clientId: "other", ...lasting });
  await other.subscribe("state/d", { qos: 2 });
  other.abort();
  const early = await Device.connect(world, "a", { clientId: "d", ...lasting });
  await early.subscribe("state/d", { qos: 2 });
  const publisher = await Device.connect(world, "b");
  publisher.publish("state/d", "for two", { qos: 1, messageId: 1 });
  publisher.publish("state/d", "for two at QoS 2", { qos: 2, messageId: 2 });
  await publisher.take("pubrec");
  await early.take("publish");
  const { messageId } = await early.take("publish");
  // The client has been sent it at one broker, and begins anew at the other; that one has just read the slip.
  const { slips } = b.broker!.context;
  const readRecords = slips.readRecords.bind(slips);
  slips.readRecords = (page, done) =>
    readRecords(page, () => {
      early.send({ cmd: "pubrec", messageId });
      world.after(500, done);
    });
  await Device.connect(world, "b", { clientId: "d", clean: true });
  await world.pass(3000);
  const back = await Device.connect(world, "b", { clientId: "other", ...lasting });
  const received = [await back.take("publish"), await back.take("publish")];
  expect(received.map(({ payload }) => payload.toString())).toEqual(["for two", "for two at QoS 2"]);
});

test("a client whose CONNECT waits at a broker without contact is let in elsewhere at once", async () => {
  for (const connect of [{ will }, { clean: false, properties: { sessionExpiryInterval: 1000 } }]) {
    const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
    const [a, b] = [world.node("a"), world.node("b")];
    for (const node of [a, b]) await node.startIn(world);
    a.cutKeeper();
    expect(await world.pass(5000, () => a.broker!.context.coordinator.state !== "CONNECTED")).toBe(true);
    const early = Device.dial(world, "a", { clientId: "d", ...connect });
    await world.pass(100);
    early!.abort();
    await world.pass(20);
    await Device.connect(world, "b", { clientId: "d", ...connect });
    // The other broker has granted it, and not only when its lease was over.
    expect(a.broker!.context.self.isFenced).toBe(false);
  }
});
