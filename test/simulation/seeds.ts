/** Worlds that are run one after the other, by their seeds, until something is wrong in one of them. */
import { expect } from "bun:test";
import { createLog } from "../../src/base/log.ts";

export interface Seeds {
  readonly first: number;
  readonly count: number;
}

/** From MQTTZOO_SEED and MQTTZOO_SEEDS, or, with a name before it, from MQTTZOO_GROUP_SEED and so on. */
export function seedsOf(name: "" | "GROUP_" | "WILL_" | "SN_SIM_", count: number): Seeds {
  const { env } = process;
  return {
    first: Number(env[`MQTTZOO_${name}SEED`] ?? 1),
    count: Number(env[`MQTTZOO_${name}SEEDS`] ?? count),
  };
}

/** A part of them, where worlds of several kinds share their number. */
export function fractionOf({ first, count }: Seeds, parts: number): Seeds {
  return { first, count: Math.ceil(count / parts) };
}

/** Runs them; `run` returns what is wrong in the world of a seed. */
export async function expectRight(
  { first, count }: Seeds,
  run: (seed: number) => Promise<readonly string[]>,
): Promise<void> {
  const wrong: string[] = [];
  // One is enough to look into.
  for (let seed = first; seed < first + count && wrong.length === 0; seed++)
    wrong.push(...(await run(seed)).map((what) => `seed ${seed}: ${what}`));
  expect(wrong).toEqual([]);
}

/** The brokers' log, if MQTTZOO_SIM_LOG is set. */
export const simulationLog =
  process.env.MQTTZOO_SIM_LOG === undefined ? undefined : createLog({ level: "debug", format: "text" });
