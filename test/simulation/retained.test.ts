/** Retained messages converge: on all brokers, in the store and with what was acknowledged (MQTTZOO_SEEDS: how many worlds). */
import { expect, test } from "bun:test";
import { type RetainedOptions, runRetained } from "./retained.ts";

const seeds = Number(process.env.MQTTZOO_SEEDS ?? 100);

async function expectRight(options: RetainedOptions): Promise<void> {
  const wrong: string[] = [];
  for (let seed = 1; seed <= seeds && wrong.length === 0; seed++)
    wrong.push(...(await runRetained(seed, options)).map((what) => `seed ${seed}: ${what}`));
  expect(wrong).toEqual([]);
}

test(`${seeds} seeds in calm`, () => expectRight({ isCalm: true }), 900_000);
test(`${seeds} seeds while brokers die and lose contact`, () => expectRight({}), 900_000);
