/** Values that devices measure, and times that they take: drawn from distributions, or going on from the last one. */
import type { Random } from "../../src/base/random.ts";
import type { YamlValue } from "./yaml-reader.ts";

/** All that a value is made of. */
export interface Moment {
  readonly random: Random;
  /** Milliseconds since 1970. */
  readonly wall: number;
}

export type Measured = string | number;

/** Makes a value's next state, at each device for itself. */
export type Draw = (moment: Moment) => Measured;

/** Returns what draws a value; called for each device, since some go on from their last one. */
export type MakeDraw = () => Draw;

const day = 86_400_000;
const digitsMax = 9;
const choicesMax = 1000;

/** Reads a value of `values:`. Throws `OperatingError` that names the line. */
export function readValue(given: YamlValue): MakeDraw {
  const names = Object.keys(kinds);
  const members = given.members([...names, "digits", "min", "max", "weights"]);
  const said = names.filter((name) => members.has(name));
  const [kind] = said;
  if (kind === undefined || said.length > 1) return given.refuse(`one of these is due: ${names.join(", ")}`);
  if (members.has("weights") && kind !== "choice") members.get("weights")!.refuse("weights are for choice");
  const make = kinds[kind]!(members.get(kind)!, members.get("weights"));
  if (kind === "choice") return make;
  const [min, max] = [members.get("min"), members.get("max")].map((one) => one && numberOf(one));
  const digits = members.has("digits") ? wholeOf(members.get("digits")!, 0, digitsMax) : 2;
  if (min !== undefined && max !== undefined && min > max) members.get("min")!.refuse("min is above max");
  return () => {
    const draw = make();
    return (moment) => {
      const value = Math.min(max ?? Infinity, Math.max(min ?? -Infinity, draw(moment) as number));
      return Number(value.toFixed(kind === "count" ? 0 : digits));
    };
  };
}

const kinds: Readonly<Record<string, (given: YamlValue, weights?: YamlValue) => MakeDraw>> = {
  uniform(given) {
    const [min, max] = pairOf(given, "[MIN, MAX]");
    if (min > max) given.refuse("the first must not be above the second");
    return () => (moment) => min + moment.random.next() * (max - min);
  },
  normal(given) {
    const [mean, deviation] = pairOf(given, "[MEAN, DEVIATION]");
    if (deviation < 0) given.refuse("the deviation must not be below 0");
    return () => (moment) => mean + deviation * normal(moment.random);
  },
  exponential(given) {
    const mean = numberOf(given);
    return () => (moment) => mean * exponential(moment.random);
  },
  walk(given) {
    const members = given.members(["from", "step", "min", "max"]);
    const one = (name: string, otherwise: number): number => numberOf(members.get(name), otherwise);
    const [step, min, max] = [one("step", 1), one("min", -Infinity), one("max", Infinity)];
    const from = one("from", Number.isFinite(min + max) ? (min + max) / 2 : 0);
    if (min > max) given.refuse("min is above max");
    return () => {
      let value = from;
      return (moment) => {
        value = Math.min(max, Math.max(min, value + step * (2 * moment.random.next() - 1)));
        return value;
      };
    };
  },
  sine(given) {
    const members = given.members(["min", "max", "period", "noise"]);
    const [min, max] = [numberOf(members.get("min"), 0), numberOf(members.get("max"), 1)];
    const noise = numberOf(members.get("noise"), 0);
    const period = members.has("period") ? durationOf(members.get("period")!) : day;
    if (period === 0) given.refuse("the period must be above 0");
    return () => (moment) => {
      const wave = (1 + Math.sin((2 * Math.PI * moment.wall) / period)) / 2;
      return min + (max - min) * wave + noise * normal(moment.random);
    };
  },
  count(given) {
    const from = numberOf(given);
    return () => {
      let next = from;
      return () => next++;
    };
  },
  choice(given, weights) {
    const items = given.items();
    const words = items.map((item) => item.text ?? item.refuse("a word is due"));
    if (words.length === 0 || words.length > choicesMax) given.refuse(`1 to ${choicesMax} words are due`);
    const shares = weights?.items().map((item) => numberOf(item)) ?? words.map(() => 1);
    const sum = shares.reduce((all, share) => all + share, 0);
    if (shares.length !== words.length) weights!.refuse(`${words.length} weights are due, one for each word`);
    if (shares.some((share) => share < 0) || !(sum > 0)) weights!.refuse("weights must be above 0");
    return () => (moment) => {
      let left = moment.random.next() * sum;
      const found = shares.findIndex((share) => {
        left -= share;
        return left < 0;
      });
      return words[found === -1 ? words.length - 1 : found]!;
    };
  },
};

/** Returns milliseconds. */
export type DrawTime = (random: Random) => number;

/** Reads a time: `5s`, `1s..5s`, `{exponential: 5s}` or `{normal: [5s, 1s]}`. Throws `OperatingError`. */
export function readTime(given: YamlValue): DrawTime {
  if (given.isMap) {
    const members = given.members(["exponential", "normal"]);
    const [mean, spread] = [members.get("exponential"), members.get("normal")];
    if ((mean === undefined) === (spread === undefined)) given.refuse("either exponential or normal is due");
    if (mean !== undefined) {
      const ms = durationOf(mean);
      return (random) => ms * exponential(random);
    }
    const items = spread!.items();
    if (items.length !== 2) spread!.refuse("[MEAN, DEVIATION] is due, such as [5s, 1s]");
    const [middle, deviation] = items.map(durationOf) as [number, number];
    return (random) => Math.max(0, middle + deviation * normal(random));
  }
  const [first = "", last] = (given.text ?? "").split("..");
  const [min, max] = [first, last ?? first].map((text) => durationIn(text) ?? given.refuse(timeWords(given)));
  if (min! > max!) given.refuse("the first time is longer than the second");
  return (random) => min! + random.next() * (max! - min!);
}

/** Reads a time in ms: `500ms`, `5s`, `1.5m`, `24h`, `7d`. Throws `OperatingError`. */
export function durationOf(given: YamlValue): number {
  return durationIn(given.text ?? "") ?? given.refuse(timeWords(given));
}

function timeWords(given: YamlValue): string {
  return `${given.text ?? "this"} is no time: write 500ms, 5s, 10m or 24h, or 1s..5s where it may vary`;
}

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: day };

function durationIn(text: string): number | undefined {
  const [, amount, unit] = /^\s*(\d+(?:\.\d+)?)(ms|s|m|h|d)\s*$/.exec(text) ?? [];
  return amount === undefined ? undefined : Number(amount) * units[unit as keyof typeof units];
}

/** Reads a number. Throws `OperatingError`; `otherwise` is what it is where nothing is said. */
export function numberOf(given: YamlValue | undefined, otherwise?: number): number {
  if (given === undefined && otherwise !== undefined) return otherwise;
  const { scalar } = given!;
  return typeof scalar === "number" && Number.isFinite(scalar) ? scalar : given!.refuse("a number is due");
}

/** Reads a whole number. Throws `OperatingError`. */
export function wholeOf(given: YamlValue, min: number, max: number): number {
  const { scalar } = given;
  if (typeof scalar === "number" && Number.isInteger(scalar) && scalar >= min && scalar <= max) return scalar;
  return given.refuse(`a whole number from ${min} to ${max} is due`);
}

function pairOf(given: YamlValue, words: string): [number, number] {
  if (!given.isList || given.items().length !== 2) given.refuse(`${words} is due`);
  return given.items().map((item) => numberOf(item)) as [number, number];
}

/** Box and Muller's. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

function exponential(random: Random): number {
  return -Math.log(1 - random.next());
}
