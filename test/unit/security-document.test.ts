/** The table of threats names a test in each line: all of them are there. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
const lines = readFileSync(join(root, ".github/SECURITY.md"), "utf8").split("\n");

test("each line of the table names a test that there is", () => {
  const rows = lines.filter((line) => line.startsWith("| ") && !line.startsWith("| who |"));
  expect(rows.length).toBeGreaterThan(15);
  for (const row of rows) {
    const cells = row.split("|").map((cell) => cell.trim());
    const [, path = "", title = ""] = /^`(test\/[\w/.-]+)`: (.+)$/.exec(cells[4]!) ?? [];
    expect(`${row.slice(0, 60)}: ${path}`).toContain(".test.ts");
    const titles = [...readFileSync(join(root, path), "utf8").matchAll(/\btest(?:\.\w+\([^)]*\))?\(\s*"([^"]*)"/g)];
    expect(titles.some(([, words]) => words!.includes(title)) || `${path}: ${title}`).toBe(true);
  }
});
