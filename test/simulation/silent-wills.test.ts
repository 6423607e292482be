/**
 * A client that changes brokers while these cannot ask each other: both let it in, in whichever order. It is not
 * declared dead where it is, and its will is published when it goes from there.
 */
import { expect, test } from "bun:test";
import { willPath } from "../../src/coordinator/paths.ts";
import { Device } from "./device.ts";
import { holdBefore } from "./hold-before.ts";
import { World } from "./world.ts";

const willOf = (number: number) => ({
  will: { topic: "state/d", payload: Buffer.from(`gone ${number}`), qos: 1, retain: false },
});
const textsOf = ({ packets }: Device): string[] =>
  packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => payload.toString());

/** Two brokers that cannot reach each other, and somebody at a third one who watches. */
async function cut() {
  const world = new World(1, { bankCapital: 10_000_000, ensemble: {} });
  const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
  for (const node of [a, b, c]) await node.startIn(world);
  const watcher = await Device.connect(world, "c");
  await watcher.subscribe("state/d", { qos: 1 });
  a.cutFrom.add("b");
  expect(await world.pass(5000, () => !b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  return { world, a, b, watcher };
}

test("an earlier CONNECT that is committed after the later one is refused", async () => {
  const { world, a, b, watcher } = await cut();
  const early = holdBefore(a, ({ path }) => path === willPath("a", "d"));
  const first = Device.dial(world, "a", { clientId: "d", ...willOf(1) })!;
  expect(await world.pass(5000, early.isHeld)).toBe(true);
  const second = await Device.connect(world, "b", { clientId: "d", ...willOf(2) });
  early.go();
  early.go();
  expect((await first.take("connack")).reasonCode).toBe(0x89);
  a.cutFrom.clear();
  expect(await world.pass(5000, () => b.broker!.context.peers.get("a")!.isLinked)).toBe(true);
  await world.pass(1000);
  expect([second.closed, textsOf(watcher)]).toEqual([false, []]);
  second.abort();
  await world.pass(1000);
  expect(textsOf(watcher)).toEqual(["gone 2"]);
});

test("one that was let in before is not heard any more when the link is back", async () => {
  const { world, a, watcher } = await cut();
  const first = await Device.connect(world, "a", { clientId: "d", ...willOf(1) });
  const second = await Device.connect(world, "b", { clientId: "d", ...willOf(2) });
  a.cutFrom.clear();
  expect(await world.pass(5000, () => first.closed)).toBe(true);
  await world.pass(1000);
  expect([second.closed, textsOf(watcher)]).toEqual([false, []]);
  second.abort();
  await world.pass(1000);
  expect(textsOf(watcher)).toEqual(["gone 2"]);
});
