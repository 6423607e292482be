/**
 * Seeds of the wide world in which some brokers are of format 1 at first; each is upgraded, and rolled back, in the
 * middle of everything (a quarter of MQTTZOO_SEEDS). `bun test/simulation/main.ts SEED 1 wide mixed` replays one.
 */
import { expect, test } from "bun:test";
import { codeOfFormat1 } from "./broker-code.ts";
import { expectRight, fractionOf, seedsOf } from "./seeds.ts";
import { runWide } from "./wide.ts";

const seeds = fractionOf(seedsOf("", 100), 4);

test(`${seeds.count} seeds of brokers of two formats`, async () => {
  const older = await codeOfFormat1();
  let changes = 0;
  await expectRight(seeds, async (seed) => {
    const { wrong, played } = await runWide(seed, { older });
    changes += played.filter((what) => what.includes("the other version")).length;
    return wrong.length === 0 ? [] : [...wrong, ...played];
  });
  expect(changes).toBeGreaterThanOrEqual(Math.floor(seeds.count / 2));
}, 900_000);
