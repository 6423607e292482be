/** The client's table of packet ids is a map: the same answers, in the same order. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { PacketTable } from "../../src/client/packet-table.ts";

const id = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(1, 17, 16_385, 32_769, 65_535));
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constantFrom("set" as const, "delete" as const), id }) },
  { weight: 1, arbitrary: fc.constant({ what: "clear" as const, id: 0 }) },
);

test("whatever is put there and taken away, it has what a Map has, in its order", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const [table, map] = [new PacketTable<number>(), new Map<number, number>()];
      for (const [at, { what, id }] of steps.entries()) {
        if (what === "clear") table.clear();
        else if (what === "set") table.set(id, at);
        else expect(table.delete(id)).toBe(map.has(id));
        if (what === "clear") map.clear();
        else if (what === "set") map.set(id, at);
        else map.delete(id);
        expect([table.size, table.has(id), table.get(id)]).toEqual([map.size, map.has(id), map.get(id)]);
      }
      expect(table.entries()).toEqual([...map.entries()]);
      expect([table.keys(), table.values()]).toEqual([[...map.keys()], [...map.values()]]);
    }),
  );
});

test("all packet ids have room at once, while the first one waits and the others go round", () => {
  const table = new PacketTable<number>();
  table.set(5, 5);
  for (let at = 6; at < 5 + 65_535; at++) table.set(((at - 1) % 65_535) + 1, at);
  expect(table.size).toBe(65_535);
  expect(table.values()).toEqual(Array.from({ length: 65_535 }, (_, at) => at + 5));
  for (const id of table.keys().slice(1)) table.delete(id);
  expect(table.entries()).toEqual([[5, 5]]);
});
