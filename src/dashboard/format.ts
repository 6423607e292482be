/** Numbers, sizes and times as people read them. */
import { now } from "./browser.ts";
import { words } from "./words.ts";

const locale = "en";
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium", hourCycle: "h23" });

export function count(value: number): string {
  return whole.format(value);
}

/** Up to 9,999 in full, then in thousands and millions. */
export function brief(value: number): string {
  return value < 10_000 ? (value < 10 ? oneDigit : whole).format(value) : short.format(value);
}

export function credits(value: number): string {
  return oneDigit.format(value);
}

export function bytes(value: number): string {
  const at = value < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${oneDigit.format(value / 1024 ** at)} ${words.byteUnits[at]}`;
}

export function milliseconds(value: number | null): string {
  if (value === null) return words.none;
  return value >= 1000
    ? words.seconds(oneDigit.format(value / 1000))
    : words.ms((value < 10 ? oneDigit : whole).format(value));
}

export function duration(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), words.units.day],
    [Math.floor(seconds / 3600) % 24, words.units.hour],
    [Math.floor(seconds / 60) % 60, words.units.minute],
    [Math.floor(seconds) % 60, words.units.second],
  ] as const;
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return `0 ${words.units.second}`;
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

/** Tells how long ago a time was. */
export function ago(at: string): string {
  return words.ago(duration(Math.max(0, (now() - Date.parse(at)) / 1000)));
}

export function dateTime(at: string): string {
  return day.format(new Date(at));
}

export function timeOfDay(seconds: number): string {
  return clock.format(new Date(seconds * 1000));
}
