/** The table of MQTT statements in test/README.md, held by a program: nothing is missing, nothing made up. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..");

/** The statements of MQTT 5.0, Appendix B: by section, the first number and the last. */
const sections = `
  1.5.4 1-3, 1.5.5 1-1, 1.5.7 1-1, 2.1.3 1-1, 2.2.1 2-6, 2.2.2 1-1,
  3.1.0 1-2, 3.1.2 1-30, 3.1.3 1-12, 3.1.4 1-6, 3.2.0 1-2, 3.2.2 1-22,
  3.3.1 1-13, 3.3.2 1-20, 3.3.4 1-10, 3.4.2 1-3, 3.5.2 1-3, 3.6.1 1-1, 3.6.2 1-3, 3.7.2 1-3,
  3.8.1 1-1, 3.8.3 1-5, 3.8.4 1-8, 3.9.2 1-2, 3.9.3 1-2, 3.10.1 1-1, 3.10.3 1-2, 3.10.4 1-6, 3.11.2 1-2, 3.11.3 1-2,
  3.12.4 1-1, 3.14.0 1-1, 3.14.1 1-1, 3.14.2 1-4, 3.14.4 1-3, 3.15.1 1-1, 3.15.2 1-3,
  4.1.0 1-2, 4.2.0 1-1, 4.3.1 1-1, 4.3.2 1-5, 4.3.3 1-13, 4.4.0 1-2, 4.5.0 1-2, 4.6.0 1-6,
  4.7.0 1-1, 4.7.1 1-2, 4.7.2 1-1, 4.7.3 1-4, 4.8.2 1-6, 4.9.0 1-3, 4.12.0 1-7, 4.12.1 1-2, 4.13.1 1-1, 4.13.2 1-1,
  6.0.0 1-4`;
const statements = sections.split(",").flatMap((section) => {
  const [name, range] = section.trim().split(" ");
  const [first, last] = range!.split("-").map(Number);
  return Array.from({ length: last! - first! + 1 }, (_, index) => `${name}-${first! + index}`);
});

interface Row {
  readonly id: string;
  readonly says: string;
  readonly shownBy: readonly { readonly file: string; readonly title: string }[];
}

function rowsOf(text: string): Row[] {
  return [...text.matchAll(/^\| (\d+\.\d+\.\d+-\d+) \| (.*) \| (.*) \|$/gm)].map(([, id, says, tests]) => ({
    id: id!,
    says: says!,
    shownBy: [...tests!.matchAll(/`([a-z0-9/-]+)` "([^"]+)"/g)].map(([, file, title]) => ({
      file: `test/${file}.test.ts`,
      title: title!,
    })),
  }));
}

const [five, older] = readFileSync(join(root, "test/README.md"), "utf8").split("for clients of MQTT 3.1.1");
const rows = rowsOf(five!);
const olderRows = rowsOf(older!);

/** The mark that a test which shows a statement bears in its name. */
const markOf = (id: string, version: "5" | "3.1.1"): string =>
  version === "5" ? `[MQTT-${id}]` : `[MQTT-${id} of 3.1.1]`;

/** The names of tests, and of what they are made of, that begin as the table says: with the statements behind them. */
function namesIn(file: string, title: string): string[] {
  const text = existsSync(join(root, file)) ? readFileSync(join(root, file), "utf8") : "";
  return text
    .split("\n")
    .flatMap((line) => line.split(`"${title}`).slice(1))
    .map((rest) => rest.slice(0, rest.indexOf('"')))
    .filter((rest) => rest === "" || rest.startsWith(" [MQTT-"));
}

describe("MQTT's normative statements", () => {
  test("each of 5.0 stands in the table, once, and in its order", () => {
    expect(statements.length).toBe(251);
    expect(rows.map(({ id }) => id)).toEqual(statements);
  });

  test.each([
    ["5", rows],
    ["3.1.1", olderRows],
  ] as const)("%s: the tests that are named are there, and bear the statement", (version, table) => {
    const wrong: string[] = [];
    for (const { id, says, shownBy } of table) {
      if (says.length < 10) wrong.push(`${id} says nothing`);
      if (shownBy.length === 0) wrong.push(`${id} has no test`);
      for (const { file, title } of shownBy) {
        const names = namesIn(file, title);
        if (names.length === 0) wrong.push(`${id}: no "${title}" in ${file}`);
        else if (!names.some((name) => name.includes(markOf(id, version)))) wrong.push(`${id} is not in "${title}"`);
      }
    }
    expect(table.length).toBeGreaterThan(10);
    expect(wrong).toEqual([]);
  });

  test("none is cited anywhere that does not exist", () => {
    const known = new Set([...statements, ...olderRows.map(({ id }) => `${id} of 3.1.1`)]);
    const unknown: string[] = [];
    for (const folder of ["src", "cli", "test"])
      for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
        if (!name.endsWith(".ts") || name === "conformance.test.ts") continue;
        const text = readFileSync(join(root, folder, name), "utf8");
        for (const [mark, id] of text.matchAll(/MQTT-(\d[\d.-]*(?: of 3\.1\.1)?)/g))
          if (!known.has(id!)) unknown.push(`${folder}/${name}: ${mark}`);
      }
    expect(unknown).toEqual([]);
  });
});
