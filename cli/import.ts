/** `mqttzoo import`: a broker of mosquitto's becomes one of ours, with its configuration, users and rules. */
import { join, resolve } from "node:path";
import { Command } from "commander";
import { Acl } from "../src/access/acl.ts";
import { parsePasswordFile } from "../src/access/password-file.ts";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { foreignAccessBytesMax, foreignConfigBytesMax } from "../src/base/foreign-limits.ts";
import { finish } from "../src/base/slices.ts";
import { readDirectives } from "../src/mosquitto/directives.ts";
import { type Remark, type Translation, translate } from "../src/mosquitto/translate.ts";
import { isThere, listFolder, makeFolder, readForeign, replaceText } from "../src/server/operator-files.ts";
import { checkOption } from "./flags/broker-config.ts";
import { yamlOf } from "./flags/config-file.ts";
import { say } from "./output/print.ts";

interface Flags {
  readonly out: string;
  readonly dryRun?: boolean;
}

/** A file that is written, by its name. */
type Files = ReadonlyMap<string, string>;

export function importCommand(): Command {
  return new Command("import")
    .description("Come from mosquitto: make a configuration, users and rules of its own.")
    .helpOption("--help", "print this help")
    .argument("<FILE>", "mosquitto.conf; the files that it includes are read, too")
    .option("--out <DIR>", "folder for mqttzoo.yaml, users and acl; it is made if it is not there", ".")
    .option("--dry-run", "print what would be written, and write nothing")
    .addHelpText(
      "after",
      `
Each setting that has no counterpart is named with its file and line, and with what to do about it. Nobody is let in
who was kept out: where one broker cannot have what a listener had, that is left out. Nothing of mosquitto's is
changed, and no file that is there already. Paths in it are taken from the folder in which this is run, as by mosquitto.

Examples:
  mqttzoo import /etc/mosquitto/mosquitto.conf --dry-run
  mqttzoo import /etc/mosquitto/mosquitto.conf --out /etc/mqttzoo
  mqttzoo broker --config /etc/mqttzoo/mqttzoo.yaml`,
    )
    .action(run);
}

function run(path: string, { out, dryRun = false }: Flags): void {
  const readText = (path: string): string => Buffer.from(readForeign(path, foreignConfigBytesMax)).toString("utf8");
  const directives = readDirectives(path, { readText, list: listFolder });
  const translation = translate(directives, (path) => resolve(path));
  const remarks = [...translation.remarks];
  const files = filesOf(translation, resolve(out), remarks);
  const there = [...files.keys()].map((name) => join(out, name)).find(isThere);
  if (there !== undefined && !dryRun)
    throw new OperatingError("EFILE", `${there} is there already: remove it, or choose another folder with --out`);
  for (const { place, setting, words } of remarks) say(`${place}: ${setting}: ${words}`);
  if (dryRun) {
    for (const [name, text] of files) if (name === configName) for (const line of text.trimEnd().split("\n")) say(line);
    return say(`would be written: ${[...files.keys()].map((name) => join(out, name)).join(", ")}`);
  }
  makeFolder(out);
  for (const [name, text] of files) replaceText(join(out, name), text);
  say(`written: ${[...files.keys()].map((name) => join(out, name)).join(", ")}`);
  say(`start it: mqttzoo broker --config ${join(out, configName)}`);
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
