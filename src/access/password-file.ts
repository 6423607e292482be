/** A file of users and their hashed passwords, a line each: `NAME:HASH`. mosquitto's files are read as they are. */
import { linesPerStepMax } from "../base/access-limits.ts";
import { OperatingError } from "../base/errors.ts";
import { finish } from "../base/slices.ts";
import { isHash } from "./hashes.ts";

export type Users = ReadonlyMap<string, string>;

/**
 * Reads a password file. A line that is wrong is told, without its content, and left out; unless `report` is given it
 * throws `OperatingError`.
 */
export function parsePasswordFile(text: string, report: (why: string) => void = refuse): Users {
  return finish(readPasswordFile(text, report));
}

/** Like `parsePasswordFile`, some lines in each step. */
export function* readPasswordFile(text: string, report: (why: string) => void): Generator<void, Users, void> {
  const users = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    if (index % linesPerStepMax === linesPerStepMax - 1) yield;
    const words = line.trimEnd();
    if (words === "" || words.startsWith("#")) continue;
    const colon = words.indexOf(":");
    const name = words.slice(0, colon);
    const hash = words.slice(colon + 1);
    const why =
      colon < 1
        ? "not NAME:HASH"
        : users.has(name)
          ? `a second entry for ${JSON.stringify(name)}`
          : isHash(hash)
            ? undefined
            : "the password is not hashed in a way that is known; make the entry with mqttzoo passwd";
    if (why !== undefined) report(`line ${index + 1}: ${why}`);
    else users.set(name, hash);
  }
  return users;
}

function refuse(why: string): never {
  throw new OperatingError("EFILE", why);
}

/** The file with a user's entry set, or without it; other lines stay as they are. */
export function withUser(text: string, name: string, hash: string | undefined): string {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const at = lines.findIndex((line) => line.startsWith(`${name}:`));
  if (at !== -1) lines.splice(at, 1, ...(hash === undefined ? [] : [`${name}:${hash}`]));
  else if (hash !== undefined) lines.push(`${name}:${hash}`);
  return lines.map((line) => `${line}\n`).join("");
}

/** Says why a name cannot be a user's; undefined: it can. */
export function whyNoUserName(name: string): string | undefined {
  if (name === "") return "a user name must not be empty";
  if (/[:\n\r\0]/.test(name)) return "a user name must not hold a colon or a line break";
  if (name.startsWith("#")) return "a user name must not begin with #";
  return undefined;
}
