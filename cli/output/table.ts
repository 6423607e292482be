/** Rows for people, in columns as wide as they must be; and for programs, one JSON object a line. */
import { milli } from "../../src/bank/price.ts";
import { printable } from "../../src/base/printable.ts";
import { say, sayJson } from "./print.ts";

export type Row = Record<string, string | number | boolean | null>;

export function printRows(rows: readonly Row[], isJson: boolean): void {
  if (isJson) for (const row of rows) sayJson(row);
  else for (const line of tableOf(rows)) say(line);
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
