/**
 * The words of the command line as bytes. What is not UTF-8 in them is lost in `process.argv`; here each such byte is a
 * lone surrogate, U+DC80 to U+DCFF, from which the payloads of messages are made as they were given. Nothing else may
 * hold one.
 */
import type { Command } from "commander";
import { OperatingError } from "../../src/base/errors.ts";
import { readBytes } from "../../src/server/operator-files.ts";

/** Added to a byte that belongs to no UTF-8. */
const escapedFrom = 0xdc00;
const escaped = /[\udc80-\udcff]/;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns the words of the command line, the program's name not among them. */
export function commandLine(): string[] {
  const words = process.argv.slice(2);
  // Whoever has said U+FFFD himself gets it back.
  if (!words.some((word) => word.includes("\ufffd"))) return words;
  try {
    const all = [...splitAtNul(readBytes("/proc/self/cmdline"))].slice(-words.length);
    return all.length === words.length ? all.map(textOf) : words;
  } catch {
    return words;
  }
}

/** Returns bytes as a text: those that are not UTF-8 as lone surrogates. */
export function textOf(bytes: Uint8Array): string {
  const isText = (part: Uint8Array): boolean => {
    try {
      return utf8.decode(part) !== undefined;
    } catch {
      return false;
    }
  };
  if (isText(bytes)) return utf8.decode(bytes);
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const [lead, rest] = [bytes[at]!, bytes.length - at];
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const part = bytes.subarray(at, at + length);
    if (length <= rest && isText(part)) {
      text += utf8.decode(part);
      at += length;
    } else {
      text += String.fromCharCode(escapedFrom + lead);
      at++;
    }
  }
  return text;
}

/** Returns the bytes of a word of the command line, as they were given. */
export function bytesOf(word: string): Uint8Array {
  if (!escaped.test(word)) return Buffer.from(word);
  // A pair of surrogates is one character here, and does not match.
  const parts = [...word].map((one) =>
    /^[\udc80-\udcff]$/.test(one) ? Buffer.of(one.charCodeAt(0) - escapedFrom) : Buffer.from(one),
  );
  return Buffer.concat(parts);
}

/**
 * Refuses bytes that are not UTF-8 in the options and arguments of a command. `allowed`: the options that take any
 * bytes. Throws `OperatingError` (EUSAGE).
 */
export function refuseBytes(command: Command, allowed: readonly string[]): void {
  const refuse = (what: string): never => {
    throw new OperatingError(
      "EUSAGE",
      `${what} holds bytes that are not UTF-8, which only the payload of a message may`,
    );
  };
  for (const option of command.options) {
    const name = option.attributeName();
    if (!allowed.includes(name) && holdsByte(command.getOptionValue(name))) refuse(option.long ?? option.flags);
  }
  if (holdsByte(command.args)) refuse("an argument");
}

/** Looks into what options make of their words, too. */
function holdsByte(value: unknown): boolean {
  if (typeof value === "string") return escaped.test(value) && !value.isWellFormed();
  return typeof value === "object" && value !== null && Object.values(value).some(holdsByte);
}

function* splitAtNul(bytes: Uint8Array): Generator<Uint8Array> {
  let start = 0;
  for (let end = bytes.indexOf(0); end !== -1; end = bytes.indexOf(0, start)) {
    yield bytes.subarray(start, end);
    start = end + 1;
  }
}
