/** The place that the embedded store takes on the disk: its log goes into the database, and does not grow. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiskSpace } from "../../src/embedded/disk-space.ts";
import { StoreFile } from "../../src/embedded/store-file.ts";

const pageBytes = 4096;
const pagesMax = 50;

test("the log is written into the database when it has as many pages as it may have, and begins anew", () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-log-"));
  const path = join(folder, "tree.db");
  const db = new Database(path);
  try {
    db.exec("PRAGMA journal_mode=WAL; CREATE TABLE node (data BLOB)");
    const logBytes = (): number => statSync(`${path}-wal`).size;
    const write = (commits: number): void => {
      for (; commits > 0; commits--) db.run("INSERT INTO node VALUES (?)", [new Uint8Array(8 * pageBytes)]);
    };
    const file = new StoreFile(db);
    file.limitLog(pagesMax);
    write(50);
    // The commit that reaches the limit is in it, too.
    expect(logBytes()).toBeLessThan(2 * pagesMax * pageBytes);
    expect(statSync(path).size).toBeGreaterThan(40 * 8 * pageBytes);
    file.truncateLog();
    expect(logBytes()).toBe(0);
  } finally {
    db.close();
    rmSync(folder, { recursive: true });
  }
});

test("the reserve is filled at once, gives place away bit by bit, and is filled again", () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-reserve-"));
  try {
    const space = new DiskSpace(folder);
    const bytes = (): number => statSync(join(folder, "tree.reserve")).size;
    expect(space.fill()).toBe(true);
    expect(bytes()).toBeGreaterThanOrEqual(space.target);
    expect(space.release()).toBe(true);
    expect(bytes()).toBeLessThan(space.target);
    expect(space.fill()).toBe(true);
    expect(bytes()).toBeGreaterThanOrEqual(space.target);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
