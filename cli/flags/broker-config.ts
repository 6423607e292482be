/**
 * Where the broker's options come from: a flag, an environment variable `MQTTZOO_…`, a key of the configuration file. A
 * flag beats a variable beats the file beats the default.
 */
import { type Command, Option } from "commander";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { readText } from "../../src/server/operator-files.ts";
import { specs } from "./broker-flags.ts";
import { type ConfigValue, readConfigFile } from "./config-file.ts";
import type { OptionSpec } from "./option-spec.ts";

export type Source = "flag" | "environment" | "file" | "default";

export interface ResolvedOption {
  readonly name: string;
  readonly value: string | number | boolean | readonly string[];
  readonly source: Source;
}

export function addBrokerOptions(command: Command): Command {
  for (const spec of specs) {
    const help = `${spec.help} (default: ${spec.shown ?? defaultOptions[spec.key]}; env: ${variableOf(spec.key)})`;
    const flag = spec.value === undefined ? "" : ` <${spec.value}>`;
    const option = new Option(`--${nameOf(spec.key)}${flag}`, help);
    if (spec.isList) option.argParser((text: string, before: readonly string[] = []) => [...before, text]);
    command.addOption(Object.assign(option, { values: spec.parse.values }));
  }
  return command.addOption(
    new Option("--config <FILE>", "YAML file with any of these options, by their long names (env: MQTTZOO_CONFIG)"),
  );
}

/** Brings flags, variables and file together. Throws `OperatingError` that names the source of a bad value. */
export function resolveOptions(
  flags: Record<string, unknown>,
  env: Record<string, string | undefined>,
): ResolvedOption[] {
  const path = (flags.config as string | undefined) ?? env.MQTTZOO_CONFIG;
  const known = specs.map(({ key }) => nameOf(key));
  const file: ReadonlyMap<string, ConfigValue> = path === undefined ? new Map() : readConfigFile(path, known);
  const resolved = specs.map((spec): ResolvedOption => {
    const name = nameOf(spec.key);
    const candidates: readonly [Source, unknown, string][] = [
      ["flag", flags[spec.key], `--${name}`],
      ["environment", env[variableOf(spec.key)], variableOf(spec.key)],
      ["file", file.get(name)?.value, `${name} in ${path}, line ${file.get(name)?.line}`],
    ];
    const found = candidates.find(([, value]) => value !== undefined);
    if (found === undefined) return { name, value: defaultOptions[spec.key], source: "default" };
    const [source, value, place] = found;
    // So that what --print-config prints is read: some defaults are none of the values that may be given.
    const byDefault = defaultOptions[spec.key];
    if (source === "file" && value === printedOf(byDefault)) return { name, value: byDefault, source };
    const parseOne = (text: string): string | number | boolean => parseValue(spec, text, place);
    if (!spec.isList && Array.isArray(value))
      throw new OperatingError("EUSAGE", `${place}: one value is due, not a list`);
    if (!spec.isList) return { name, value: parseOne(String(value)), source };
    const texts: readonly unknown[] = Array.isArray(value) ? value : String(value).split(/\s+/).filter(Boolean);
    return { name, value: texts.map((text) => String(parseOne(String(text)))), source };
  });
  checkOrder(resolved, "bankTtlMin", "bankTtlMax");
  return resolved;
}

/** Throws `OperatingError` if there is no such option, or a text cannot be its value; `place` is where it stands. */
export function checkOption(name: string, text: string, place: string): void {
  const spec = specs.find(({ key }) => nameOf(key) === name);
  if (spec === undefined) throw new OperatingError("EUSAGE", `${place}: there is no option --${name}`);
  parseValue(spec, text, place);
}

/**
 * Returns true if the log is to be JSON, also where the options cannot be read: what is wrong with them is then said in
 * JSON, too.
 */
export function isLogJson(words: readonly string[], env: Record<string, string | undefined>): boolean {
  const wordOf = (flag: string): string | undefined => {
    const at = words.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`));
    return at === -1 || words[at] !== flag ? words[at]?.slice(flag.length + 1) : words[at + 1];
  };
  const said = wordOf("--log-format") ?? env.MQTTZOO_LOG_FORMAT;
  const path = wordOf("--config") ?? env.MQTTZOO_CONFIG;
  if (said !== undefined || path === undefined) return said === "json";
  try {
    return /^log-format:\s*["']?json\b/m.test(readText(path));
  } catch {
    return false;
  }
}

/** Throws `OperatingError` if the option that is the least of two is above the other. */
function checkOrder(resolved: readonly ResolvedOption[], least: keyof BrokerOptions, most: keyof BrokerOptions): void {
  const find = (key: string): ResolvedOption => resolved[specs.findIndex((spec) => spec.key === key)]!;
  const [low, high] = [find(least), find(most)];
  if (Number(low.value) <= Number(high.value)) return;
  const describe = ({ name, value, source }: ResolvedOption): string => `--${name} ${value} (${source})`;
  throw new OperatingError("EUSAGE", `${describe(low)} is above ${describe(high)}`);
}

export function toBrokerOptions(resolved: readonly ResolvedOption[]): BrokerOptions {
  return Object.fromEntries(specs.map((spec, index) => [spec.key, resolved[index]!.value])) as unknown as BrokerOptions;
}

/** Returns a value as `--print-config` prints it. */
export function printedOf(value: ResolvedOption["value"]): string | readonly string[] {
  if (typeof value === "object") return value;
  return value === -1 ? "none" : String(value);
}

function parseValue(spec: OptionSpec, text: string, place: string): string | number | boolean {
  try {
    return spec.parse(text);
  } catch (error) {
    throw new OperatingError("EUSAGE", `${place}: ${messageOf(error)}`);
  }
}

function nameOf(key: string): string {
  return key.replace(/[A-Z]|\d/g, (letter) => `-${letter.toLowerCase()}`);
}

function variableOf(key: string): string {
  return `MQTTZOO_${nameOf(key).replaceAll("-", "_").toUpperCase()}`;
}
