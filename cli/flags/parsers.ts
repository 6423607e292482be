/** Parsers for the values of flags: texts become values, or an error that says what would have been right. */
import { InvalidArgumentError } from "commander";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { parseFilter } from "../../src/mqtt/topic.ts";
import { parseConnectString } from "../../src/zookeeper/connect-string.ts";

/** Makes a parser one for commander, which says of which flag the value is wrong: bad usage, with its exit code. */
export function argument<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(`${messageOf(error)}.`);
    }
  };
}

/** A text that is not empty. Throws an error in words, as all parsers here do. */
export function parseText(text: string): string {
  if (text === "") throw new Error("must not be empty");
  return text;
}

/** Yes or no. Throws an error in words. */
export function parseFlag(text: string): boolean {
  if (["true", "1", "yes", "on"].includes(text)) return true;
  if (["false", "0", "no", "off", ""].includes(text)) return false;
  throw new Error(`${JSON.stringify(text)} is neither true nor false`);
}

/** -1: none. */
export function parsePort(text: string): number {
  return text === "none" ? -1 : integer(0, 65_535)(text);
}

/** A multicast group of IPv4 with a port, `225.1.1.1:1883`. Throws an error in words. */
export function parseGroup(text: string): string {
  const [, first, port] = /^(\d+)\.\d+\.\d+\.\d+:(\d+)$/.exec(text) ?? [];
  if (!(Number(first) >= 224) || Number(first) > 239 || !(Number(port) > 0 && Number(port) < 65_536))
    throw new Error(`${JSON.stringify(text)} is no multicast group with a port, such as 225.1.1.1:1883`);
  return text;
}

/** A number from 0 to 100, with decimals. Throws an error in words. */
export function parsePercent(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value > 100) throw new Error(`${JSON.stringify(text)} is no number from 0 to 100`);
  return value;
}

/** An http:// or https:// URL. Throws an error in words. */
export function parseUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:/.test(text))
    throw new Error(`${JSON.stringify(text)} is no http:// or https:// URL`);
  return text;
}

/**
 * A file with the key for tokens, or the URL of a key set; over plain HTTP whoever is on the way could sign tokens.
 * Throws an error in words.
 */
export function parseKeySource(text: string): string {
  if (!/^https?:/i.test(text)) return parseText(text);
  const { protocol, hostname } = new URL(parseUrl(text));
  if (protocol === "http:" && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname))
    throw new Error("keys are fetched over https:// only, or over http:// from this machine");
  return text;
}

/** A claim that tokens must have: NAME or NAME=VALUE. Throws an error in words. */
export function parseClaim(text: string): string {
  if (!/^[^=]/.test(text)) throw new Error(`${JSON.stringify(text)} is neither NAME nor NAME=VALUE`);
  return text;
}

/** The topic filter of a mail drop. Throws an error in words. */
export function parseDrop(text: string): string {
  const filter = parseFilter(text);
  if (filter === undefined || filter.group !== undefined || text.startsWith("$"))
    throw new Error(`${JSON.stringify(text)} is no topic filter of a mail drop`);
  return text;
}

export function parseServers(text: string): string {
  parseConnectString(text);
  return text;
}

/** A limit of the process' memory; auto: by that of its control group. Throws an error in words. */
export function parseMemory(text: string): number | string {
  return text === "auto" || text === "none" ? text : size(64 * 1024 * 1024, 1_099_511_627_776)(text);
}

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new Error(`${JSON.stringify(text)} is not a whole number from ${min} to ${max}`);
    return value;
  };
}

/** Whole seconds, or with a unit: 30, 30s, 10m, 24h, 7d. */
export function duration(min: number, max: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+)([smhd]?)$/.exec(text);
    const unit = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 }[(match?.[2] ?? "") as "" | "s" | "m" | "h" | "d"];
    const value = match === null ? Number.NaN : Number(match[1]) * unit;
    if (!(value >= min && value <= max))
      throw new Error(`${JSON.stringify(text)} is no time from ${min} to ${max} seconds; write 30, 30s, 10m or 24h`);
    return value;
  };
}

const sizeUnits = { "": 1, k: 1024, M: 1024 ** 2, G: 1024 ** 3 };

export function size(min: number, max: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+)([kMG]?)i?B?$/.exec(text);
    const value = match === null ? Number.NaN : Number(match[1]) * sizeUnits[match[2] as keyof typeof sizeUnits];
    if (!(value >= min && value <= max))
      throw new Error(`${JSON.stringify(text)} is not a size from ${min} to ${max} bytes; write 65536, 64k or 8M`);
    return value;
  };
}

/** The parser tells its values, for completion. */
export function oneOf(values: readonly string[]): ((text: string) => string) & { readonly values: readonly string[] } {
  const parse = (text: string): string => {
    if (!values.includes(text)) throw new Error(`${JSON.stringify(text)} is none of ${values.join(", ")}`);
    return text;
  };
  return Object.assign(parse, { values });
}

/** Throws the `OperatingError` (EUSAGE) for flags that cannot be meant. */
export function usage(why: string): never {
  throw new OperatingError("EUSAGE", why);
}

/** The parser of a whole number, for commander. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** The parser of an option that may be given several times, for commander. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}
