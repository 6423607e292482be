/** JSON as a text: written from what other formats hold, and laid out anew without a look at what it means. */

/** Values within values, at most; deeper ones are refused. */
const depthMax = 1000;
/** Levels that are indented, at most: a text must not become many times longer than it was. */
const indentedMax = 40;

/** Thrown for a value that JSON cannot hold. */
export class NotJson extends Error {}

/** Returns what a value of another format's own is in terms of JSON; undefined: it is none of these. */
export type Translate = (value: unknown) => unknown;

/**
 * Returns a value as JSON, as RFC 8949 (6.1) has it for CBOR: bytes as base64url, what JSON has not as null, keys that
 * are no texts as the JSON of theirs; integers keep their digits. `translate` is asked first. Throws `NotJson`.
 */
export function jsonOf(value: unknown, translate: Translate, depth = 0): string {
  if (depth > depthMax) throw new NotJson("it is nested too deep");
  const below = (inner: unknown): string => jsonOf(inner, translate, depth + 1);
  const translated = translate(value);
  if (translated !== undefined) return below(translated);
  switch (typeof value) {
    case "bigint":
    case "boolean":
      return String(value);
    case "number":
      return Number.isFinite(value) ? JSON.stringify(value) : "null";
    case "string":
      return JSON.stringify(value);
  }
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString("base64url"));
  if (value instanceof Date) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(below).join(",")}]`;
  if (!(value instanceof Map)) return "null";
  const members = [...value].map(([key, inner]) => {
    const name = typeof key === "string" ? key : below(key);
    return `${JSON.stringify(name)}:${below(inner)}`;
  });
  return `{${members.join(",")}}`;
}

/**
 * Returns valid JSON without blanks, or over several lines: numbers stay as they were said, members in their order, and
 * those that are there twice.
 */
export function layOut(json: string, { isPretty }: { readonly isPretty: boolean }): string {
  const parts: string[] = [];
  let depth = 0;
  const line = (): string => (isPretty && depth <= indentedMax ? `\n${"  ".repeat(depth)}` : "");
  for (let at = 0; at < json.length; ) {
    const start = at;
    const character = json[at++]!;
    switch (character) {
      case " ":
      case "\n":
      case "\r":
      case "\t":
        continue;
      case "{":
      case "[": {
        const next = skipBlanks(json, at);
        const isEmpty = json[next] === "}" || json[next] === "]";
        if (isEmpty) at = next + 1;
        else depth++;
        parts.push(character, isEmpty ? json[next]! : line());
        continue;
      }
      case "}":
      case "]": {
        const wasIndented = depth <= indentedMax;
        depth--;
        parts.push(isPretty && wasIndented ? `\n${"  ".repeat(depth)}` : "", character);
        continue;
      }
      case ",":
        parts.push(",", line());
        continue;
      case ":":
        parts.push(isPretty ? ": " : ":");
        continue;
      case '"':
        at = endOfText(json, at);
        break;
      default:
        while (at < json.length && !",]} \n\r\t".includes(json[at]!)) at++;
    }
    parts.push(json.slice(start, at));
  }
  return parts.join("");
}

function skipBlanks(json: string, start: number): number {
  let at = start;
  while (" \n\r\t".includes(json[at] ?? "x")) at++;
  return at;
}

/** Returns where what follows a text begins; `start`: behind its first quote. */
function endOfText(json: string, start: number): number {
  let at = start;
  while (at < json.length && json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
  return at + 1;
}
