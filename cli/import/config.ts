/** A `mosquitto.conf` becomes a configuration, users and rules of ours. */
import { join, resolve } from "node:path";
import { Acl } from "../../src/access/acl.ts";
import { parsePasswordFile } from "../../src/access/password-file.ts";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { foreignAccessBytesMax, foreignConfigBytesMax } from "../../src/base/foreign-limits.ts";
import { finish } from "../../src/base/slices.ts";
import { readDirectives } from "../../src/mosquitto/directives.ts";
import { type Remark, type Translation, translate } from "../../src/mosquitto/translate.ts";
import { isThere, listFolder, makeFolder, readForeign, replaceText } from "../../src/server/operator-files.ts";
import { checkOption } from "../flags/broker-config.ts";
import { yamlOf } from "../flags/config-file.ts";
import { say } from "../output/print.ts";

/** A file that is written, by its name. */
type Files = ReadonlyMap<string, string>;

/** Writes them into the folder `out`, or prints what it would write. Throws `OperatingError`. */
export function importConfig(path: string, { out, isDry }: { readonly out: string; readonly isDry: boolean }): void {
  const readText = (path: string): string => Buffer.from(readForeign(path, foreignConfigBytesMax)).toString("utf8");
  const directives = readDirectives(path, { readText, list: listFolder });
  const translation = translate(directives, (path) => resolve(path));
  const remarks = [...translation.remarks];
  const files = filesOf(translation, resolve(out), remarks);
  const there = [...files.keys()].map((name) => join(out, name)).find(isThere);
  if (there !== undefined && !isDry)
    throw new OperatingError("EFILE", `${there} is there already: remove it, or choose another folder with --out`);
  for (const { place, setting, words } of remarks) say(`${place}: ${setting}: ${words}`);
  if (isDry) {
    for (const [name, text] of files) if (name === configName) for (const line of text.trimEnd().split("\n")) say(line);
    return say(`would be written: ${[...files.keys()].map((name) => join(out, name)).join(", ")}`);
  }
  makeFolder(out);
  for (const [name, text] of files) replaceText(join(out, name), text);
  say(`written: ${[...files.keys()].map((name) => join(out, name)).join(", ")}`);
  const config = join(out, configName);
  const { database } = translation;
  if (database !== undefined) say(`what is kept in ${database}: mqttzoo import ${database} --config ${config}`);
  say(`start it: mqttzoo broker --config ${config}`);
}

const configName = "mqttzoo.yaml";

/** Returns what is to be written in a folder. Adds remarks on what is left out. Throws `OperatingError`. */
function filesOf(translation: Translation, out: string, remarks: Remark[]): Files {
  const { passwordFile, aclFile, isClosed } = translation;
  const files = new Map<string, string>();
  const options = new Map<string, string>();
  for (const [name, value] of translation.options) {
    try {
      checkOption(name, value, name);
      options.set(name, value);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      remarks.push({ place: configName, setting: name, words: `left at its default: ${messageOf(error)}` });
    }
  }
  options.set("data", join(out, "mqttzoo-data"));
  if (passwordFile !== undefined || isClosed) {
    files.set("users", passwordFile === undefined ? nobody : usersOf(passwordFile, remarks));
    options.set("password-file", join(out, "users"));
  }
  if (isClosed)
    remarks.push({
      place: configName,
      setting: "password-file",
      words: "nobody could log in: add users, with mqttzoo passwd",
    });
  if (aclFile !== undefined) {
    files.set("acl", rulesOf(aclFile));
    options.set("acl-file", join(out, "acl"));
  }
  const lines = [...options].map(([name, value]) => `${name}: ${yamlOf(value)}\n`);
  files.set(configName, `# Made by mqttzoo import; all options: mqttzoo broker --help\n${lines.join("")}`);
  return files;
}

const nobody = "# Users, a line each: mqttzoo passwd FILE USER\n";

/** Returns a password file as it is; the users whose entries cannot be read are told. Throws `OperatingError`. */
function usersOf(path: string, remarks: Remark[]): string {
  const text = Buffer.from(readForeign(path, foreignAccessBytesMax)).toString("utf8");
  parsePasswordFile(text, (why) => remarks.push({ place: path, setting: "password_file", words: why }));
  return text;
}

/** Returns an access list as it is. Throws `OperatingError`: without one line of it others would count for more. */
function rulesOf(path: string): string {
  const text = Buffer.from(readForeign(path, foreignAccessBytesMax)).toString("utf8");
  try {
    finish(Acl.read(text));
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw new OperatingError(error.code, `${path}, ${error.message}; mend it, or copy it without that line`);
  }
  return text;
}
