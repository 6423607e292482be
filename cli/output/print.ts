/**
 * Lines that the command line prints for people. Each is made printable: what they tell of comes from clients and
 * brokers.
 */
import { isatty } from "node:tty";
import { printable, printableJson, printableLines } from "../../src/base/printable.ts";
import { painted, type Style } from "./colours.ts";
import { withHint } from "./hints.ts";
import { print, printError } from "./standard-output.ts";

/** Prints one line on standard output. Throws as `print` does. */
export function say(line: string): void {
  print(`${printable(line)}\n`);
}

/** Prints one line on standard output, of parts that may have styles. Throws as `print` does. */
export function sayPainted(...parts: readonly (string | readonly [text: string, style: Style | undefined])[]): void {
  const shown = parts.map((part) => {
    const [text, style] = typeof part === "string" ? [part, undefined] : part;
    return painted(printable(text), style);
  });
  print(`${shown.join("")}\n`);
}

/** Prints a text of several lines on standard output. Throws as `print` does. */
export function sayLines(text: string): void {
  print(`${printableLines(text)}\n`);
}

/** Prints a value as one line of JSON on standard output. Throws as `print` does. */
export function sayJson(value: unknown): void {
  print(`${jsonLine(value)}\n`);
}

/** Returns a value as one line of JSON that is fit to be printed. */
export function jsonLine(value: unknown): string {
  return printableJson(JSON.stringify(value));
}

/**
 * Returns what somebody has published as it may be shown: as it is, for programs; for a terminal with its line breaks,
 * and with escapes for whatever else could speak to it.
 */
export function shown(bytes: Uint8Array): Uint8Array {
  return isatty(1) ? Buffer.from(printableLines(Buffer.from(bytes).toString("utf8"))) : bytes;
}

/** Prints one line on standard error that says what is wrong, and what helps. */
export function complain(text: string): void {
  printError(`${painted("mqttzoo:", "red", 2)} ${printable(withHint(text))}\n`);
}

/** Prints one line on standard error. */
export function tell(line: string): void {
  printError(`${printable(line)}\n`);
}
