/**
 * Seeds of the wide world in which some brokers are of format 1 at first; each is upgraded, and rolled back, in the
 * middle of everything (a quarter of MQTTZOO_SEEDS). `bun test/simulation/main.ts SEED 1 wide mixed` replays one.
 */
import { expect, test } from "bun:test";
import { codeOfFormat1 } from "./broker-code.ts";
import { runWide } from "./wide.ts";

const seeds = Math.ceil(Number(process.env.MQTTZOO_SEEDS ?? 100) / 4);

test(`${seeds} seeds of brokers of two formats`, async () => {
  const older = await codeOfFormat1();
  const wrong: string[] = [];
  let changes = 0;
  for (let seed = 1; seed <= seeds && wrong.length === 0; seed++) {
    const outcome = await runWide(seed, { older });
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
    if (outcome.wrong.length > 0) wrong.push(...outcome.played);
    changes += outcome.played.filter((what) => what.includes("the other version")).length;
  }
  expect(wrong).toEqual([]);
  expect(changes).toBeGreaterThanOrEqual(Math.floor(seeds / 2));
}, 900_000);
