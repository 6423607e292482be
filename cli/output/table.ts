/** Rows for people, in columns as wide as they must be; and for programs, one JSON object a line. */
import { milli } from "../../src/bank/price.ts";
import { printable } from "../../src/base/printable.ts";
import { painted, type Style } from "./colours.ts";
import { jsonLine } from "./print.ts";
import { print } from "./standard-output.ts";

export type Row = Record<string, string | number | boolean | null>;

/** Returns how a cell looks on terminals. */
export type CellStyle = (column: string, value: Row[string]) => Style | undefined;

/** Prints rows, all at once: a listing may have very many. Throws as `print` does. */
export function printRows(rows: readonly Row[], isJson: boolean, styleOf?: CellStyle): void {
  print(linesOf(rows, isJson, styleOf).join(""));
}

/** Returns the lines of rows, each with its end, fit to be printed. */
export function linesOf(rows: readonly Row[], isJson: boolean, styleOf: CellStyle = () => undefined): string[] {
  if (isJson) return rows.map((row) => `${jsonLine(row)}\n`);
  const lines = laidOut(rows, (text, at, column) => {
    if (at === 0) return painted(text, "bold");
    return painted(text, column === undefined ? "dim" : styleOf(column, rows[at - 1]?.[column] ?? null));
  });
  return lines.map((line) => `${line}\n`);
}

/** Returns the lines of a table without colours, fit to be printed. */
export function tableOf(rows: readonly Row[]): string[] {
  return laidOut(rows, (text) => text);
}

/** Lays rows out in columns; `paint` is given each text, its line, and its column where it has one. */
function laidOut(rows: readonly Row[], paint: (text: string, line: number, column?: string) => string): string[] {
  const [first] = rows;
  if (first === undefined) return [paint("(none)", 1)];
  const columns = Object.keys(first);
  const cells = [
    columns.map((column) => printable(column.toUpperCase())),
    ...rows.map((row) => columns.map((column) => printable(String(row[column] ?? "-")))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]!.length)));
  return cells.map((line, at) =>
    line
      .map((cell, of) => cell.padEnd(widths[of]!))
      .map((padded, of) => {
        // A line ends with its last text, in colours as well.
        const text = padded.trimEnd();
        return `${paint(text, at, columns[of])}${padded.slice(text.length)}`;
      })
      .join("  ")
      .trimEnd(),
  );
}

/** Credits with one digit behind the point. */
export function inCredits(amount: number): number {
  return Math.round(amount / (milli / 10)) / 10;
}
