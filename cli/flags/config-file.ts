/** The broker's configuration file: YAML, an option a line, each at most once; what is wrong is named with its line. */
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { readText } from "../../src/server/operator-files.ts";

/** The value of an option in a file. */
export interface ConfigValue {
  readonly value: string | readonly string[];
  /** Counted from 1. */
  readonly line: number;
}

/** Reads a file, by the options that it names. Throws `OperatingError` that says what is wrong in which line. */
export function readConfigFile(path: string, known: readonly string[]): ReadonlyMap<string, ConfigValue> {
  const refuse = (why: string): never => {
    throw new OperatingError("EUSAGE", why);
  };
  const isForeign = (): boolean =>
    /^(listener|port|per_listener_settings|allow_anonymous|password_file|persistence|log_dest|include_dir) +\S/m.test(
      text,
    );
  let text = "";
  let parsed: unknown;
  try {
    text = readText(path);
    parsed = Bun.YAML.parse(text);
  } catch (error) {
    if (isForeign()) return refuse(foreign(path));
    return refuse(`cannot read the configuration ${path}: ${messageOf(error).replace(`cannot read ${path}: `, "")}`);
  }
  if (parsed === null || parsed === undefined) return new Map();
  if (typeof parsed !== "object" && isForeign()) return refuse(foreign(path));
  if (typeof parsed !== "object" || Array.isArray(parsed))
    return refuse(`the configuration ${path} must be lines of "option: value"`);
  const lines = linesOf(text);
  const found = new Map<string, ConfigValue>();
  for (const [key, value] of Object.entries(parsed)) {
    const [line, again] = lines.get(key) ?? [];
    if (line === undefined) return refuse(`${key} in ${path}: write each option on a line of its own, "option: value"`);
    const place = `${path}, line ${line}`;
    if (!known.includes(key)) return refuse(`unknown option ${key} in ${place}; known are ${known.join(", ")}`);
    if (again !== undefined)
      return refuse(`${key} in ${place}: it stands in line ${again}, too; leave one of them away`);
    found.set(key, { value: textsOf(value) ?? refuse(`${key} in ${place}: ${whatIsWrong(value)}`), line });
  }
  return found;
}

function foreign(path: string): string {
  return `${path} is a configuration of mosquitto's; "mqttzoo import ${path}" makes one of this broker's of it`;
}

/** Returns a value as YAML from which it is read again as it is. */
export function yamlOf(text: string | readonly string[]): string {
  if (typeof text === "object") return JSON.stringify(text);
  const isPlain = /^[A-Za-z0-9][\w./:,@+-]*$/.test(text) && !text.endsWith(":");
  const readAgain = isPlain ? (Bun.YAML.parse(`a: ${text}`) as { a?: unknown }).a : undefined;
  return isPlain && readAgain !== null && String(readAgain) === text ? text : JSON.stringify(text);
}

/** The lines in which each of the outermost keys stands. */
function linesOf(text: string): Map<string, number[]> {
  const lines = new Map<string, number[]>();
  let indent: string | undefined;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const [, before, double, single, plain] =
      /^( *)(?:"([^"]*)"|'([^']*)'|([^\s#:"'{[-][^\s:]*))\s*:(?:\s|$)/.exec(line) ?? [];
    const name = double ?? single ?? plain;
    if (before === undefined || name === undefined) continue;
    indent ??= before;
    if (before === indent) lines.set(name, [...(lines.get(name) ?? []), index + 1]);
  }
  return lines;
}

/** Undefined: it is nothing that an option can be. */
function textsOf(value: unknown): string | readonly string[] | undefined {
  const isText = (one: unknown): boolean => ["string", "number", "boolean"].includes(typeof one);
  if (isText(value)) return String(value);
  return Array.isArray(value) && value.every(isText) ? value.map(String) : undefined;
}

function whatIsWrong(value: unknown): string {
  if (value === null) return 'there is no value; leave the line away for the default, or write "" for an empty text';
  return "a value, or a list of values, is due";
}
