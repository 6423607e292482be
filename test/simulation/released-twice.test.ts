/** PUBREL that comes again while the store is about to forget its packet id. */
import { expect, test } from "bun:test";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const session = { clientId: "p", clean: false, properties: { sessionExpiryInterval: 1000 } };

test("a packet id is told to be free when the store has forgotten it, however often PUBREL comes", async () => {
  const world = new World(1, { bankCapital: 1_000_000 });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const reader = await Device.connect(world, "b");
  await reader.subscribe("t", { qos: 2 });
  const publisher = await Device.connect(world, "a", session);
  publisher.publish("t", "first", { qos: 2, messageId: 5 });
  await publisher.take("pubrec");
  world.node("a").cutKeeper();
  for (const _ of [1, 2]) publisher.send({ cmd: "pubrel", messageId: 5 });
  await world.pass(500);
  // Under an id that the store has not forgotten another message would count as the first one, at any broker.
  expect(publisher.packets).toEqual([]);
  world.node("a").healKeeper();
  await publisher.take("pubcomp");
  await world.pass(500);
  expect(publisher.packets).toEqual([]);
  world.node("a").kill();
  await world.pass(4000);
  const again = await Device.connect(world, "b", session);
  again.publish("t", "second", { qos: 2, messageId: 5 });
  await again.take("pubrec");
  const read = [await reader.take("publish"), await reader.take("publish")];
  expect(read.map(({ payload }) => payload.toString())).toEqual(["first", "second"]);
});
