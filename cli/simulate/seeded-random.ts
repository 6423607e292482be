/** Chance that is the same again for the same seed: a simulation can be repeated. */
import { createHash } from "node:crypto";
import { type Random, systemRandom } from "../../src/base/random.ts";

/** Returns chance of its own for each name; undefined as seed: the system's. */
export function randomOf(seed: number | undefined, name: string): Random {
  if (seed === undefined) return systemRandom;
  // Mulberry32.
  let state = createHash("sha256").update(`${seed} ${name}`).digest().readUInt32LE(0);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const hex = (count: number): string =>
    Array.from({ length: count }, () =>
      Math.floor(next() * 256)
        .toString(16)
        .padStart(2, "0"),
    ).join("");
  return { next, hex };
}
