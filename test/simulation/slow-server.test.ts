/**
 * Removals of what was read from a keeper's server that is behind: empty levels, and retained messages that have
 * expired. Nothing newer is taken for what was read, though it has the same version.
 */
import { expect, test } from "bun:test";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { emptyLevelsMs } from "../../src/base/limits.ts";
import { retainedTexts } from "./checkers.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

/**
 * Retained messages below a level are cleared at two brokers, and a moment later one is retained at the level. `slow`:
 * the number of the server that is behind.
 */
async function run(seed: number, slow: number): Promise<string[]> {
  const world = new World(seed, { bankCapital: 1_000_000, ensemble: {} });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const server = world.ensemble!.servers[slow]!;
  const [atA, atB] = [await Device.connect(world, "a"), await Device.connect(world, "b")];
  const retain = async (device: Device, topic: string, payload: string): Promise<void> => {
    device.publish(topic, payload, { qos: 1, messageId: 1, retain: true });
    await device.take("puback");
  };
  await retain(atB, "x/b/c", "1");
  await retain(atB, "x/b/d", "1");
  await world.pass(1000);
  await retain(atB, "x/b/d", "");
  await retain(atA, "x/b/c", "");
  server.lagMs = 700;
  await world.pass(emptyLevelsMs - 300);
  await world.pass(1000, () => !world.tree.nodes.has("/retained/x/b"));
  await retain(atB, "x/b", "new");
  server.lagMs = 0;
  await world.pass(5000);
  const texts = retainedTexts(world, "x/b");
  return [...texts].flatMap(([who, text]) =>
    text === "new" ? [] : [`seed ${seed}, server ${slow}: ${who} has ${text}`],
  );
}

test("a level that is a message again by the time is not removed", async () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= 6; seed++) for (const slow of [0, 1, 2]) wrong.push(...(await run(seed, slow)));
  expect(wrong).toEqual([]);
}, 120_000);

/** A retained message has expired; it is cleared, and another one is retained, just before the teller looks. */
async function expire(seed: number, slow: number): Promise<string[]> {
  const world = new World(seed, { bankCapital: 1_000_000, ensemble: {} });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const begun = world.now();
  const device = await Device.connect(world, "b");
  const retain = async (payload: string, properties = {}): Promise<void> => {
    device.publish("x", payload, { qos: 1, messageId: 1, retain: true, properties });
    await device.take("puback");
  };
  await retain("old", { messageExpiryInterval: 1 });
  await world.pass(begun + 0.97 * sweepMs - world.now());
  world.ensemble!.servers[slow]!.lagMs = 1500;
  await retain("");
  await retain("new");
  await world.pass(3000);
  world.ensemble!.servers[slow]!.lagMs = 0;
  await world.pass(3000);
  const text = retainedTexts(world, "x").get("the store");
  return text === "new" ? [] : [`seed ${seed}, server ${slow}: the store has ${text}`];
}

test("a retained message is not removed in the place of one that had expired", async () => {
  const wrong: string[] = [];
  for (let seed = 7; seed <= 12; seed++) for (const slow of [0, 1, 2]) wrong.push(...(await expire(seed, slow)));
  expect(wrong).toEqual([]);
}, 120_000);
