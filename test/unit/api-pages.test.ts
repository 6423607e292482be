/** Pages of lists against a naive model: of one broker, and of several, whose pages become one. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Candidate,
  decodeCursor,
  encodeCursor,
  type Key,
  mergePages,
  type Page,
  Selection,
  shortName,
} from "../../src/api/page.ts";
import { cursorKeyMax } from "../../src/base/api-limits.ts";
import { finish } from "../../src/base/slices.ts";

const key = fc.record({ by: fc.integer({ min: 0, max: 5 }), name: fc.string({ maxLength: 3 }) });

function pageOf(keys: readonly Key[], wanted: ConstructorParameters<typeof Selection>[0]): Page {
  const selection = new Selection<Key>(wanted);
  function* candidates(): Generator<Candidate<Key> | undefined> {
    for (const one of keys) {
      yield undefined;
      yield { key: one, row: () => one };
    }
  }
  finish(selection.walk(candidates()));
  return selection.page;
}

function sorted(keys: readonly Key[], isDescending: boolean): string[] {
  const unique = [...new Map(keys.map((one) => [JSON.stringify(one), one])).values()];
  const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);
  unique.sort((a, b) => compare(a.by, b.by) || compare(a.name, b.name));
  return (isDescending ? unique.reverse() : unique).map((one) => JSON.stringify(one));
}

test("all pages together are all rows, each once, in their order, of however many brokers", () => {
  const cluster = fc.array(fc.array(key, { maxLength: 40, size: "max" }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(cluster, fc.boolean(), fc.integer({ min: 1, max: 7 }), (brokers, isDescending, limit) => {
      const all: string[] = [];
      let after: Key | undefined;
      for (let pages = 0; ; pages++) {
        expect(pages).toBeLessThan(300);
        const wanted = { after, isDescending, limit };
        const own = brokers.map((keys) => pageOf(keys, wanted));
        // A broker whose rows are long ends its page early.
        const short = own.map((page, index) => (index % 2 === 0 ? page : cutShort(page)));
        const page = mergePages(short, wanted);
        all.push(...page.items);
        if (page.next === undefined) break;
        const cursor = encodeCursor("x", page.next);
        expect(decodeCursor(cursor, "y")).toBeUndefined();
        after = decodeCursor(cursor, "x")!;
      }
      expect(all).toEqual(sorted(brokers.flat(), isDescending));
    }),
  );
});

function cutShort(page: Page): Page {
  if (page.items.length < 2) return page;
  const keys = page.keys.slice(0, 1);
  return { items: page.items.slice(0, 1), keys, next: keys[0] };
}

test("names of any length have a place of their own that a cursor can hold", () => {
  const long = "x".repeat(65_000);
  expect(shortName(long)).not.toBe(shortName(`${long}x`));
  expect(shortName(long).length).toBeLessThan(cursorKeyMax + 50);
  expect(shortName("short")).toBe("short");
});

test("what is no cursor is none", () => {
  for (const text of ["", "x", "%", btoa("[]"), btoa('["x",1]'), btoa('["x",{},"a"]'), btoa('["x",1,2]')])
    expect(decodeCursor(text, "x")).toBeUndefined();
});
