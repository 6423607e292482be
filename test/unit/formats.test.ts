/** Stores of older formats are brought up with a copy for the way back, newer ones are refused, and tools read both. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { TreeDatabase } from "../../src/embedded/database.ts";
import { currentFormat } from "../../src/embedded/formats.ts";
import { openReader } from "../../src/embedded/reader.ts";

const root = mkdtempSync(join(tmpdir(), "mqttzoo-formats-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = (): string => join(root, String(++folders));

/** As the first format wrote it. */
const firstSchema = `
  PRAGMA journal_mode=WAL;
  CREATE TABLE node (
    parent TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, mode INTEGER NOT NULL,
    version INTEGER NOT NULL, czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
  ) WITHOUT ROWID;
  CREATE INDEX ephemeral ON node (parent, name) WHERE mode = 1;
  CREATE TABLE counter (zxid INTEGER NOT NULL);
  INSERT INTO counter VALUES (7);
  INSERT INTO node VALUES ('/', 'a', x'616263', 0, 3, 1, 5, 12);
  INSERT INTO node VALUES ('/a', 'gone', x'', 1, 0, 2, 2, 0);
`;

function first(count: number): string {
  const folder = newFolder();
  mkdirSync(folder);
  const db = new Database(join(folder, "tree.db"));
  db.exec(firstSchema);
  const insert = db.query("INSERT INTO node VALUES ('/a', ?, ?, 0, 0, 3, 3, 0)");
  for (let index = 0; index < count; index++) insert.run(`n${index}`, encodeUtf8(String(index)));
  db.close(false);
  return folder;
}

const copyOf = (folder: string): string => join(folder, `tree.db.before-${currentFormat}`);

function dataOf(store: Pick<TreeDatabase, "run">, path: string): unknown {
  const [reply] = store.run([{ kind: "read", operations: [{ kind: "get", path }] }]);
  const [result] = reply?.kind === "read" ? reply.results : [];
  return typeof result === "object" && "data" in result
    ? { ...result, data: String(Buffer.from(result.data)) }
    : result;
}

test("a store of the first format is brought up, and a copy of it is kept until the next clean start", () => {
  const folder = first(500);
  const said: string[] = [];
  const open = (): TreeDatabase =>
    new TreeDatabase(folder, "own", { acceptDamage: false, report: (words) => said.push(words) });
  const store = open();
  expect(said.join()).toContain(`the store had format 0 and has ${currentFormat} now`);
  const stat = { czxid: 1, mzxid: 5, version: 3, childCount: 1 };
  expect(dataOf(store, "/a")).toEqual({ data: "abc", stat });
  expect(dataOf(store, "/a/n499")).toMatchObject({ data: "499" });
  expect(dataOf(store, "/a/gone")).toBe("NoNode");
  const create = { kind: "create", path: "/a/s", data: encodeUtf8("new"), mode: "sequential" } as const;
  const written = store.run([{ kind: "write", operations: [create], canBeRepaired: false }]);
  expect(written).toMatchObject([{ kind: "written", zxid: 8, results: [{ path: "/a/s0000000012" }] }]);

  // The way back: the copy under the store's name is what it was.
  const back = new Database(copyOf(folder), { readonly: true });
  expect(back.query("SELECT COUNT(*) AS count FROM node").get()).toEqual({ count: 502 });
  expect(back.query("PRAGMA user_version").get()).toEqual({ user_version: 0 });
  back.close();

  // After kill -9 the copy stays; after a clean end, and one start more, it goes.
  const killed = newFolder();
  cpSync(folder, killed, { recursive: true });
  new TreeDatabase(killed).close();
  expect(existsSync(copyOf(killed))).toBe(true);
  store.close();
  expect(existsSync(copyOf(folder))).toBe(true);
  open().close();
  expect(existsSync(copyOf(folder))).toBe(false);
});

test("an old store whose newer one has been in the folder is no damaged one", () => {
  const folder = first(10);
  const store = new TreeDatabase(folder);
  for (let index = 0; index < 20; index++) {
    const create = { kind: "create", path: `/b${index}`, data: encodeUtf8(""), mode: "persistent" } as const;
    store.run([{ kind: "write", operations: [create], canBeRepaired: false }]);
  }
  store.close();
  cpSync(copyOf(folder), join(folder, "tree.db"));
  const again = new TreeDatabase(folder);
  expect(dataOf(again, "/a/n9")).toMatchObject({ data: "9" });
  expect(dataOf(again, "/b0")).toBe("NoNode");
  again.close();
});

test("a tool reads a store of the first format as it is", () => {
  const folder = first(3);
  const { read, verify } = openReader(folder);
  let data = "";
  read([{ kind: "get", path: "/a/n2" }], (_error, [result]) => {
    data = typeof result === "object" && "data" in result ? String(Buffer.from(result.data)) : String(result);
  });
  expect(data).toBe("2");
  expect(verify()).toBeUndefined();
  expect(existsSync(copyOf(folder))).toBe(false);
});

test("a store of a newer format is refused in words, and left alone", () => {
  const folder = newFolder();
  new TreeDatabase(folder).close();
  const db = new Database(join(folder, "tree.db"));
  db.exec(`PRAGMA user_version = ${currentFormat + 1}`);
  db.close();
  expect(() => new TreeDatabase(folder)).toThrow(
    `has format ${currentFormat + 1}, and this mqttzoo knows those up to ${currentFormat}: use a newer one`,
  );
});

test("a format number that is damaged is no reason to migrate", () => {
  const folder = newFolder();
  new TreeDatabase(folder).close();
  const db = new Database(join(folder, "tree.db"));
  db.exec("PRAGMA user_version = 0");
  db.close();
  expect(() => new TreeDatabase(folder)).toThrow(/damaged: its format number is damaged/);
});
