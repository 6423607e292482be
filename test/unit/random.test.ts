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
