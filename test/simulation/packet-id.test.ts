/**
 * A publish at QoS 2 whose packet id is in the store counts as received at its publisher's next broker: whoever is
 * promised it must have it by then, and nobody twice.
 */
import { expect, test } from "bun:test";
import { incomingPath, sessionPath } from "../../src/coordinator/paths.ts";
import { Device } from "./device.ts";
import { holdBefore } from "./hold-before.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };
const publish = { qos: 2, messageId: 7 };
const packetId = `${incomingPath("d")}/7`;

async function three() {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
  for (const node of [a, b, c]) await node.startIn(world);
  return { world, a, b, c };
}

async function brief(world: World, at: string, filter = "state/#"): Promise<Device> {
  const reader = await Device.connect(world, at);
  await reader.subscribe(filter, { qos: 2 });
  return reader;
}

/** The publisher comes to a broker and sends again what it has not been answered. */
async function sendAgain(world: World, at: string): Promise<Device> {
  const again = await Device.connect(world, at, { clientId: "d", ...lasting });
  again.publish("state/d", "once", { ...publish, dup: true });
  expect((await again.take("pubrec")).reasonCode ?? 0).toBe(0);
  return again;
}

/** The publisher's broker commits the packet id, and dies before it has told the other brokers anything. */
async function dieOnceCommitted(world: World): Promise<void> {
  const publisher = await Device.connect(world, "a", { clientId: "d", ...lasting });
  const a = world.node("a");
  a.cutFrom.add("b").add("c");
  publisher.publish("state/d", "once", publish);
  expect(await world.pass(1000, () => world.tree.nodes.has(packetId))).toBe(true);
  a.kill();
}

function countOf({ packets }: Device): number {
  return packets.filter(({ cmd }) => cmd === "publish").length;
}

test("readers at QoS 1 have what is published at QoS 2 when its broker dies", async () => {
  const { world } = await three();
  const readers: Device[] = [];
  for (const [at, filter] of [
    ["a", "state/#"],
    ["b", "state/#"],
    ["b", "$share/g/state/#"],
  ] as const) {
    const reader = await Device.connect(world, at, { clientId: `reader${readers.length}`, ...lasting });
    await reader.subscribe(filter, { qos: 1 });
    readers.push(reader);
  }
  await dieOnceCommitted(world);
  await sendAgain(world, "c");
  const back = await Device.connect(world, "b", { clientId: "reader0", ...lasting });
  for (const reader of [back, readers[1]!, readers[2]!])
    expect((await reader.take("publish")).payload.toString()).toBe("once");
});

test("sessions that end with their connections get it from the next broker, if its broker has died before", async () => {
  const { world } = await three();
  const readers = [await brief(world, "b"), await brief(world, "c")];
  await dieOnceCommitted(world);
  await sendAgain(world, "c");
  for (const reader of readers) expect((await reader.take("publish")).payload.toString()).toBe("once");
  // The publisher moves once more before it has heard of that, and nobody gets it again.
  await sendAgain(world, "b");
  await world.pass(1000);
  expect(readers.map(countOf)).toEqual([0, 0]);
});

test("they get it once, if its broker has sent it and its publisher was not told", async () => {
  const { world, a } = await three();
  const readers = [await brief(world, "b"), await brief(world, "c")];
  const publisher = await Device.connect(world, "a", { clientId: "d", ...lasting });
  publisher.publish("state/d", "once", publish);
  expect(await world.pass(1000, () => readers.every((reader) => countOf(reader) === 1))).toBe(true);
  a.kill();
  await sendAgain(world, "c");
  await world.pass(1000);
  expect(readers.map(countOf)).toEqual([1, 1]);
});

test("the next broker answers when all have it", async () => {
  const { world, b, c } = await three();
  const reader = await brief(world, "b");
  await dieOnceCommitted(world);
  const again = await Device.connect(world, "c", { clientId: "d", ...lasting });
  c.cutFrom.add("b");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("c")!.isLinked)).toBe(true);
  again.publish("state/d", "once", { ...publish, dup: true });
  await world.pass(500);
  expect([countOf(reader), again.packets.map(({ cmd }) => cmd)]).toEqual([0, []]);
  c.cutFrom.clear();
  await again.take("pubrec");
  expect(countOf(reader)).toBe(1);
});

test("they get it once, if its broker lives, is slow, and sends it after the next one", async () => {
  const { world, a, b } = await three();
  const readers = [await brief(world, "a"), await brief(world, "b"), await brief(world, "c")];
  const publisher = await Device.connect(world, "a", { clientId: "d", ...lasting });
  // What it says waits for its links.
  a.cutFrom.add("b").add("c");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  publisher.publish("state/d", "once", publish);
  expect(await world.pass(1000, () => countOf(readers[0]!) === 1)).toBe(true);
  publisher.abort();
  const again = await Device.connect(world, "c", { clientId: "d", ...lasting });
  again.publish("state/d", "once", { ...publish, dup: true });
  expect(await world.pass(1000, () => readers.every((reader) => countOf(reader) === 1))).toBe(true);
  a.cutFrom.clear();
  await again.take("pubrec");
  await world.pass(5000);
  expect(readers.map(countOf)).toEqual([1, 1, 1]);
});

test("nobody is sent it by a broker whose commit is refused, since another one has its publisher", async () => {
  const { world, a, b } = await three();
  const readers = [await brief(world, "a"), await brief(world, "b"), await brief(world, "c")];
  const member = await brief(world, "a", "$share/g/state/#");
  const publisher = await Device.connect(world, "a", { clientId: "d", ...lasting });
  a.cutFrom.add("b");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  const commit = holdBefore(a, ({ path }) => path === packetId);
  const take = holdBefore(b, ({ path }) => path === sessionPath("d"));
  publisher.publish("state/d", "once", publish);
  expect(await world.pass(1000, commit.isHeld)).toBe(true);
  publisher.abort();
  const again = Device.dial(world, "b", { clientId: "d", ...lasting })!;
  expect(await world.pass(1000, take.isHeld)).toBe(true);
  take.go();
  take.go();
  await again.take("connack");
  a.cutFrom.clear();
  expect(await world.pass(5000, () => b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  again.publish("state/d", "once", { ...publish, dup: true });
  commit.go();
  commit.go();
  await again.take("pubrec");
  await world.pass(3000);
  expect([...readers, member].map(countOf)).toEqual([1, 1, 1, 1]);
});
