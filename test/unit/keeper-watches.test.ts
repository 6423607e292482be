/** The watches of a keeper session: an event is told to those who watch its node, or all below a node above it. */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { EventType } from "../../src/zookeeper/codes.ts";
import { Watches } from "../../src/zookeeper/watches.ts";

const pathOf = fc
  .array(fc.constantFrom("a", "b", "ab"), { maxLength: 4 })
  .map((names) => (names.length === 0 ? "/" : names.map((name) => `/${name}`).join("")));

test("an event is told to whoever watches a node at or above its path, however many watch", () => {
  const steps = fc.array(fc.tuple(pathOf, fc.boolean()), { maxLength: 60, size: "max" });
  fc.assert(
    fc.property(steps, pathOf, (all, path) => {
      const watches = new Watches();
      const watched = new Map<string, () => void>();
      let told: string[] = [];
      for (const [at, isAdded] of all) {
        const listener = watched.get(at) ?? (() => void told.push(at));
        if (isAdded) watches.add("persistentRecursive", at, listener);
        else expect(watches.remove("persistentRecursive", at, listener)).toBe(watched.has(at));
        if (isAdded) watched.set(at, listener);
        else watched.delete(at);
      }
      told = [];
      watches.fire({ type: EventType.dataChanged, path });
      const isAbove = (at: string): boolean => at === "/" || path === at || path.startsWith(`${at}/`);
      expect(told.sort()).toEqual([...watched.keys()].filter(isAbove).sort());
      expect(watches.isEmpty).toBe(watched.size === 0);
    }),
    { numRuns: 500 },
  );
});
