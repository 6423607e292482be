/** A CONNECT whose commit waits for contact with the store counts for nothing when its client has gone elsewhere. */
import { expect, test } from "bun:test";
import { Device } from "./device.ts";
import { World } from "./world.ts";

test("a CONNECT that is committed late does not take the will of the client's connection elsewhere", async () => {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  const watcher = await Device.connect(world, "b");
  await watcher.subscribe("state/#", { qos: 1 });
  a.cutFrom.add("b");
  await world.pass(1000, () => !b.broker!.context.peers.get("a")!.isLinked);
  // Nobody has noticed yet that there is no contact with the keeper.
  a.cutKeeper();
  const will = { topic: "state/d", payload: Buffer.from("gone"), qos: 1 } as const;
  const early = Device.dial(world, "a", { clientId: "d", will });
  await world.pass(1000);
  early?.abort();
  const late = await Device.connect(world, "b", { clientId: "d", will });
  await world.pass(5000);
  a.healKeeper();
  a.cutFrom.clear();
  await world.pass(5000, () => !a.broker!.context.self.isFenced);
  await world.pass(2000);
  expect(watcher.packets).toEqual([]);
  late.abort();
  expect((await watcher.take("publish")).payload.toString()).toBe("gone");
});
