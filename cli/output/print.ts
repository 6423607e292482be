/**
 * Lines that the command line prints for people. Each is made printable: what they tell of comes from clients and
 * brokers.
 */
import { printable, printableJson, printableLines } from "../../src/base/printable.ts";

/** Prints one line on standard output. */
export function say(line: string): void {
  console.log(printable(line));
}

/** Prints a text of several lines on standard output. */
export function sayLines(text: string): void {
  console.log(printableLines(text));
}

/** Prints a value as one line of JSON on standard output. */
export function sayJson(value: unknown): void {
  console.log(printableJson(JSON.stringify(value)));
}

/**
 * Returns what somebody has published as it may be shown: as it is, for programs; for a terminal with its line breaks,
 * and with escapes for whatever else could speak to it.
 */
export function shown(bytes: Uint8Array): Uint8Array {
  return process.stdout.isTTY ? Buffer.from(printableLines(Buffer.from(bytes).toString("utf8"))) : bytes;
}

/** Prints one line on standard error that says what is wrong. */
export function complain(text: string): void {
  tell(`mqttzoo: ${text}`);
}

/** Prints one line on standard error. */
export function tell(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}
