/**
 * Checks of what is to be sent, before anything is: a text that is too long for its two bytes of length would be cut
 * off, and its rest be read as something else. Each throws a `TypeError` that says what is wrong with what.
 */
import { encodeUtf8 } from "../base/bytes.ts";

/** Bytes of a text, or of Binary Data, in a packet (MQTT 5, 1.5.4 and 1.5.6). */
const fieldBytesMax = 0xffff;

/**
 * Checks a UTF-8 Encoded String: of 65,535 bytes at most, without U+0000 and halves of surrogate pairs. Throws a
 * `TypeError`.
 */
export function checkText(what: string, text: unknown): asserts text is string {
  if (typeof text !== "string") throw new TypeError(`${what} must be a string, not ${shownValue(text)}`);
  // Each of its units takes a byte at least, and three at most.
  if (text.length * 3 > fieldBytesMax) checkLength(what, encodeUtf8(text).length);
  if (text.includes("\0")) throw new TypeError(`${what} must not hold U+0000`);
  if (!text.isWellFormed()) throw new TypeError(`${what} must not hold half of a surrogate pair`);
}

/** Checks a text or bytes that are sent as Binary Data: 65,535 bytes at most. Throws a `TypeError`. */
export function checkBinary(what: string, value: unknown): asserts value is string | Uint8Array {
  if (typeof value !== "string" && !(value instanceof Uint8Array))
    throw new TypeError(`${what} must be a string or a Uint8Array, not ${shownValue(value)}`);
  checkLength(what, typeof value === "string" ? encodeUtf8(value).length : value.length);
}

/** Checks a whole number within a range. Throws a `TypeError`. */
export function checkInteger(what: string, value: unknown, [min, max]: readonly [number, number]): void {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max)
    throw new TypeError(`${what} must be a whole number from ${min} to ${max}, not ${shownValue(value)}`);
}

/**
 * Checks the properties of a packet, under mqtt-packet's names: the length and the characters of each text. Throws a
 * `TypeError`.
 */
export function checkProperties(properties: object = {}): void {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "userProperties") {
      for (const [key, values] of Object.entries(value as Record<string, string | string[]>))
        for (const text of [key, values].flat()) checkText("a user property", text);
    } else if (typeof value === "string") checkText(name, value);
    else if (value instanceof Uint8Array) checkBinary(name, value);
  }
}

/** Shows a value, for people who have given a wrong one: short, and without what is in it. */
export function shownValue(value: unknown): string {
  if (value === null || ["number", "boolean", "undefined", "bigint"].includes(typeof value)) return String(value);
  return typeof value === "string"
    ? `the string ${JSON.stringify(value.slice(0, 40))}`
    : `a value of type ${typeof value}`;
}

function checkLength(what: string, bytes: number): void {
  if (bytes > fieldBytesMax) throw new TypeError(`${what} has ${bytes} bytes; 65,535 is the most`);
}
