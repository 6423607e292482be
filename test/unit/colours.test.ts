/** Colours: ours alone, around texts that are printable, and only where they are wanted. */
import { afterEach, expect, test } from "bun:test";
import { Command } from "commander";
import fc from "fast-check";
import { addColourOption, isColoured, painted, paintedLogLine, useColours } from "../../cli/output/colours.ts";
import { linesOf, type Row } from "../../cli/output/table.ts";

afterEach(() => useColours("auto"));

/** Takes our sequences away. */
function bare(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  return text.replaceAll(/\x1b\[\d+m/g, "");
}

test("a table in colours is the same table, whatever its cells hold", () => {
  const cell = fc.oneof(fc.string({ unit: "binary" }), fc.constant("\x1b[2J\x1b]0;x\x07"), fc.integer(), fc.boolean());
  const row = fc.record({ client: cell, "\x1b[31mevil": cell, last: cell });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), (rows: Row[]) => {
      useColours("never");
      const plain = linesOf(rows, false);
      useColours("always");
      const coloured = linesOf(rows, false, (column) => (column === "client" ? "red" : undefined));
      expect(coloured.map(bare)).toEqual(plain);
      expect(plain.join("")).not.toContain("\x1b");
      expect(coloured[0]).toStartWith(rows.length === 0 ? "\x1b[2m(none)" : "\x1b[1mCLIENT");
      expect(linesOf(rows, true).join("")).not.toContain("\x1b");
    }),
  );
});

test("--color is there in every command, and says what it takes", () => {
  const program = new Command("p").exitOverride().addCommand(new Command("a").addCommand(new Command("b")));
  addColourOption(program);
  const inner = program.commands[0]!.commands[0]!.exitOverride().configureOutput({ outputError() {} });
  inner.parse(["--color", "always"], { from: "user" });
  expect([isColoured(1), painted("x", "red"), painted("x", undefined), painted("", "red")]).toEqual([
    ...[true, "\x1b[31mx\x1b[0m", "x", ""],
  ]);
  inner.parse(["--color=never"], { from: "user" });
  expect([isColoured(1), painted("x", "red")]).toEqual([false, "x"]);
  expect(() => inner.parse(["--color", "sometimes"], { from: "user" })).toThrow(/auto, always, never/);
});

test("in a log warnings and errors stand out, by their level alone", () => {
  useColours("always");
  expect(paintedLogLine("2026-01-01T00:00:00Z WARN  ERROR said=x\n")).toBe(
    "2026-01-01T00:00:00Z \x1b[33mWARN\x1b[0m  ERROR said=x\n",
  );
  const info = "2026-01-01T00:00:00Z INFO  WARN\n";
  expect(paintedLogLine(info)).toBe(info);
});
