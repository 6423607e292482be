/**
 * Seeds of worlds that have something more: mail drops, messages that are too large for one commit, clocks that jump
 * (MQTTZOO_SEEDS sets how many there are of all). `bun test/simulation/main.ts SEED 1 drops large jumps` replays one.
 */
import { expect, test } from "bun:test";
import { dropsOf, run } from "./scenario.ts";

const seeds = Number(process.env.MQTTZOO_SEEDS ?? 100);
const dropSeeds = Math.ceil(seeds / 2);
const largeSeeds = Math.ceil(seeds / 4);

test(`${dropSeeds} seeds with mail drops`, async () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= dropSeeds && wrong.length === 0; seed++) {
    const outcome = await run(seed, { mailDrop: dropsOf(seed) });
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
  }
  expect(wrong).toEqual([]);
}, 900_000);

test(`${largeSeeds} seeds with messages that are too large for one commit`, async () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= largeSeeds && wrong.length === 0; seed++) {
    const outcome = await run(seed, { hasLarge: true, mailDrop: seed % 3 === 0 ? dropsOf(seed) : [] });
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
  }
  expect(wrong).toEqual([]);
}, 900_000);

test(`${largeSeeds} seeds with clocks that jump`, async () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= largeSeeds && wrong.length === 0; seed++) {
    const outcome = await run(seed, { hasJumps: true, mailDrop: seed % 2 === 0 ? dropsOf(seed) : [] });
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
  }
  expect(wrong).toEqual([]);
}, 900_000);
