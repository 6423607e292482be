/** Seeds of the wide world that have found something. `bun test/simulation/main.ts SEED 1 wide` replays one. */
import { expect, test } from "bun:test";
import { runWide } from "./wide.ts";

const worldsOfBugs = [10279, 41304];

test("seeds of the wide world that have found something", async () => {
  const wrong: string[] = [];
  for (const seed of worldsOfBugs) wrong.push(...(await runWide(seed)).wrong.map((what) => `seed ${seed}: ${what}`));
  expect(wrong).toEqual([]);
}, 300_000);
