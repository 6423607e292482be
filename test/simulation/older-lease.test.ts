/**
 * Work that a broker has decided on counts only as long as its lease: what waits in its journal while it has no contact
 * is left alone when clients have gone elsewhere meanwhile, even where everything has the same version again.
 */
import { expect, test } from "bun:test";
import { branchCloseMs, sweepMs } from "../../src/base/bank-limits.ts";
import { adoptAfterMs, willGraceMs } from "../../src/base/limits.ts";
import type { BrokerNode } from "./broker-node.ts";
import { lostCredits, overdrawn } from "./checkers.ts";
import { cutBefore } from "./cut-before.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

async function makeWorld(...ids: string[]): Promise<World> {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  for (const id of ids) await world.node(id).startIn(world);
  return world;
}

/** Connects a publisher at a broker; returns what publishes its words on a device's state, and waits for the ack. */
async function publisherAt(world: World, id: string): Promise<(payload: string) => Promise<void>> {
  const publisher = await Device.connect(world, id);
  return async (payload) => {
    publisher.publish("state/d", payload, { qos: 1, messageId: 1 });
    await publisher.take("puback");
  };
}

/** There is contact again, after the keeper session has ended. */
async function heal(world: World, node: BrokerNode): Promise<void> {
  node.healKeeper();
  expect(await world.pass(5000, () => !node.broker!.context.self.isFenced)).toBe(true);
  await world.pass(2000);
}

test("an orphaned will that is due is not taken for the one that its client has left since", async () => {
  const world = await makeWorld("a", "b", "c");
  const [a, b] = [world.node("a"), world.node("b")];
  const watcher = await Device.connect(world, "c");
  await watcher.subscribe("state/#", { qos: 1 });
  const will = { topic: "state/d", payload: Buffer.from("gone"), qos: 1 } as const;
  await Device.connect(world, "b", { clientId: "d", will });
  const isCut = cutBefore(a, ({ kind, path }) => kind === "take" && path === "/wills/b/d");
  b.kill();
  expect(await world.pass(adoptAfterMs + 2 * willGraceMs, isCut)).toBe(true);
  a.cutFrom.add("b");
  // It is on its way to those who are there.
  await watcher.take("publish");
  await b.startIn(world);
  const back = await Device.connect(world, "b", { clientId: "d", will });
  await world.pass(3000);
  a.cutFrom.clear();
  await heal(world, a);
  expect(watcher.packets).toEqual([]);
  expect([...world.tree.nodes.keys()].filter((path) => path.endsWith("/d"))).toEqual(["/wills/b/d"]);
  back.abort();
  expect((await watcher.take("publish")).payload.toString()).toBe("gone");
});

test("a subscription that was nobody's is left alone when its client has begun anew", async () => {
  const world = await makeWorld("a", "b", "c");
  const a = world.node("a");
  const path = "/subscribers/state/#/~d";
  const early = await Device.connect(world, "b", { clientId: "d", ...lasting });
  await early.subscribe("state/#", { qos: 1 });
  early.abort();
  // As a broker leaves it that dies while it erases the session.
  const session = [...world.tree.nodes.keys()].find((found) => /^\/sessions\/..\/d$/.test(found))!;
  const isCut = cutBefore(a, (operation) => operation.kind === "remove" && operation.path === path);
  for (const id of ["b", "c"]) world.node(id).kill();
  const { coordinator } = a.broker!.context;
  coordinator.write([{ kind: "delete", path: session, version: -1 }], () => {});
  expect(await world.pass(adoptAfterMs + 10_000, isCut)).toBe(true);
  await world.node("b").startIn(world);
  const late = await Device.connect(world, "b", { clientId: "d", ...lasting });
  await late.subscribe("state/#", { qos: 1 });
  await world.pass(3000);
  await heal(world, a);
  expect(world.tree.nodes.has(path)).toBe(true);
});

test("a retained message that has expired is not taken for one that is retained since", async () => {
  const world = await makeWorld("a", "b");
  const a = world.node("a");
  const publisher = await Device.connect(world, "b");
  const properties = { messageExpiryInterval: 1 };
  publisher.publish("state/d", "old", { qos: 1, messageId: 1, retain: true, properties });
  await publisher.take("puback");
  const isCut = cutBefore(a, (operation) => operation.path === "/retained/state/d");
  expect(await world.pass(120_000, isCut)).toBe(true);
  for (const [messageId, payload] of [
    [2, ""],
    [3, "new"],
  ] as const) {
    publisher.publish("state/d", payload, { qos: 1, messageId, retain: true });
    await publisher.take("puback");
  }
  await world.pass(5000);
  await heal(world, a);
  expect(world.tree.nodes.has("/retained/state/d")).toBe(true);
  for (const id of ["a", "b"]) {
    const { publish } = world.node(id).broker!.context.retained.get("state/d")!;
    expect(Buffer.from(publish.payloadBytes).subarray(publish.payloadStart, publish.payloadEnd).toString()).toBe("new");
  }
});

test("what was said in the name of a session is void when the lease is over, also in the same keeper session", async () => {
  const world = await makeWorld("a", "b");
  const [a, b] = [world.node("a"), world.node("b")];
  a.cutFrom.add("b");
  await world.pass(1000, () => !b.broker!.context.peers.get("a")!.isLinked);
  const clean = { clean: true, properties: { sessionExpiryInterval: 1000 } };
  const reader = await Device.connect(world, "b", { clientId: "reader", ...clean });
  await reader.subscribe("state/#", { qos: 1 });
  const early = await Device.connect(world, "a", { clientId: "d", ...clean });
  const { epoch } = a.broker!.context.self;
  a.cutKeeper();
  early.publish("state/d", "old", { qos: 1, messageId: 1 });
  await world.pass(500);
  early.abort();
  // No session lasts in between, so the records of both sessions have the same version.
  (await Device.connect(world, "b", { clientId: "d" })).leave();
  const late = await Device.connect(world, "b", { clientId: "d", ...clean });
  late.publish("state/d", "new", { qos: 1, messageId: 1 });
  await late.take("puback");
  await world.pass(500);
  // Whoever leads next gives all keeper sessions their time anew.
  const { leader } = world.ensemble!;
  leader!.crash();
  expect(await world.pass(5000, () => a.broker!.context.self.isFenced)).toBe(true);
  leader!.restart();
  await heal(world, a);
  a.cutFrom.clear();
  expect(a.broker!.context.self.epoch).toBe(epoch);
  await world.pass(3000);
  const received = reader.packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => payload.toString());
  expect(received).toEqual(["new"]);
});

test("a teller that has slept in the middle of its round settles no account by what it had counted", async () => {
  const world = await makeWorld("a", "b", "c");
  const a = world.node("a");
  const reader = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  await reader.subscribe("state/#", { qos: 1 });
  reader.abort();
  const hasEstate = (): boolean => world.tree.nodes.has("/bank/branches/=c");
  const storeAtC = async (count: number): Promise<void> => {
    const publisher = await Device.connect(world, "c");
    for (let messageId = 1; messageId <= count; messageId++) {
      publisher.publish("state/d", "x".repeat(1000), { qos: 1, messageId });
      await publisher.take("puback");
    }
    world.node("c").kill();
  };
  await storeAtC(2);
  expect(await world.pass(branchCloseMs + 4 * sweepMs, hasEstate)).toBe(true);
  // It falls asleep when it has counted what messages bind.
  const { coordinator } = a.broker!.context;
  const read = coordinator.read.bind(coordinator);
  coordinator.read = (operations, done) => {
    if (!a.isAsleep && operations.some(({ path }) => path === "/retained")) a.sleep();
    read(operations, done);
  };
  expect(await world.pass(4 * sweepMs, () => a.isAsleep)).toBe(true);
  await world.node("c").startIn(world);
  expect(hasEstate()).toBe(false);
  await storeAtC(20);
  expect(await world.pass(branchCloseMs + 4 * sweepMs, hasEstate)).toBe(true);
  coordinator.read = read;
  a.wakeUp();
  await world.pass(1000);
  expect(await overdrawn(world)).toEqual([]);
  await world.pass(2 * sweepMs);
  expect([...(await overdrawn(world)), ...(await lostCredits(world))]).toEqual([]);
});

test("the removal of a slip that has waited takes none of a session that was begun anew meanwhile", async () => {
  const world = await makeWorld("a", "b");
  const [a, b] = [world.node("a"), world.node("b")];
  const store = await publisherAt(world, "b");
  const early = await Device.connect(world, "a", { clientId: "d", ...lasting });
  await early.subscribe("state/#", { qos: 1 });
  early.abort();
  await world.pass(100);
  await store("old");
  const again = await Device.connect(world, "a", { clientId: "d", ...lasting });
  const { messageId } = await again.take("publish");
  a.cutFrom.add("b");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  a.cutKeeper();
  again.send({ cmd: "puback", messageId });
  await world.pass(10);
  again.abort();
  // No session lasts in between, so those of the client have the same versions, and slips the same numbers.
  (await Device.connect(world, "b", { clientId: "d" })).leave();
  const late = await Device.connect(world, "b", { clientId: "d", ...lasting, clean: true });
  // SUBACK would wait for the other broker.
  late.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "state/#", qos: 1 }] });
  await world.pass(50);
  late.abort();
  await world.pass(50);
  await store("new");
  a.healKeeper();
  a.cutFrom.clear();
  await world.pass(3000);
  expect(a.broker!.context.self.fences).toBe(0);
  const last = await Device.connect(world, "b", { clientId: "d", ...lasting });
  expect((await last.take("publish")).payload.toString()).toBe("new");
});

test("what was said in the name of a session does not count for the one begun anew, though the lease goes on", async () => {
  const world = await makeWorld("a", "b");
  const [a, b] = [world.node("a"), world.node("b")];
  const clean = { ...lasting, clean: true };
  const store = await publisherAt(world, "b");
  const early = await Device.connect(world, "a", { clientId: "d", ...clean });
  await early.subscribe("state/#", { qos: 1 });
  // It is not acknowledged in time, and stored.
  await store("old");
  const { messageId } = await early.take("publish");
  a.cutFrom.add("b");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  a.cutKeeper();
  early.send({ cmd: "puback", messageId });
  await world.pass(50);
  early.abort();
  const late = await Device.connect(world, "b", { clientId: "d", ...clean });
  late.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "state/#", qos: 1 }] });
  await world.pass(100);
  await store("new");
  expect(a.broker!.context.self.isFenced).toBe(false);
  a.healKeeper();
  a.cutFrom.clear();
  await world.pass(3000);
  expect(late.closed).toBe(false);
  b.kill();
  await world.pass(5000);
  const last = await Device.connect(world, "a", { clientId: "d", ...lasting });
  expect((await last.take("publish")).payload.toString()).toBe("new");
});
