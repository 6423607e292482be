/**
 * A hundred seeds of the simulated world (MQTTZOO_SEEDS sets another number): whatever dies, nothing acknowledged is
 * lost, QoS 2 arrives once, order is kept, and everything comes to rest. `bun test/simulation/main.ts SEED` replays
 * one.
 */
import { expect, test } from "bun:test";
import { run } from "./scenario.ts";

const seeds = Number(process.env.MQTTZOO_SEEDS ?? 100);

test(`${seeds} seeds`, async () => {
  const wrong: string[] = [];
  let sent = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = await run(seed);
    sent += outcome.sent;
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
    // One is enough to look into.
    if (wrong.length > 0) break;
  }
  console.log(`${seeds} seeds, ${sent} messages`);
  expect(wrong).toEqual([]);
  expect(sent).toBeGreaterThan(seeds * 100);
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
}, 60_000);

test("a seed replays exactly", async () => {
  const [first, second] = [await run(7), await run(7)];
  expect(first).toEqual(second);
});
