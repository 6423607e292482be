/** `mqttzoo profile`: connections under a name, for `--profile`. */
import { resolve } from "node:path";
import { Command } from "commander";
import { addConnectionOptions, type ConnectionFlags, readConnection } from "./flags/client-flags.ts";
import { usage } from "./flags/parsers.ts";
import {
  checkProfileName,
  type ProfileFlags,
  profileNames,
  readProfile,
  removeProfile,
  writeProfile,
} from "./flags/profiles.ts";
import { say, sayJson } from "./output/print.ts";
import { printRows } from "./output/table.ts";

/** Flags whose values nobody is shown. */
const secrets = new Set(["--pw", "--proxy", "--url", "--ws-header"]);

export function profileCommand(): Command {
  const profile = new Command("profile")
    .description("Keep connections under a name, for --profile.")
    .helpCommand(false)
    .addHelpText(
      "after",
      `
Profiles are files in ~/.config/mqttzoo/profiles (or $XDG_CONFIG_HOME) that their owner alone can read. --profile goes
with pub, sub, bench and doctor; what the command line says goes before it.

Examples:
  mqttzoo profile add home -h broker.example.org --cafile ca.pem -u alice --pw-file ~/secret
  mqttzoo profile add cloud -L wss://broker.example.org/mqtt --ws-header 'X-Key: abc'
  mqttzoo sub --profile home -t 'home/#' -v
  mqttzoo bench e2e --profile cloud -c 10
  mqttzoo profile list
  mqttzoo profile show home
  mqttzoo profile remove home`,
    );
  profile.addCommand(addCommand());
  profile
    .command("list")
    .description("Print the names of all.")
    .option("--json", "print one JSON object a line")
    .action(list);
  profile
    .command("show")
    .description("Print what one says, but for secrets.")
    .argument("<NAME>", "the profile")
    .option("--json", "print one JSON object")
    .action(show);
  profile.command("remove").description("Remove one.").argument("<NAME>", "the profile").action(removeProfile);
  return profile;
}

function addCommand(): Command {
  const command = new Command("add")
    .description("Add one: the flags of pub and sub that say where and how to connect.")
    .argument("<NAME>", "its name");
  addConnectionOptions(command)
    .option("--replace", "take the place of one that is there")
    .addHelpText(
      "after",
      `
Rather than a password give the file that it is in: --pw-file. Files are found wherever a command is run.

Examples:
  mqttzoo profile add home -h a.example.org,b.example.org -p 8883 --cafile ca.pem -u alice --pw-file ~/secret
  mqttzoo profile add lab -L mqtt+unix:///run/mqttzoo.sock -V 311 --replace`,
    );
  const given: [string, string?][] = [];
  for (const option of command.options) {
    const flag = option.long ?? option.short!;
    const isFile = /<(FILE|DIR|PATH)>/.test(option.flags);
    command.on(`option:${option.name()}`, (value: string | null) => {
      given.push(value === null || value === undefined ? [flag] : [flag, isFile ? resolve(value) : value]);
    });
  }
  return command.action((name: string, flags: ConnectionFlags & { replace?: boolean }) => {
    checkProfileName(name);
    const kept = given.filter(([flag]) => flag !== "--replace");
    if (kept.some(([flag]) => flag === "--profile")) usage("--profile is none of a profile's flags");
    if (kept.length === 0) usage("a profile needs flags that say where to connect, such as -h");
    // What does not go together is said now, not when it is used.
    readConnection({ ...flags, quiet: true });
    writeProfile(name, kept, { replaces: flags.replace === true });
  });
}

function list({ json = false }: { readonly json?: boolean }): void {
  const rows = profileNames().map((name) => {
    const flags = readProfile(name);
    return { name, flags: json ? flags.length : wordsOf(flags) };
  });
  printRows(rows, json);
}

function show(name: string, { json = false }: { readonly json?: boolean }): void {
  const flags = hidden(readProfile(name));
  if (json) return sayJson({ name, flags });
  for (const flag of flags) say(flag.join(" "));
}

function wordsOf(flags: ProfileFlags): string {
  return hidden(flags)
    .map((flag) => flag.join(" "))
    .join(" ");
}

function hidden(flags: ProfileFlags): ProfileFlags {
  return flags.map(([flag, value]) => {
    if (value === undefined) return [flag];
    if (flag === "--ws-header") return [flag, value.replace(/:.*/s, ": (hidden)")];
    return [flag, flag === "--pw" ? "(hidden)" : secrets.has(flag) ? value.replace(/\/\/.*@/s, "//…@") : value];
  });
}
