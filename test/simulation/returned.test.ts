/** A broker that returns to the cluster after its keeper session was lost routes by what others have subscribed to. */
import { expect, test } from "bun:test";
import { Device } from "./device.ts";
import { World } from "./world.ts";

/** A filter for each of whose levels the store must be asked before it is found. */
const deepTopic = Array.from({ length: 30 }, (_, level) => level).join("/");
const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

test.each([
  ["has been connected all the time", "before"],
  ["connects now", "now"],
] as const)(
  "a client of a returned broker that %s reaches whoever has subscribed in its absence",
  async (_, when) => {
    for (let seed = 1; seed <= 10; seed++) {
      const world = new World(seed, { bankCapital: 1_000_000, ensemble: {} });
      const [a, b] = [world.node("a"), world.node("b")];
      for (const node of [a, b]) await node.startIn(world);
      await world.pass(1000);
      const early = await Device.connect(world, "a", { clientId: "early" });
      a.cutKeeper();
      expect(await world.pass(30_000, () => b.broker!.context.peers.get("a")?.epoch === undefined)).toBe(true);
      const reader = await Device.connect(world, "b", { clientId: "reader", ...lasting });
      await reader.subscribe(deepTopic, { qos: 1 });
      a.healKeeper();
      for (let ms = 0; ms < 30_000 && a.broker!.context.self.isFenced; ms++) await world.pass(1);
      const publisher = when === "before" ? early : await Device.connect(world, "a", { clientId: "late", ...lasting });
      publisher.publish(deepTopic, "x", { qos: 1, messageId: 1 });
      expect((await publisher.take("puback")).reasonCode ?? 0).toBe(0);
      await reader.take("publish");
    }
  },
  300_000,
);
