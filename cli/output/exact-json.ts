/**
 * JSON that is read and written again with each number as it was said: a number of 64 bits, or one beyond what a
 * double holds, would come out as another one.
 */

/** As ECMAScript has it; the compiler's library does not know it yet. */
interface RawJson {
  rawJSON(source: string): object;
  isRawJSON(value: unknown): boolean;
  parse(text: string, revive: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
}
const json = JSON as unknown as RawJson;

/** Digits that a double keeps, whatever they are. */
const digitsKept = 15;

/** Parses JSON, for `JSON.stringify` alone: numbers that would lose digits are kept as texts. Throws `SyntaxError`. */
export function parseExactly(text: string): unknown {
  return json.parse(text, (_, value, { source }) =>
    typeof value === "number" && source !== undefined && !isKept(value, source) ? json.rawJSON(source) : value,
  );
}

/** Returns true for what `parseExactly` returns in place of a number. */
export function isExactNumber(value: unknown): boolean {
  return json.isRawJSON(value);
}

function isKept(value: number, source: string): boolean {
  const digits = source
    .replace(/e.*$/i, "")
    .replaceAll(/[-.]/g, "")
    .replaceAll(/^0+|0+$/g, "");
  return digits.length <= digitsKept && Number.isFinite(value) && (value !== 0 || digits === "");
}
