/**
 * A session that moves while the broker that had it is not reached: what that one has committed till then counts, and
 * what is on its way is not overtaken.
 */
import { expect, test } from "bun:test";
import { linkPatienceMs, linkSilenceMs } from "../../src/base/limits.ts";
import { incomingPath, mailPath, sessionPath } from "../../src/coordinator/paths.ts";
import { Device } from "./device.ts";
import { holdBefore } from "./hold-before.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

test("a publish at QoS 2 that is committed while its client moves is known where that has moved to", async () => {
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
  expect(textsOf(reader)).toEqual(["once"]);
});

test("a message under way to a broker that is not reached is not overtaken where its receiver turns up", async () => {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  const early = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  await early.subscribe("state/d", { qos: 1 });
  const publisher = await Device.connect(world, "a");
  a.cutFrom.add("b");
  publisher.publish("state/d", "1", { qos: 1, messageId: 1 });
  await world.pass(100);
  early.abort();
  const late = await Device.connect(world, "a", { clientId: "reader", ...lasting });
  publisher.publish("state/d", "2", { qos: 1, messageId: 2 });
  await world.pass(linkSilenceMs + linkPatienceMs + 1000);
  expect(textsOf(late)).toEqual(["1", "2"]);
});

test("what a broker is storing for a session that it has lost is not overtaken by what it publishes then", async () => {
  const world = new World(1, { bankCapital: 1_000_000, ensemble: {} });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  const early = await Device.connect(world, "a", { clientId: "reader", ...lasting });
  await early.subscribe("state/d", { qos: 1 });
  early.abort();
  const publisher = await Device.connect(world, "a");
  a.cutFrom.add("b");
  const peer = b.broker!.context.peers.get("a")!;
  expect(await world.pass(5000, () => !peer.isLinked)).toBe(true);
  const store = holdBefore(a, ({ path }) => path.startsWith(mailPath("reader")));
  publisher.publish("state/d", "1", { qos: 1, messageId: 1 });
  expect(await world.pass(1000, store.isHeld)).toBe(true);
  const late = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  a.cutFrom.clear();
  expect(await world.pass(5000, () => peer.isLinked)).toBe(true);
  publisher.publish("state/d", "2", { qos: 1, messageId: 2 });
  await world.pass(1000);
  store.go();
  store.go();
  await world.pass(3000);
  expect(textsOf(late)).toEqual(["1", "2"]);
});

function textsOf({ packets }: Device): string[] {
  return packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => payload.toString());
}
