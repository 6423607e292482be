/** The counters of protected packets: each is taken once, by whichever broker, whatever dies in between. */
import { describe, expect, test } from "bun:test";
import { snCountersAheadMax, snCountersHeldMax } from "../../src/base/sn-limits.ts";
import { snCounterPath } from "../../src/coordinator/paths.ts";
import { type CounterStore, Counters } from "../../src/mqttsn/counters.ts";
import { StoredCounters } from "../../src/server/sn-counters.ts";
import { seeded } from "../simulation/world.ts";
import { MemoryStore } from "../support/memory-store.ts";

const sender = "0011223344556677";

/** A broker's life; what it is told after its end is lost. */
class Life {
  isOver = false;
  readonly taken: number[] = [];
  readonly refused: number[] = [];
  now = 0;
  readonly #counters: Counters;

  constructor(store: CounterStore | undefined) {
    this.#counters = new Counters(store);
  }

  take(counter: number): void {
    this.#counters.take(sender, { counter, now: () => this.now }, (isNew) => {
      if (!this.isOver) (isNew ? this.taken : this.refused).push(counter);
    });
  }
}

function storeWith() {
  const memory = new MemoryStore();
  const strange: string[] = [];
  const start = (): Life => new Life(new StoredCounters(memory, (path) => strange.push(path)));
  return { memory, strange, start };
}

describe("a counter counts once", () => {
  test.each([["without a store"], ["with one"]])("%s, also when it is late", (how) => {
    const life = how === "with one" ? storeWith().start() : new Life(undefined);
    for (const counter of [5, 5, 7, 6, 6, 7, 4]) life.take(counter);
    expect(life.taken).toEqual([5, 7, 6, 4]);
    // What comes later than 64 others is too late: nobody knows whether it has come before.
    for (const counter of [100, 37, 36, 37]) life.take(counter);
    expect(life.taken.slice(4)).toEqual([100, 37]);
  });

  test("though its broker has died, and another one hears it", () => {
    const { start } = storeWith();
    const first = start();
    for (const counter of [1, 2, 3]) first.take(counter);
    for (const next of [start(), start()]) {
      for (const counter of [1, 2, 3]) next.take(counter);
      expect([next.taken, next.refused]).toEqual([[], [1, 2, 3]]);
    }
  });

  test("nothing is taken before it is committed that it may have been", () => {
    const { memory, start } = storeWith();
    memory.answers = false;
    const dying = start();
    dying.take(9);
    expect(dying.taken).toEqual([]);
    // The store has heard of it, and the broker dies before it is told.
    dying.isOver = true;
    memory.answers = true;
    memory.answer();
    const next = start();
    next.take(9);
    expect(next.refused).toEqual([9]);
  });

  test.each(Array.from({ length: 30 }, (_, index) => [index + 1]))("seed %i: at three brokers that die", (seed) => {
    const { memory, start } = storeWith();
    const random = seeded(seed).next;
    const lives = [start(), start(), start()];
    const all = [...lives];
    let sent = 0;
    for (let step = 0; step < 400; step++) {
      const at = Math.floor(random() * lives.length);
      const life = lives[at]!;
      life.now += random() * 900;
      if (random() < 0.05) {
        life.isOver = true;
        lives[at] = start();
        all.push(lives[at]!);
      } else if (random() < 0.5) life.take(++sent);
      else life.take(Math.max(0, sent - Math.floor(random() * 90)));
      memory.answers = random() < 0.7;
      if (memory.answers) memory.answer();
    }
    memory.answers = true;
    memory.answer();
    const taken = all.flatMap((life) => life.taken);
    expect(new Set(taken).size).toBe(taken.length);
    expect(taken.length).toBeGreaterThan(20);
  });
});

test("a slow sender loses nothing when its broker dies, a fast one about what it sends in a second, and no more", () => {
  const { memory, start } = storeWith();
  let life = start();
  for (let counter = 0; counter < 100; counter++) {
    life.now += 5_000;
    life.take(counter);
    if (counter % 10 === 9) {
      expect(life.taken.length).toBe(10);
      life = start();
    }
  }
  const commits = memory.commits.length;
  for (let counter = 100; counter < 20_000; counter++) {
    life.now += 1;
    life.take(counter);
  }
  // A thousand in a second: soon one write for each thousand.
  expect(memory.commits.length - commits).toBeLessThan(50);
  const next = start();
  for (let counter = 20_000; counter < 20_000 + 2 * snCountersAheadMax; counter++) next.take(counter);
  expect(next.refused.length).toBeLessThanOrEqual(snCountersAheadMax);
  expect(next.taken.at(-1)).toBe(20_000 + 2 * snCountersAheadMax - 1);
});

test("while the store is away so many wait, and more are lost", () => {
  const { memory, start } = storeWith();
  const life = start();
  memory.answers = false;
  for (let counter = 0; counter < snCountersHeldMax + 5; counter++) life.take(counter);
  expect([life.taken.length, life.refused.length]).toEqual([0, 5]);
  memory.answers = true;
  memory.answer();
  expect(life.taken).toEqual(Array.from({ length: snCountersHeldMax }, (_, counter) => counter));
});

test("where no counter stands, nothing is taken, and the operator is told", () => {
  const { memory, strange, start } = storeWith();
  start().take(1);
  const data = new TextEncoder().encode("none");
  memory.write([{ kind: "set", path: snCounterPath(sender), data, version: -1 }], () => {});
  const life = start();
  for (const counter of [2, 3]) life.take(counter);
  expect(life.refused).toEqual([2, 3]);
  expect(strange).toEqual([snCounterPath(sender)]);
});
