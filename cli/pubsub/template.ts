/** Templates of messages, `{{count}} {{random 1 100}}`: texts in which some places are filled for each message. */
import type { Clock } from "../../src/base/clock.ts";
import type { Random } from "../../src/base/random.ts";

/** Thrown for a template that cannot be meant; the message says what is wrong with which place. */
export class TemplateError extends Error {}

/** All that is known when a place is filled. */
export interface Filling {
  /** The number of the message, from 1. */
  readonly count: number;
  readonly clock: Pick<Clock, "wall">;
  readonly random: Random;
  /** Returns the text for a name that a template was parsed with. */
  readonly named?: (name: string) => string;
}

/** Returns the text for a place. */
type Place = (filling: Filling) => string;

/** Makes a template's text for one message. */
export type Template = (filling: Filling) => string;

const placesMax = 10_000;
const choicesMax = 1000;

/** The places that there are, for help texts and errors. */
export const placeForms =
  "{{count}} {{count FIRST}} {{random MIN MAX}} {{choice A B ...}} {{time}} {{time unix}} {{time ms}} {{uuid}}";

/** Parses a template; `names` are places besides those that there always are. Throws `TemplateError`. */
export function parseTemplate(text: string, names: readonly string[] = []): Template {
  const parts: Place[] = [];
  const pieces = text.split(/(\{\{.*?\}\})/s);
  if (pieces.length > 2 * placesMax) throw new TemplateError(`${placesMax} places are the most`);
  for (const piece of pieces) parts.push(/^\{\{.*\}\}$/s.test(piece) ? placeOf(piece, names) : () => piece);
  return (filling) => parts.map((part) => part(filling)).join("");
}

function placeOf(piece: string, names: readonly string[]): Place {
  const wrong = (why: string): never => {
    throw new TemplateError(`${piece.slice(0, 60)}: ${why}`);
  };
  const [name = "", ...words] = piece.slice(2, -2).trim().split(/\s+/);
  if (names.includes(name) && words.length === 0) return ({ named }) => named!(name);
  const own = names.map((one) => `{{${one}}} `).join("");
  return Object.hasOwn(makers, name) ? makers[name]!(words, wrong) : wrong(`there are ${own}${placeForms}`);
}

const makers: Readonly<Record<string, (words: readonly string[], wrong: (why: string) => never) => Place>> = {
  count([first = "1", ...more], wrong) {
    if (!/^-?\d{1,15}$/.test(first) || more.length > 0) return wrong("it is {{count}}, or {{count FIRST}}");
    const before = Number(first) - 1;
    return ({ count }) => String(before + count);
  },
  random([min = "", max = "", ...more], wrong) {
    const number = /^-?\d{1,15}(\.\d{1,9})?$/;
    if (!number.test(min) || !number.test(max) || more.length > 0) return wrong("it is {{random MIN MAX}}");
    // As many digits behind the point as are said.
    const digits = Math.max(...[min, max].map((one) => (one.split(".")[1] ?? "").length));
    const [low, high] = [Number(min), Number(max)];
    if (low > high) return wrong(`${min} is more than ${max}`);
    const steps = Math.round((high - low) * 10 ** digits) + 1;
    if (!Number.isSafeInteger(steps)) return wrong("there are too many numbers between them");
    return ({ random }) =>
      // A rounding error must not make it -0.
      (low + Math.floor(random.next() * steps) / 10 ** digits).toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1");
  },
  choice(words, wrong) {
    if (words.length === 0 || words.length > choicesMax)
      return wrong(`it is {{choice A B ...}}, of up to ${choicesMax}`);
    return ({ random }) => words[Math.floor(random.next() * words.length)]!;
  },
  time([form = "iso", ...more], wrong) {
    const show =
      Object.hasOwn(times, form) && more.length === 0
        ? times[form]!
        : wrong("it is {{time}}, {{time unix}} or {{time ms}}");
    return ({ clock }) => show(clock.wall());
  },
  uuid(words, wrong) {
    if (words.length > 0) return wrong("it is {{uuid}}");
    return ({ random }) => uuidOf(random.hex(16));
  },
};

const times: Readonly<Record<string, (ms: number) => string>> = {
  iso: (ms) => new Date(ms).toISOString(),
  unix: (ms) => String(Math.floor(ms / 1000)),
  ms: (ms) => String(Math.floor(ms)),
};

/** Returns a UUID of version 4 (RFC 9562, 5.4) of 32 hex digits at random. */
function uuidOf(hex: string): string {
  const variant = "89ab"[Number.parseInt(hex[16]!, 16) & 3]!;
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20),
  ].join("-");
}
