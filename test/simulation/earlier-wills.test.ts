/**
 * A client that comes back without a will while its earlier one lies in the store, and whoever has it there cannot
 * remove it: for want of contact with the store. It is not declared dead where it is connected.
 */
import { expect, test } from "bun:test";
import { orphansMs, willGraceMs } from "../../src/base/limits.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const longSeconds = 1000;
const will = { topic: "state/d", payload: Buffer.from("gone"), qos: 1 } as const;
/** A will that is not due for long. */
const delayed = {
  will: { ...will, properties: { willDelayInterval: longSeconds } },
  properties: { sessionExpiryInterval: longSeconds },
} as const;
const serverUnavailable = 0x88;

/** Longer than it takes to find a will that was left, and to wait for its client. */
const foundMs = 4 * willGraceMs;

/** Brokers, somebody at the last one who watches, and a client with a will at the first one. */
async function makeWorld(ids: readonly string[], options: object = { will }) {
  const world = new World(1, { bankCapital: 10_000_000 });
  for (const id of ids) await world.node(id).startIn(world);
  const watcher = await Device.connect(world, ids.at(-1)!);
  await watcher.subscribe("state/d", { qos: 1 });
  const device = await Device.connect(world, ids[0]!, { clientId: "d", ...options });
  const nodes = ids.map((id) => world.node(id));
  return { world, nodes, watcher, device };
}

type Made = Awaited<ReturnType<typeof makeWorld>>;

/** Lets the lease of some brokers end. */
async function fence({ world }: Made, nodes: Made["nodes"]): Promise<void> {
  for (const node of nodes) node.cutKeeper();
  const isOver = (): boolean => nodes.every(({ broker }) => broker!.context.self.isFenced);
  expect(await world.pass(10_000, isOver)).toBe(true);
  // What was under way between brokers has come.
  await world.pass(100);
}

/** The reason code with which the client is answered that comes back without a will. */
async function comeBack(world: World, id: string): Promise<number> {
  return (await Device.dial(world, id, { clientId: "d" })!.take("connack")).reasonCode;
}

const wills = (world: World): string[] => [...world.tree.nodes.keys()].filter((path) => /^\/wills\/.*\/d$/.test(path));

test("is not let in by its broker after the lease, and not declared dead where it is let in", async () => {
  const made = await makeWorld(["a", "b"]);
  const { world, nodes, watcher, device } = made;
  await fence(made, [nodes[0]!]);
  expect(device.closed).toBe(true);
  expect(await comeBack(world, "a")).toBe(serverUnavailable);
  expect([await comeBack(world, "b"), wills(world)]).toEqual([0, []]);
  nodes[0]!.healKeeper();
  await world.pass(foundMs);
  expect(watcher.packets).toEqual([]);
});

test("is let in by its broker once the will is out of the store, where contact is back before the lease is over", async () => {
  const { world, nodes, watcher, device } = await makeWorld(["a", "b"]);
  nodes[0]!.cutKeeper();
  device.abort();
  await world.pass(100);
  const back = Device.dial(world, "a", { clientId: "d" })!;
  await world.pass(1000);
  expect(back.packets).toEqual([]);
  nodes[0]!.healKeeper();
  expect([(await back.take("connack")).reasonCode, wills(world)]).toEqual([0, []]);
  await world.pass(foundMs);
  expect(watcher.packets).toEqual([]);
});

test("is let in by nobody while no broker has contact, and by anybody after that", async () => {
  const made = await makeWorld(["a", "b", "c"]);
  const { world, nodes, watcher } = made;
  await fence(made, nodes);
  for (const { id } of nodes) expect(await comeBack(world, id)).toBe(serverUnavailable);
  // One that had no will is.
  await Device.connect(world, "b", { clientId: "e" });
  for (const node of nodes) node.healKeeper();
  const isBack = (): boolean => nodes.every(({ broker }) => !broker!.context.self.isFenced);
  expect(await world.pass(10_000, isBack)).toBe(true);
  expect(await comeBack(world, "b")).toBe(0);
  await world.pass(foundMs);
  expect([watcher.packets, wills(world)]).toEqual([[], []]);
});

test("is not let in after the lease by who had found the will of a broker that has died", async () => {
  const made = await makeWorld(["c", "a", "b"], delayed);
  const { world, nodes, watcher } = made;
  nodes[0]!.kill();
  const hasLeft = (): boolean => nodes[1]!.broker!.context.peers.get("c")!.epoch === undefined;
  expect(await world.pass(10_000, hasLeft)).toBe(true);
  // It has been found, and its client is waited for, longer than CONNECT looks for sessions that nobody has adopted.
  await world.pass(orphansMs);
  await fence(made, [nodes[1]!]);
  expect(await comeBack(world, "a")).toBe(serverUnavailable);
  expect(await comeBack(world, "b")).toBe(0);
  nodes[1]!.healKeeper();
  await world.pass(1000 * longSeconds);
  expect([watcher.packets, wills(world)]).toEqual([[], []]);
});
