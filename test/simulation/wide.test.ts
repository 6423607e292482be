/**
 * Seeds of the wide world: an ensemble with servers that lag, crash and are cut off, clients of all kinds, and faults
 * of which two may happen at once (MQTTZOO_SEEDS sets how many seeds). `bun test/simulation/main.ts SEED 1 wide`
 * replays one.
 */
import { expect, test } from "bun:test";
import { runWide } from "./wide.ts";

const seeds = Number(process.env.MQTTZOO_SEEDS ?? 100);

test(`${seeds} seeds of the wide world`, async () => {
  const wrong: string[] = [];
  let sent = 0;
  for (let seed = 1; seed <= seeds && wrong.length === 0; seed++) {
    const outcome = await runWide(seed);
    sent += outcome.sent;
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
    if (outcome.wrong.length > 0) wrong.push(...outcome.played);
  }
  console.log(`${seeds} seeds, ${sent} messages`);
  expect(wrong).toEqual([]);
  expect(sent).toBeGreaterThan(seeds * 30);
}, 900_000);

test("a seed of the wide world replays exactly", async () => {
  const [first, second] = [await runWide(5), await runWide(5)];
  expect(first).toEqual(second);
});
