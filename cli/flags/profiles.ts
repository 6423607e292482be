/**
 * Connection profiles: flags under a name, which `--profile` puts in place where the command line says nothing. Each is
 * a file that its owner alone may read, in ~/.config/mqttzoo/profiles.
 */
import { type Command, CommanderError, Option } from "commander";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import {
  createText,
  isThere,
  listNames,
  makeFolder,
  readText,
  removeFile,
  replaceText,
} from "../../src/server/operator-files.ts";
import { textOf } from "../output/one-line.ts";
import { usage } from "./parsers.ts";

/** Flags as they were given, each with its value where it has one. */
export type ProfileFlags = readonly (readonly [flag: string, value?: string])[];

const flagsMax = 200;
const extension = ".json";

/** Throws `OperatingError` (EUSAGE). */
export function checkProfileName(name: string): string {
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(name)
    ? name
    : usage(`${JSON.stringify(name)} is no name of a profile: letters, digits, . _ and - make one, up to 64`);
}

function folder(): string {
  const { XDG_CONFIG_HOME: config, HOME: home } = process.env;
  // A variable that is empty counts as one that is not set, as the XDG specification has it.
  const base = config || (home && `${home}/.config`);
  return base ? `${base}/mqttzoo/profiles` : usage("there is no place for profiles: set HOME or XDG_CONFIG_HOME");
}

function pathOf(name: string): string {
  return `${folder()}/${checkProfileName(name)}${extension}`;
}

/** Returns the names of all profiles, sorted. Throws `OperatingError`. */
export function profileNames(): string[] {
  const where = folder();
  if (!isThere(where)) return [];
  return listNames(where)
    .filter((name) => name.endsWith(extension))
    .map((name) => name.slice(0, -extension.length))
    .filter((name) => /^[A-Za-z0-9_]/.test(name))
    .sort();
}

/** Throws `OperatingError`: there is one of that name already, or the file cannot be written. */
export function writeProfile(name: string, flags: ProfileFlags, how: { readonly replaces: boolean }): void {
  const path = pathOf(name);
  makeFolder(folder());
  const text = `${JSON.stringify({ flags }, undefined, 2)}\n`;
  if (how.replaces) return replaceText(path, text);
  if (!createText(path, text)) usage(`there is a profile ${name} already; --replace takes its place`);
}

/** Throws `OperatingError` if there is none of that name. */
export function removeProfile(name: string): void {
  if (!removeFile(pathOf(name))) usage(missing(name));
}

/** Throws `OperatingError` (EUSAGE) if there is none of that name, or its file holds something else. */
export function readProfile(name: string): ProfileFlags {
  const path = pathOf(name);
  if (!isThere(path)) usage(missing(name));
  let read: unknown;
  try {
    read = (JSON.parse(readText(path)) as { flags?: unknown } | null)?.flags;
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    usage(`${path} is no JSON (${messageOf(error)}): mend it, or remove it`);
  }
  const isFlag = (one: unknown): boolean =>
    Array.isArray(one) && (one.length === 1 || one.length === 2) && one.every((word) => typeof word === "string");
  if (!Array.isArray(read) || read.length > flagsMax || !read.every(isFlag))
    usage(`${path} does not hold flags, such as {"flags": [["--host", "a.example.org"]]}: mend it, or remove it`);
  return read as ProfileFlags;
}

function missing(name: string): string {
  const names = profileNames();
  const others = names.length === 0 ? "there is none yet: mqttzoo profile add" : `there are ${names.join(", ")}`;
  return `there is no profile ${name}; ${others}`;
}

export function profileOption(): Option {
  const option = new Option("--profile <NAME>", "connect as this profile says, where the command line does not");
  const values = (): string[] => {
    try {
      return profileNames();
    } catch {
      return [];
    }
  };
  // For completion, which asks when it needs them.
  return Object.defineProperty(option, "values", { get: values });
}

/** Options of a profile that do not hold where the command line gives another one, by that one. */
const displaced: Readonly<Record<string, readonly string[]>> = {
  host: ["unix", "zk", "srv", "dns"],
  url: ["host", "port", "unix", "zk", "ws", "wsPath", "wsHeader", "srv", "dns"],
  unix: ["host", "port", "url", "zk", "ws", "wsPath", "wsHeader", "srv", "dns"],
  zk: ["host", "port", "url", "unix", "ws", "wsPath", "wsHeader", "srv", "dns"],
  tls: ["cafile", "capath", "cert", "key", "insecure", "tlsUseOsCerts"],
  key: ["keyPassphraseFile"],
  // Nobody's password is told as another user's.
  username: ["pw", "pwFile"],
  pw: ["pwFile"],
  pwFile: ["pw"],
  id: ["idPrefix"],
  idPrefix: ["id"],
};

/**
 * Puts the flags of the profile that a command line names in place where it says nothing itself. `makeBlank` makes
 * a command that has all flags that a profile may hold. Throws `OperatingError` (EUSAGE).
 */
export function applyProfile(command: Command, makeBlank: () => Command): void {
  const name: unknown = command.getOptionValue("profile");
  if (typeof name !== "string") return;
  const said = command.options
    .map((option) => option.attributeName())
    .filter((one) => command.getOptionValueSource(one) === "cli");
  // The doctor's argument is a host or a URL.
  if (command.name() === "doctor" && command.args[0] !== undefined)
    said.push(command.args[0].includes("://") ? "url" : "host");
  const taken = new Set(said.flatMap((one) => [one, ...(displaced[one] ?? [])]));
  const profile = parsed(name, makeBlank());
  for (const option of command.options) {
    const attribute = option.attributeName();
    if (taken.has(attribute) || profile.getOptionValueSource(attribute) !== "cli") continue;
    command.setOptionValueWithSource(attribute, profile.getOptionValue(attribute), "config");
  }
}

function parsed(name: string, blank: Command): Command {
  const words = readProfile(name).flat() as string[];
  blank.exitOverride().configureOutput({ outputError: () => {}, writeOut: () => {} });
  try {
    blank.parse(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    usage(`the profile ${name}: ${textOf(error)}`);
  }
  return blank;
}
