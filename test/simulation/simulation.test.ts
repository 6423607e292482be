/**
 * A hundred seeds of the simulated world (MQTTZOO_SEEDS sets another number): whatever dies, nothing acknowledged is
 * lost, QoS 2 arrives once, order is kept, and everything comes to rest. `bun test/simulation/main.ts SEED` replays
 * one.
 */
import { expect, test } from "bun:test";
import { run } from "./scenario.ts";
import { expectRight, seedsOf } from "./seeds.ts";

const seeds = seedsOf("", 100);

test(`${seeds.count} seeds`, async () => {
  let messages = 0;
  const count = await expectRight(seeds, async (seed) => {
    const { wrong, sent } = await run(seed);
    messages += sent;
    return wrong;
  });
  console.log(`${count} seeds, ${messages} messages`);
  expect(messages).toBeGreaterThan(count * 100);
}, 900_000);

/** Worlds in which something was wrong once. */
const worldsOfBugs = [
  1098, 1203, 1210, 1226, 2012, 2106, 2609, 2742, 2865, 2976, 3287, 3545, 5135, 5137, 5468, 30007, 30192, 40054, 40087,
  50426, 60308,
];

test("seeds that have found something", async () => {
  const wrong: string[] = [];
  for (const seed of worldsOfBugs) wrong.push(...(await run(seed)).wrong.map((what) => `seed ${seed}: ${what}`));
  expect(wrong).toEqual([]);
}, 900_000);

test("a seed replays exactly", async () => {
  const [first, second] = [await run(7), await run(7)];
  expect(first).toEqual(second);
});
