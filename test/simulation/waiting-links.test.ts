/** Messages that wait for a link between two brokers: what becomes of them meanwhile, and when it is up again. */
import { expect, test } from "bun:test";
import { linkPatienceMs, linkSilenceMs } from "../../src/base/limits.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

test("a message goes on ageing while it waits for a link between brokers", async () => {
  const world = new World(1, { bankCapital: 1_000_000 });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const reader = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  await reader.subscribe("t", { qos: 1 });
  const publisher = await Device.connect(world, "a");
  world.node("a").cutFrom.add("b");
  publisher.publish("t", "short", { qos: 1, messageId: 1, properties: { messageExpiryInterval: 1 } });
  publisher.publish("t", "long", { qos: 1, messageId: 2, properties: { messageExpiryInterval: 1000 } });
  const { peers } = world.node("a").broker!.context;
  expect(await world.pass(10_000, () => !peers.get("b")!.isLinked)).toBe(true);
  world.node("a").cutFrom.clear();
  for (let acks = 0; acks < 2; acks++) await publisher.take("puback");
  await world.pass(1000);
  expect(reader.packets.map(({ payload }) => payload.toString())).toEqual(["long"]);
  expect(reader.packets[0].properties.messageExpiryInterval).toBeLessThan(1000);
});

test("what was stored for a session instead does not come over the link, for nobody", async () => {
  const world = new World(1, { bankCapital: 1_000_000 });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const here = await connectReader(world, "here");
  (await connectReader(world, "away")).abort();
  await world.pass(100);
  const publisher = await Device.connect(world, "a");
  world.node("a").cutFrom.add("b");
  publisher.publish("t", "once", { qos: 1, messageId: 1 });
  const { peers } = world.node("a").broker!.context;
  expect(await world.pass(10_000, () => !peers.get("b")!.isLinked)).toBe(true);
  await world.pass(linkPatienceMs + 1000);
  await publisher.take("puback");
  world.node("a").cutFrom.clear();
  expect(await world.pass(10_000, () => peers.get("b")!.isLinked)).toBe(true);
  await world.pass(1000);
  const back = await Device.connect(world, "b", { clientId: "away", ...lasting });
  await world.pass(1000);
  for (const device of [here, back])
    expect(device.packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => payload.toString())).toEqual([
      "once",
    ]);
});

test("what a broker has not settled that is gone is stored for its sessions before it is acknowledged", async () => {
  const world = new World(1, { bankCapital: 1_000_000 });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  await connectReader(world, "reader");
  const publisher = await Device.connect(world, "a");
  // It stops where it is: its link stands until its keeper session is over.
  b.sleep();
  publisher.publish("t", "kept", { qos: 1, messageId: 1 });
  const peer = a.broker!.context.peers.get("b")!;
  expect(await world.pass(linkSilenceMs, () => peer.epoch === undefined)).toBe(true);
  await publisher.take("puback");
  const back = await Device.connect(world, "a", { clientId: "reader", ...lasting });
  expect((await back.take("publish")).payload.toString()).toBe("kept");
});

async function connectReader(world: World, clientId: string): Promise<Device> {
  const reader = await Device.connect(world, "b", { clientId, ...lasting });
  await reader.subscribe("t", { qos: 1 });
  return reader;
}
