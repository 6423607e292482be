/** Publishes by name: what a broker has sent, or its publishers' next brokers again, comes once, and is not lost. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { namedAheadMax, namingBrokersMax } from "../../src/base/limits.ts";
import { NamedPublishes } from "../../src/broker/peers/named-publishes.ts";
import type { PublishName } from "../../src/link/delivery-frame.ts";

const own = 5;
const name = (zxid: number, number: number, epoch = 9): PublishName => ({ epoch, number, zxid });

test("what its broker has sent is not taken again, and what it never sent is taken once", () => {
  const named = new NamedPublishes(own);
  expect(named.take(name(10, 1), false)).toBe(true);
  expect(named.take(name(10, 1), true)).toBe(false);
  // Of one commit some may have been sent, and some not.
  expect(named.take(name(10, 2), true)).toBe(true);
  expect(named.take(name(10, 2), true)).toBe(false);
  expect(named.take(name(11, 3), true)).toBe(true);
  // All of one broker's come in their order.
  expect(named.take(name(13, 5), false)).toBe(true);
  expect(named.take(name(12, 4), true)).toBe(false);
  expect(named.take(name(12, 4, 8), true)).toBe(true);
});

test("what has been sent again is not taken when it comes from its broker after all", () => {
  const named = new NamedPublishes(own);
  expect(named.take(name(10, 2), true)).toBe(true);
  // Others of its broker come, before it and with it.
  expect(named.take(name(9, 1), false)).toBe(true);
  expect(named.take(name(10, 3), false)).toBe(true);
  expect(named.take(name(10, 2), false)).toBe(false);
  expect(named.take(name(10, 2), true)).toBe(false);
});

test("a commit in doubt, of which its broker knows only that it was over by then, is known by its number", () => {
  const named = new NamedPublishes(own);
  expect(named.take(name(10, 1), true)).toBe(true);
  expect(named.take(name(13, 1), false)).toBe(false);
  expect(named.take(name(10, 1), true)).toBe(false);
});

test("what this broker has committed it sends itself", () => {
  const named = new NamedPublishes(own);
  const { epoch, number } = named.next();
  expect({ epoch, number }).toEqual({ epoch: own, number: 1 });
  expect(named.take({ epoch, number, zxid: 10 }, true)).toBe(false);
  expect(named.next().number).toBe(2);
});

test("what is remembered is bounded", () => {
  const named = new NamedPublishes(own);
  for (let at = 0; at <= namedAheadMax; at++) named.take(name(10 + at, at), true);
  expect(named.take(name(10 + namedAheadMax, namedAheadMax), true)).toBe(false);
  expect(named.take(name(10, 0), true)).toBe(true);
  for (let epoch = 1000; epoch < 1000 + namingBrokersMax; epoch++) named.take(name(10, 1, epoch), false);
  // The first broker is forgotten.
  expect(named.take(name(10 + namedAheadMax, namedAheadMax), true)).toBe(true);
});

test("whenever a broker dies, and whoever sends its publishes again, each is taken exactly once", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 30 });
  const chances = fc.infiniteStream(fc.nat(3));
  fc.assert(
    fc.property(sizes, chances, fc.nat(), (commits, drawn, diesAt) => {
      const chance = (): number => drawn.next().value as number;
      const named = new NamedPublishes(own);
      let count = 0;
      const publishes = commits.flatMap((size, at) => Array.from({ length: size }, () => name(10 + at, ++count)));
      const dies = diesAt % (publishes.length + 1);
      const taken = new Map<PublishName, number>();
      const take = (publish: PublishName, isAgain: boolean): void => {
        if (named.take(publish, isAgain)) taken.set(publish, (taken.get(publish) ?? 0) + 1);
      };
      publishes.forEach((publish, at) => {
        // The client may be at its next broker before the one that it has left sends anything, or hears of its commit.
        const ahead = publishes.slice(at, at + 1 + chance());
        if (chance() === 0) take(ahead.at(-1)!, true);
        if (at < dies) take(publish, false);
      });
      for (const publish of publishes) for (let times = 1 + chance(); times > 0; times--) take(publish, true);
      expect(publishes.map((publish) => taken.get(publish))).toEqual(publishes.map(() => 1));
    }),
  );
});
