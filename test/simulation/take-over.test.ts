/** A session that moves while the broker that had it is not reached: what that one has committed till then counts. */
import { expect, test } from "bun:test";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { incomingPath, sessionPath } from "../../src/coordinator/paths.ts";
import type { BrokerNode } from "./broker-node.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

test("a publish at QoS 2 that is committed while its client moves is not published twice", async () => {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  const reader = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  await reader.subscribe("state/d", { qos: 2 });
  const early = await Device.connect(world, "a", { clientId: "d", ...lasting });
  a.cutFrom.add("b");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  const publish = { qos: 2, messageId: 7 };
  const incoming = `${incomingPath("d")}/7`;
  const commit = holdBefore(a, ({ path }) => path === incoming);
  const take = holdBefore(b, ({ path }) => path === sessionPath("d"));
  early.publish("state/d", "once", publish);
  expect(await world.pass(1000, commit.isHeld)).toBe(true);
  early.abort();
  const late = Device.dial(world, "b", { clientId: "d", ...lasting })!;
  // It has read the session, and is about to make it its own.
  expect(await world.pass(1000, take.isHeld)).toBe(true);
  commit.go();
  expect(await world.pass(1000, () => world.tree.nodes.has(incoming))).toBe(true);
  take.go();
  take.go();
  expect((await late.take("connack")).sessionPresent).toBe(true);
  late.publish("state/d", "once", { ...publish, dup: true });
  await late.take("pubrec");
  late.send({ cmd: "pubrel", messageId: 7 });
  await late.take("pubcomp");
  await world.pass(1000);
  expect(reader.packets.map(({ cmd, payload }) => [cmd, payload.toString()])).toEqual([["publish", "once"]]);
});

/** Has a broker wait before it writes a certain operation, with all that it writes later. */
function holdBefore(node: BrokerNode, isIt: (operation: WriteOperation) => boolean) {
  const { coordinator } = node.broker!.context;
  const write = coordinator.write.bind(coordinator);
  const held: (() => void)[] = [];
  coordinator.write = (operations, done, repair) => {
    if (held.length > 0 || operations.some(isIt)) held.push(() => write(operations, done, repair));
    else write(operations, done, repair);
  };
  /** Lets it write that operation, and then, when it is called again, all that it has written later. */
  const go = (): void => {
    held[0]?.();
    held[0] = (): void => {
      coordinator.write = write;
      for (const late of held.slice(1)) late();
    };
  };
  return { isHeld: () => held.length > 0, go };
}
