/**
 * Seeds of worlds that have something more: mail drops, large messages, small mailboxes, clocks that jump
 * (MQTTZOO_SEEDS sets how many there are of all). `bun test/simulation/main.ts SEED 1 drops large jumps` replays one.
 */
import { test } from "bun:test";
import { dropsOf, run, smallMailboxes } from "./scenario.ts";
import { expectRight, fractionOf, type Seeds, seedsOf } from "./seeds.ts";
import type { WorldOptions } from "./world.ts";

const seeds = seedsOf("", 100);
const [half, quarter] = [fractionOf(seeds, 2), fractionOf(seeds, 4)];

function expectRightWith(some: Seeds, optionsOf: (seed: number) => WorldOptions): Promise<number> {
  return expectRight(some, async (seed) => (await run(seed, optionsOf(seed))).wrong);
}

test(
  `${half.count} seeds with mail drops`,
  () => expectRightWith(half, (seed) => ({ mailDrop: dropsOf(seed) })),
  900_000,
);

test(
  `${quarter.count} seeds with messages that are too large for one commit`,
  () => expectRightWith(quarter, (seed) => ({ hasLarge: true, mailDrop: seed % 3 === 0 ? dropsOf(seed) : [] })),
  900_000,
);

test(
  `${quarter.count} seeds with mailboxes that are soon full, and end their sessions`,
  () => expectRightWith(quarter, smallMailboxes),
  900_000,
);

test(
  `${quarter.count} seeds with clocks that jump`,
  () => expectRightWith(quarter, (seed) => ({ hasJumps: true, mailDrop: seed % 2 === 0 ? dropsOf(seed) : [] })),
  900_000,
);
