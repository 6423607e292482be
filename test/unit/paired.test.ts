/** The statistics of `bench:gate`. */
import { expect, test } from "bun:test";
import { compare } from "../bench/paired.ts";
import { seeded } from "../simulation/world.ts";

test("the mean ratio and its interval are those of Student's paired test on logarithms", () => {
  // ln: 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, t(2) = 4.303.
  const pairs = [0.1, 0.2, 0.3].map((log) => [100, 100 * Math.exp(log)] as const);
  const { ratio, low, high } = compare(pairs);
  expect(Math.log(ratio)).toBeCloseTo(0.2, 10);
  expect(Math.log(high) - Math.log(ratio)).toBeCloseTo((4.303 * 0.1) / Math.sqrt(3), 10);
  expect(Math.log(ratio) - Math.log(low)).toBeCloseTo((4.303 * 0.1) / Math.sqrt(3), 10);
});

test("noise that both of a pair have met does not count", () => {
  const random = seeded(7);
  const pairs = Array.from({ length: 6 }, () => {
    const machine = 1 + 4 * random.next();
    return [1000 * machine, 900 * machine] as const;
  });
  const { ratio, low, high } = compare(pairs);
  for (const found of [ratio, low, high]) expect(found).toBeCloseTo(0.9, 10);
});

test("of equal programs the interval holds 1 in about 95 of 100 tries", () => {
  const random = seeded(11);
  const noisy = (): number => 1000 * Math.exp(0.2 * (random.next() + random.next() + random.next() - 1.5));
  let held = 0;
  for (let turn = 0; turn < 1000; turn++) {
    const { low, high } = compare(Array.from({ length: 6 }, () => [noisy(), noisy()] as const));
    if (low <= 1 && high >= 1) held++;
  }
  expect(held).toBeGreaterThan(920);
  expect(held).toBeLessThan(980);
});
