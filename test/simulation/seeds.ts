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

/** After so many minutes of all the tests of a process no further seed is begun. */
const minutesMax = Number(process.env.MQTTZOO_SEED_MINUTES ?? Number.POSITIVE_INFINITY);

/** Runs them; `run` returns what is wrong in the world of a seed. Resolves with how many there was time for. */
export async function expectRight(
  { first, count }: Seeds,
  run: (seed: number) => Promise<readonly string[]>,
): Promise<number> {
  const wrong: string[] = [];
  let seed = first;
  // One is enough to look into.
  while (seed < first + count && wrong.length === 0) {
    wrong.push(...(await run(seed)).map((what) => `seed ${seed}: ${what}`));
    seed++;
    if (performance.now() > minutesMax * 60_000) break;
  }
  expect(wrong).toEqual([]);
  return seed - first;
}

/** The brokers' log, if MQTTZOO_SIM_LOG is set. */
export const simulationLog =
  process.env.MQTTZOO_SIM_LOG === undefined ? undefined : createLog({ level: "debug", format: "text" });
