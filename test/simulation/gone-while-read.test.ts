/** A CONNECT whose client has gone while the store was asked for its session. */
import { expect, test } from "bun:test";
import { sessionPath } from "../../src/coordinator/paths.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const lasting = { clientId: "d", properties: { sessionExpiryInterval: 1000 } };

test("it does not end the session that a later connection has begun meanwhile", async () => {
  const world = new World(1, { bankCapital: 10_000_000, ensemble: {} });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  const { coordinator } = b.broker!.context;
  const read = coordinator.read.bind(coordinator);
  const held: (() => void)[] = [];
  coordinator.read = (operations, done) => {
    const isSession = operations.some(({ path }) => path === sessionPath("d"));
    if (isSession) held.push(() => read(operations, done));
    else read(operations, done);
  };
  const gone = Device.dial(world, "b", { ...lasting, clean: true })!;
  expect(await world.pass(5000, () => held.length === 1)).toBe(true);
  gone.abort();
  await world.pass(100);
  const back = Device.dial(world, "b", { ...lasting, clean: false })!;
  expect(await world.pass(5000, () => held.length === 2)).toBe(true);
  coordinator.read = read;
  held[1]!();
  await back.take("connack");
  await back.subscribe("state/#", { qos: 1 });
  held[0]!();
  await world.pass(1000);
  const publisher = await Device.connect(world, "a");
  publisher.publish("state/d", "x", { qos: 1, messageId: 1 });
  expect((await back.take("publish")).payload.toString()).toBe("x");
});
