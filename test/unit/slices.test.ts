/** Work in slices: how long a turn may last, who has his turn when, and when it is over. */
import { expect, test } from "bun:test";
import { sliceMs, sliceShareMs } from "../../src/base/limits.ts";
import { Slices, type Work } from "../../src/base/slices.ts";
import { Timer, Timers } from "../../src/base/timers.ts";

/** A clock on which each step of work takes a millisecond, and the turns of an event loop. */
function world(present: { subject: undefined; beganAt: number | undefined } | undefined = undefined) {
  const clock = { at: 0, now: () => clock.at };
  const timers = new Timers();
  const slices = new Slices(clock, timers, present);
  const log: string[] = [];
  function* steps(name: string, count: number): Work {
    for (let step = 0; step < count; step++) {
      clock.at++;
      log.push(name);
      yield;
    }
  }
  /** How long the longest turn was that followed, in ms. */
  const turn = (): number => {
    let longest = 0;
    while (timers.nextDeadline() !== Infinity) {
      const startedAt = clock.at;
      timers.tick(clock.at);
      longest = Math.max(longest, clock.at - startedAt);
    }
    return longest;
  };
  return { clock, timers, slices, log, steps, turn };
}

test("little work is done at once, and much is left when its slice is over", () => {
  const { clock, slices, log, steps, turn } = world();
  let done = 0;
  slices.run(steps("few", sliceMs - 1), () => done++);
  expect([done, clock.at, slices.waiting]).toEqual([1, sliceMs - 1, 0]);
  slices.run(steps("many", 1_000), () => done++);
  expect([done, clock.at, slices.waiting]).toEqual([1, 2 * sliceMs - 1, 1]);
  expect(turn()).toBeLessThanOrEqual(sliceMs + sliceShareMs);
  expect([done, slices.waiting, log.length]).toEqual([2, 0, sliceMs - 1 + 1_000]);
});

test("who comes while others have much to do has a turn soon; all together take no longer turns than one", () => {
  const { clock, slices, log, steps, turn } = world();
  for (let at = 0; at < 20; at++) slices.run(steps("many", 500));
  const startedAt = clock.at;
  let waited = 0;
  slices.run(steps("few", 2 * sliceShareMs), () => {
    waited = clock.at - startedAt;
  });
  expect(turn()).toBeLessThanOrEqual(sliceMs + sliceShareMs);
  expect(waited).toBeLessThanOrEqual(3 * 20 * sliceShareMs);
  expect(log.length).toBe(20 * 500 + 2 * sliceShareMs);
});

test("an error in one piece of work does not keep the others from going on", () => {
  const { slices, timers, clock, steps } = world();
  let done = 0;
  // biome-ignore lint/correctness/useYield: it fails before.
  function* failing(): Work {
    throw new Error("its own fault");
  }
  slices.run(steps("many", 30), () => done++);
  slices.later(() => slices.run(failing()));
  slices.run(steps("many", 30), () => done++);
  let errors = 0;
  while (timers.nextDeadline() !== Infinity) {
    try {
      timers.tick(clock.at);
    } catch {
      errors++;
    }
  }
  expect([errors, done]).toEqual([1, 2]);
});

test("what is due at one moment has several turns, in the order of the deadlines, and all of it has one", () => {
  const { clock, timers } = world();
  const fired: number[] = [];
  for (let number = 0; number < 100; number++) {
    const timer = new Timer(() => {
      clock.at++;
      fired.push(number);
    });
    timers.set(timer, number / 1000);
  }
  const turns: number[] = [];
  clock.at = 1;
  while (timers.nextDeadline() !== Infinity) {
    const startedAt = clock.at;
    timers.tick(startedAt, () => clock.at - startedAt >= sliceMs);
    turns.push(clock.at - startedAt);
  }
  expect(fired).toEqual([...Array(100).keys()]);
  expect(turns).toEqual(Array(100 / sliceMs).fill(sliceMs));
});

test("works that are begun in one turn have one slice together, and all are done in the end", () => {
  const present = { subject: undefined, beganAt: 0 };
  const { clock, timers, slices, log, steps } = world(present);
  for (let number = 0; number < 50; number++) slices.run(steps(`${number}`, 100));
  expect(clock.at).toBeLessThanOrEqual(sliceMs + sliceShareMs);
  expect([slices.waiting > 45, slices.isOver(clock.at)]).toEqual([true, true]);
  while (slices.waiting > 0) {
    present.beganAt = clock.at;
    expect(slices.isOver(clock.at)).toBe(false);
    timers.tick(clock.at);
    expect(clock.at - present.beganAt).toBeLessThanOrEqual(sliceMs + sliceShareMs);
  }
  expect(log.length).toBe(50 * 100);
});
