/**
 * A publish at QoS 2 whose packet id is in the store counts as received at its publisher's next broker: whoever is
 * promised it must have it by then.
 */
import { expect, test } from "bun:test";
import { incomingPath } from "../../src/coordinator/paths.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

test("readers at QoS 1 have what is published at QoS 2 when its broker dies", async () => {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
  for (const node of [a, b, c]) await node.startIn(world);
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
  const publisher = await Device.connect(world, "a", { clientId: "d", ...lasting });
  // Nothing that it says reaches the others any more.
  a.cutFrom.add("b").add("c");
  publisher.publish("state/d", "once", { qos: 2, messageId: 7 });
  expect(await world.pass(1000, () => world.tree.nodes.has(`${incomingPath("d")}/7`))).toBe(true);
  a.kill();
  const again = await Device.connect(world, "c", { clientId: "d", ...lasting });
  again.publish("state/d", "once", { qos: 2, messageId: 7, dup: true });
  expect((await again.take("pubrec")).reasonCode ?? 0).toBe(0);
  const back = await Device.connect(world, "b", { clientId: "reader0", ...lasting });
  for (const reader of [back, readers[1]!, readers[2]!])
    expect((await reader.take("publish")).payload.toString()).toBe("once");
});
