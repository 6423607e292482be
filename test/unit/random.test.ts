/** The door to chance. */
import { expect, spyOn, test } from "bun:test";
import { systemRandom } from "../../src/base/random.ts";

test("its numbers lie evenly between 0 and 1, and do not come from Math.random, whose next ones can be worked out", () => {
  const guessable = spyOn(Math, "random");
  const count = 20_000;
  const numbers = Array.from({ length: count }, () => systemRandom.next());
  expect(guessable).not.toHaveBeenCalled();
  guessable.mockRestore();
  expect(new Set(numbers).size).toBe(count);
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...numbers)).toBeLessThan(1);
  const tenths = Array.from({ length: 10 }, () => 0);
  for (const number of numbers) tenths[Math.floor(10 * number)]!++;
  // Their standard deviation is 42.
  for (const tenth of tenths) expect(Math.abs(tenth - count / 10)).toBeLessThan(300);
  // And the last bits are not always the same.
  expect(new Set(numbers.map((number) => (number * 2 ** 53) % 8)).size).toBe(8);
});

test("bytes in hex have their length, whatever it is, are even, and never the same", () => {
  for (let count = 0; count < 70; count++)
    expect(systemRandom.hex(count)).toMatch(new RegExp(`^[0-9a-f]{${2 * count}}$`));
  const drawn = Array.from({ length: 2000 }, () => systemRandom.hex(8));
  expect(new Set(drawn).size).toBe(drawn.length);
  const digits = new Map<string, number>();
  for (const digit of drawn.join("")) digits.set(digit, (digits.get(digit) ?? 0) + 1);
  // 2,000 of each; their standard deviation is 43.
  expect([...digits.values()].filter((count) => Math.abs(count - 2000) < 300)).toHaveLength(16);
});

test("numbers and hex digits draw from the same words, in whatever turn", () => {
  const count = 2000;
  const numbers = new Set<number>();
  const texts = new Set<string>();
  for (let turn = 0; turn < count; turn++) {
    // One word and then two: a single one is left when a number is to be drawn.
    texts.add(systemRandom.hex(4));
    numbers.add(systemRandom.next());
  }
  expect(numbers.size).toBe(count);
  expect([...texts].every((text) => /^[0-9a-f]{8}$/.test(text))).toBe(true);
});
