/** Clearing retained messages from outside: only what was seen goes, with its pieces and the levels above it. */
import { expect, test } from "bun:test";
import { clearRetained } from "../../src/audit/remove-mail.ts";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { partPath } from "../../src/coordinator/paths.ts";
import { MemoryStore } from "../support/memory-store.ts";

const tree = new MemoryStore();
const some = encodeUtf8("a message");

function make(...paths: readonly (readonly [string, Uint8Array])[]): void {
  const operations = paths.map(([path, data]): WriteOperation => ({ kind: "create", path, data, mode: "persistent" }));
  tree.write(operations, (error) => expect(error).toBeUndefined());
}

const isThere = (path: string): boolean => tree.tree.nodes.has(path);
const clear = (path: string, version: number, count?: number): Promise<boolean> =>
  clearRetained(tree, { path, version, parts: count === undefined ? undefined : { id: "p", count } });

test("only what was seen goes; a level above others stays one; nothing is left of what has gone", async () => {
  make(["/retained", noBytes], ["/retained/a", some], ["/retained/a/b", noBytes], ["/retained/a/b/c", some]);
  make(["/parts", noBytes], ["/parts/p", some], [partPath("p", 0), some], [partPath("p", 1), some]);
  tree.write([{ kind: "set", path: "/retained/a/b/c", data: some, version: -1 }], () => {});
  // Replaced since it was seen.
  expect(await clear("/retained/a/b/c", 0, 2)).toBe(false);
  expect([isThere("/retained/a/b/c"), isThere(partPath("p", 1))]).toEqual([true, true]);
  // Others below it.
  expect(await clear("/retained/a", 0)).toBe(true);
  expect(await clear("/retained/a", 0)).toBe(false);
  expect([isThere("/retained/a"), isThere("/retained/a/b/c")]).toEqual([true, true]);
  expect(await clear("/retained/a/b/c", 1, 2)).toBe(true);
  expect(["/retained/a", "/retained/a/b", "/parts/p"].filter(isThere)).toEqual([]);
  expect(["/retained", "/parts"].filter(isThere)).toEqual(["/retained", "/parts"]);
});
