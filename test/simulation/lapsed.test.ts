/** Messages that outlive their time while they are under way to a client. */
import { expect, test } from "bun:test";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { decodeSlip } from "../../src/mail/records.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

test("a packet id that was sent at QoS 2 outlives its message in the store", async () => {
  const world = new World(1, { bankCapital: 1_000_000 });
  await world.node("a").startIn(world);
  const session = { clientId: "s", clean: false, properties: { sessionExpiryInterval: 1000 } };
  const first = await Device.connect(world, "a", session);
  await first.subscribe("t", { qos: 2 });
  const publisher = await Device.connect(world, "a");
  publisher.publish("t", "first", { qos: 2, messageId: 1, properties: { messageExpiryInterval: 1 } });
  const { messageId } = await first.take("publish");
  first.abort();
  await world.pass(4 * sweepMs);
  const slips = [...world.tree.nodes].filter(([path]) => /\/mail\/\d+$/.test(path));
  expect(slips.map(([, { data }]) => decodeSlip(data).state)).toEqual(["released"]);
  expect([...world.tree.nodes.keys()].filter((path) => path.includes("/="))).toEqual([]);
  publisher.send({ cmd: "pubrel", messageId: 1 });
  publisher.publish("t", "second", { qos: 2, messageId: 2 });
  const second = await Device.connect(world, "a", session);
  expect((await second.take("pubrel")).messageId).toBe(messageId);
  const next = await second.take("publish");
  expect([next.payload.toString(), next.messageId === messageId]).toEqual(["second", false]);
});
