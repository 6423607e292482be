/** The walk over a store that a tool reads: in the order of its keys, instead of one look-up for each node. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import type { ReadResult } from "../../src/coordinator/coordinator.ts";
import { type Store, type Visit, walk } from "../../src/coordinator/mirror.ts";
import { TreeDatabase } from "../../src/embedded/database.ts";
import { openReader } from "../../src/embedded/reader.ts";

/** Siblings among whose texts are those that come before and after "/". */
const roots = ["/topics", "/topics-x", "/topics!", "/topics0", "/topicsa"];
const level = fc.constantFrom("a", "b", "a-", "a0", "a!", "=1", "~c", "%2F", "ä");
const place = fc
  .tuple(fc.constantFrom(...roots), fc.array(level, { maxLength: 4 }))
  .map(([root, levels]) => [root, ...levels].join("/"));

async function withStore(paths: readonly string[], use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-walk-"));
  try {
    const database = new TreeDatabase(folder);
    for (const path of paths) {
      const create = { kind: "create", path, data: encodeUtf8(path), mode: "persistent", withLevels: true } as const;
      database.run([{ kind: "write", operations: [create], canBeRepaired: false }]);
    }
    database.close();
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Walks, and notes each node as it was told. */
async function noted(store: Store, root: string): Promise<Map<string, ReadResult>> {
  const found = new Map<string, ReadResult>();
  const visit: Visit = (path, { data, stat: { czxid, mzxid, version, childCount } }) =>
    void found.set(path, { data: new Uint8Array(data), stat: { czxid, mzxid, version, childCount } });
  await walk(store, root, visit);
  return found;
}

test("it finds the same as look-ups do, each node once, and before those below it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(place, { maxLength: 25, size: "max" }), async (paths) => {
      await withStore(paths, async (folder) => {
        const { read, walk: byKeys } = openReader(folder);
        for (const root of roots) {
          const found = await noted({ read, walk: byKeys }, root);
          expect([...found].toSorted()).toEqual([...(await noted({ read }, root))].toSorted());
          const seen = new Set([root]);
          for (const path of found.keys()) {
            expect(seen.has(path.slice(0, path.lastIndexOf("/")))).toBe(true);
            seen.add(path);
          }
        }
      });
    }),
    { numRuns: 20 },
  );
});

test("a damaged record is not passed over, and what a visitor throws comes out", async () => {
  await withStore(["/topics/a/b", "/topics/c"], async (folder) => {
    const { read, walk: byKeys } = openReader(folder);
    const store = { read, walk: byKeys };
    const stop = (): void => {
      throw new Error("that will do");
    };
    await expect(walk(store, "/topics", stop)).rejects.toThrow("that will do");
    expect((await noted(store, "/topics")).size).toBe(3);
    const db = new Database(join(folder, "tree.db"));
    db.exec("UPDATE node SET version = 7 WHERE name = 'b'");
    db.close();
    await expect(noted(store, "/topics")).rejects.toThrow(/damaged/);
  });
});
