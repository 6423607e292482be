/**
 * Brokers' words in the tree on what their clients subscribe to and publish on: they outlive them, count only while
 * they live, and are removed when they are gone.
 */
import { expect, test } from "bun:test";
import { weightPaidBy } from "../../src/bank/price.ts";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { leftoversAfterMs, publisherLookMs } from "../../src/base/limits.ts";
import { isPeer } from "../../src/broker/peers/peer.ts";
import { brokerPath, interestPath, publisherPath } from "../../src/coordinator/paths.ts";
import { decodeStamp, type Stamp } from "../../src/mail/stamp.ts";
import { lostCredits, tooHeavy } from "./checkers.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

async function worldOf(seed: number, ids: readonly string[]): Promise<World> {
  const world = new World(seed);
  for (const id of ids) await world.node(id).startIn(world);
  await world.pass(500);
  return world;
}

function stampAt(world: World, path: string): Stamp | "none" {
  const node = world.keeper.tree.nodes.get(path);
  return node === undefined ? "none" : decodeStamp(node.data);
}

const epochOf = (world: World, id: string): number => world.node(id).broker!.context.self.epoch;

/** The other brokers that one routes a topic to. */
function routedBy(world: World, id: string, topic: string): string[] {
  const bytes = encodeUtf8(topic);
  const route = world.node(id).broker!.context.router.route(bytes, 0, bytes.length)!;
  return route.elsewhere.map(({ subscriber }) => (isPeer(subscriber) ? subscriber.id : subscriber.clientId));
}

/** Counts the messages that one broker has handed to others. */
async function forwardedBy(world: World, id: string, topic: string): Promise<number> {
  const { metrics } = world.node(id).broker!.context;
  const before = metrics.forwarded;
  const publisher = await Device.connect(world, id, { clientId: `p-${id}` });
  publisher.publish(topic, "x", { qos: 1, messageId: 1 });
  await publisher.take("puback");
  publisher.leave();
  return metrics.forwarded - before;
}

const ephemeralsOf = (world: World): string[] =>
  [...world.keeper.tree.nodes].filter(([, { owner }]) => owner !== undefined).map(([path]) => path);

test("a keeper session owns its broker's node and nothing else, whatever clients do", async () => {
  const world = await worldOf(1, ["a", "b"]);
  const device = await Device.connect(world, "a");
  for (let n = 0; n < 50; n++) await device.subscribe(`f/${n}`);
  for (let n = 0; n < 50; n++) device.publish(`t/${n}`, "x");
  await world.pass(2 * publisherLookMs);
  expect(stampAt(world, interestPath("f/7", "a"))).toBe(epochOf(world, "a"));
  expect(stampAt(world, publisherPath("t/7", "a"))).toBe(epochOf(world, "a"));
  expect(ephemeralsOf(world).sort()).toEqual([brokerPath("a"), brokerPath("b")]);
});

test("levels that a client leaves behind are paid for until they are swept, however fast it makes them", async () => {
  const world = await worldOf(5, ["a", "b"]);
  const properties = { sessionExpiryInterval: 1000 };
  const device = await Device.connect(world, "a", { clientId: "x", properties });
  const { account } = world.node("a").broker!.context.bankAccount;
  let unsweptMax = 0;
  for (let round = 0; round < 12; round++) {
    const topics = Array.from({ length: 40 }, (_, n) => `${round}/${n}${"/d".repeat(20)}`);
    device.send({ cmd: "subscribe", messageId: 1, subscriptions: topics.map((topic) => ({ topic, qos: 0 })) });
    expect(new Set((await device.take("suback")).granted)).toEqual(new Set([0]));
    device.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: topics });
    await device.take("unsuback");
    expect(await tooHeavy(world)).toEqual([]);
    unsweptMax = Math.max(unsweptMax, account.unswept);
  }
  // So much would be there that nobody pays for.
  expect(weightPaidBy(unsweptMax)).toBeGreaterThan(512 * 1024);
  expect(await world.pass(10_000, () => account.unswept === 0)).toBe(true);
  expect(await lostCredits(world)).toEqual([]);
});

test("nobody routes to a dead broker any more, long before what it has left is removed", async () => {
  const world = await worldOf(2, ["a", "b", "c"]);
  const device = await Device.connect(world, "b");
  for (let n = 0; n < 700; n++) await device.subscribe(`f/${n}`);
  device.publish("t/1", "x");
  await world.pass(2 * publisherLookMs);
  expect(await forwardedBy(world, "a", "f/7")).toBe(1);
  // Somebody subscribes at "c", too: that stays.
  await (await Device.connect(world, "c")).subscribe("f/7");
  world.node("b").kill();
  await world.pass(world.sessionTimeoutMs + 200);
  expect(stampAt(world, interestPath("f/8", "b"))).toBeNumber();
  expect(routedBy(world, "a", "f/8")).toEqual([]);
  expect(routedBy(world, "a", "f/7")).toEqual(["c"]);
  expect(await forwardedBy(world, "a", "f/8")).toBe(0);
  expect(await forwardedBy(world, "a", "f/7")).toBe(1);
  const { tree } = world.keeper;
  const before = tree.transactions;
  const left = (): string[] => [...tree.nodes.keys()].filter((path) => path.endsWith("/@b"));
  expect(left().length).toBe(701);
  expect(await world.pass(leftoversAfterMs + 5000, () => left().length === 0)).toBe(true);
  expect(tree.transactions - before).toBeLessThan(100);
  expect(stampAt(world, interestPath("f/7", "c"))).toBe(epochOf(world, "c"));
  await world.pass(200);
  expect(world.node("a").broker!.context.peers.get("b")!.interest.size).toBe(0);
});

test("a broker that is back takes over what is right again, and removes what is not; until then it does not count", async () => {
  const world = await worldOf(3, ["a", "b"]);
  const device = await Device.connect(world, "b");
  for (const filter of ["kept", "old"]) await device.subscribe(filter);
  device.publish("published", "x");
  await world.pass(2 * publisherLookMs);
  const earlier = epochOf(world, "b");
  world.node("b").kill();
  await world.pass(world.sessionTimeoutMs / 2);
  await world.node("b").startIn(world);
  await world.pass(500);
  expect(stampAt(world, interestPath("kept", "b"))).toBe(earlier);
  expect(await forwardedBy(world, "a", "kept")).toBe(0);
  await (await Device.connect(world, "b")).subscribe("kept");
  expect(await forwardedBy(world, "a", "kept")).toBe(1);
  expect(await forwardedBy(world, "a", "old")).toBe(0);
  const isTidy = (): boolean =>
    stampAt(world, interestPath("old", "b")) === "none" && stampAt(world, publisherPath("published", "b")) === "none";
  expect(await world.pass(3 * leftoversAfterMs, isTidy)).toBe(true);
  expect(stampAt(world, interestPath("kept", "b"))).toBe(epochOf(world, "b"));
});

test("a broker that has lost its keeper session is routed to as soon as it is back, and names its new epoch", async () => {
  const world = await worldOf(4, ["a", "b"]);
  const device = await Device.connect(world, "b");
  const filters = Array.from({ length: 8_000 }, (_, n) => `f/${n}`);
  for (let at = 0; at < filters.length; at += 1000) {
    const subscriptions = filters.slice(at, at + 1000).map((topic) => ({ topic, qos: 0 }));
    device.send({ cmd: "subscribe", messageId: 1, subscriptions });
    await device.take("suback");
  }
  const last = filters.at(-1)!;
  expect(routedBy(world, "a", last)).toEqual(["b"]);
  const earlier = epochOf(world, "b");
  world.node("b").cutKeeper();
  await world.pass(world.sessionTimeoutMs + 1000);
  expect(routedBy(world, "a", last)).toEqual([]);
  world.node("b").healKeeper();
  const peer = world.node("a").broker!.context.peers.get("b")!;
  expect(await world.pass(5000, () => peer.isMember && peer.epoch !== earlier)).toBe(true);
  expect(stampAt(world, interestPath(last, "b"))).toBe(earlier);
  expect(routedBy(world, "a", last)).toEqual(["b"]);
  expect(await forwardedBy(world, "a", last)).toBe(1);
  const isStamped = (): boolean => filters.every((filter) => stampAt(world, interestPath(filter, "b")) === peer.epoch);
  expect(await world.pass(10_000, isStamped)).toBe(true);
  await device.take("publish");
});

test("what others remove though it is right stands there again", async () => {
  const world = await worldOf(5, ["a", "b"]);
  const device = await Device.connect(world, "b");
  await device.subscribe("wanted");
  world.keeper.connect().write([{ kind: "delete", path: interestPath("wanted", "b"), version: -1 }], () => {});
  await world.pass(500);
  expect(stampAt(world, interestPath("wanted", "b"))).toBe(epochOf(world, "b"));
  expect(await forwardedBy(world, "a", "wanted")).toBe(1);
});

test("a client that comes back at once finds its filters; one that leaves takes them along, beside everything else", async () => {
  const world = await worldOf(6, ["a", "b"]);
  const device = await Device.connect(world, "b");
  for (let n = 0; n < 1200; n++) await device.subscribe(`f/${n}`);
  device.leave();
  const again = await Device.connect(world, "b", { clientId: "again" });
  for (let n = 0; n < 1200; n += 100) await again.subscribe(`f/${n}`);
  const left = (): string[] => [...world.keeper.tree.nodes.keys()].filter((path) => path.endsWith("/@b"));
  expect(await world.pass(5000, () => left().length === 12)).toBe(true);
  for (let n = 0; n < 1200; n += 100) expect(await forwardedBy(world, "a", `f/${n}`)).toBe(1);
});

test("what a broker of format 1 says counts while it stands there; what no broker has written counts for nothing", async () => {
  const world = await worldOf(7, ["a", "b"]);
  const store = world.keeper.connect();
  const foreign = [encodeUtf8("x"), encodeUtf8('{"epoch":1}'), encodeUtf8("12345678901234567"), new Uint8Array([255])];
  const nodes = [noBytes, ...foreign];
  nodes.forEach((data, index) => {
    const path = interestPath(`f${index}`, "b");
    const mode = data.length === 0 ? "ephemeral" : "persistent";
    store.write([{ kind: "create", path: `/subscribers/f${index}`, data: noBytes, mode: "container" }], () => {});
    store.write([{ kind: "create", path, data, mode }], () => {});
  });
  await world.pass(500);
  expect(await forwardedBy(world, "a", "f0")).toBe(1);
  expect(world.node("a").broker!.context.strangers.count).toBe(foreign.length);
  for (let index = 1; index < nodes.length; index++) expect(await forwardedBy(world, "a", `f${index}`)).toBe(0);
  store.crash();
  await world.pass(world.sessionTimeoutMs + 500);
  expect(await forwardedBy(world, "a", "f0")).toBe(0);
});

test("the ephemeral node of an earlier life of format 1 is replaced before it goes", async () => {
  const world = await worldOf(8, ["a"]);
  const before = world.keeper.connect();
  before.write([{ kind: "create", path: "/subscribers/f", data: noBytes, mode: "container" }], () => {});
  before.write([{ kind: "create", path: interestPath("f", "b"), data: noBytes, mode: "ephemeral" }], () => {});
  await world.pass(100);
  before.crash();
  await world.node("b").startIn(world);
  await (await Device.connect(world, "b")).subscribe("f");
  await world.pass(2 * world.sessionTimeoutMs);
  expect(stampAt(world, interestPath("f", "b"))).toBe(epochOf(world, "b"));
  expect(await forwardedBy(world, "a", "f")).toBe(1);
});

test("a broker that ends in order leaves nothing", async () => {
  const world = await worldOf(9, ["a", "b"]);
  const device = await Device.connect(world, "b");
  for (let n = 0; n < 700; n++) await device.subscribe(`f/${n}`);
  for (let n = 0; n < 700; n++) device.publish(`t/${n}`, "x");
  await world.pass(4 * publisherLookMs);
  let done = false;
  world.node("b").broker!.handle({
    kind: "shutdown",
    done: () => {
      done = true;
    },
  });
  expect(await world.pass(5000, () => done)).toBe(true);
  expect([...world.keeper.tree.nodes.keys()].filter((path) => path.endsWith("/@b"))).toEqual([]);
  expect(world.node("a").broker!.context.peers.get("b")!.isMember).toBe(false);
});

test("who publishes on what takes a bounded part of the tree", async () => {
  const world = await worldOf(10, ["a"]);
  const device = await Device.connect(world, "a");
  const long = `${"x".repeat(20)}/`.repeat(29);
  const count = (): number =>
    [...world.keeper.tree.nodes.keys()].filter((path) => path.startsWith("/publishers")).length;
  for (let batch = 0; batch < 4; batch++) {
    for (let n = 0; n < 600; n++) device.publish(`${batch}-${n}/${long}`, "x");
    await world.pass(publisherLookMs);
  }
  await world.pass(2 * publisherLookMs);
  // Each topic takes some 23 KB of the tree, as ZooKeeper keeps it.
  expect(count()).toBeGreaterThan(4_000);
  expect(count()).toBeLessThan(20_000);
});

test("levels of a part of the tree that is watched are not looked for; those that others have made or removed are known", async () => {
  const world = await worldOf(11, ["a", "b"]);
  const { tree } = world.keeper;
  const read = tree.read.bind(tree);
  let asked: string[] = [];
  tree.read = (operation) => {
    if (operation.path.startsWith("/subscribers/") && !operation.path.includes("@")) asked.push(operation.path);
    return read(operation);
  };
  const [one, two] = [await Device.connect(world, "a"), await Device.connect(world, "b", { clientId: "two" })];
  for (let n = 0; n < 100; n++) await one.subscribe(`x/y/${n}/z`);
  await world.pass(100);
  for (let n = 0; n < 100; n++) await two.subscribe(`x/y/${n}/z`);
  expect(asked).toEqual([]);
  const repairs = (): number => world.node("a").broker!.context.journal.repairs;
  const before = repairs();
  one.leave();
  two.leave();
  // Emptied levels are swept, by the one or the other.
  const levels = (): string[] => [...tree.nodes.keys()].filter((path) => path.startsWith("/subscribers/"));
  expect(await world.pass(20_000, () => levels().length === 0)).toBe(true);
  await world.pass(100);
  asked = [];
  const again = await Device.connect(world, "a", { clientId: "again" });
  const subscriptions = Array.from({ length: 100 }, (_, n) => ({ topic: `x/y/${n}/z`, qos: 0 }));
  again.send({ cmd: "subscribe", messageId: 1, subscriptions });
  await again.take("suback");
  expect(asked).toEqual([]);
  expect(repairs() - before).toBeLessThan(10);
  expect(routedBy(world, "b", "x/y/7/z")).toEqual(["a"]);
});
