/** Rows for people, in columns as wide as they must be; and for programs, one JSON object a line. */
import { milli } from "../../src/bank/price.ts";
import { printable } from "../../src/base/printable.ts";
import { jsonLine } from "./print.ts";
import { print } from "./standard-output.ts";

export type Row = Record<string, string | number | boolean | null>;

/** Prints rows, all at once: a listing may have very many. Throws as `print` does. */
export function printRows(rows: readonly Row[], isJson: boolean): void {
  print(linesOf(rows, isJson).join(""));
}

/** Returns the lines of rows, each with its end, fit to be printed. */
export function linesOf(rows: readonly Row[], isJson: boolean): string[] {
  return isJson ? rows.map((row) => `${jsonLine(row)}\n`) : tableOf(rows).map((line) => `${printable(line)}\n`);
}

export function tableOf(rows: readonly Row[]): string[] {
  const [first] = rows;
  if (first === undefined) return ["(none)"];
  const columns = Object.keys(first);
  const cells = [
    columns.map((column) => column.toUpperCase()),
    ...rows.map((row) => columns.map((column) => printable(String(row[column] ?? "-")))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]!.length)));
  return cells.map((line) =>
    line
      .map((cell, at) => cell.padEnd(widths[at]!))
      .join("  ")
      .trimEnd(),
  );
}

/** Credits with one digit behind the point. */
export function inCredits(amount: number): number {
  return Math.round(amount / (milli / 10)) / 10;
}
