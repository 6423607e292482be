/**
 * Seeds of worlds that have something more: mail drops, messages that are too large for one commit, clocks that jump
 * (MQTTZOO_SEEDS sets how many there are of all). `bun test/simulation/main.ts SEED 1 drops large jumps` replays one.
 */
import { expect, test } from "bun:test";
import { dropsOf, run } from "./scenario.ts";
import type { WorldOptions } from "./world.ts";

const seeds = Number(process.env.MQTTZOO_SEEDS ?? 100);
const dropSeeds = Math.ceil(seeds / 2);
const largeSeeds = Math.ceil(seeds / 4);

/** Runs so many worlds, until one is wrong. */
async function expectRight(count: number, optionsOf: (seed: number) => WorldOptions): Promise<void> {
  const wrong: string[] = [];
  for (let seed = 1; seed <= count && wrong.length === 0; seed++) {
    const outcome = await run(seed, optionsOf(seed));
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
  }
  expect(wrong).toEqual([]);
}

test(
  `${dropSeeds} seeds with mail drops`,
  () => expectRight(dropSeeds, (seed) => ({ mailDrop: dropsOf(seed) })),
  900_000,
);

test(
  `${largeSeeds} seeds with messages that are too large for one commit`,
  () => expectRight(largeSeeds, (seed) => ({ hasLarge: true, mailDrop: seed % 3 === 0 ? dropsOf(seed) : [] })),
  900_000,
);

test(
  `${largeSeeds} seeds with clocks that jump`,
  () => expectRight(largeSeeds, (seed) => ({ hasJumps: true, mailDrop: seed % 2 === 0 ? dropsOf(seed) : [] })),
  900_000,
);
