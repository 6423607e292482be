/** Manual pages, from the commands as they are defined: every flag that there is, and no other. */
import type { Command, Help } from "commander";
import { asTyped, inline, lines } from "./roff.ts";

/** The parts of a command's help that commander does not know: what stands behind its lists. */
interface Rest {
  readonly notes: string;
  readonly examples: string;
}

/** Returns the names of all pages: one of the program, one of each of its commands. */
export function pagesOf(program: Command): string[] {
  return [program.name(), ...commandsOf(program).map((command) => pageName([program, command]))];
}

/** Returns a page, as man(7) has it; undefined: there is none of that name. */
export function manPage(program: Command, name: string, version: string): string | undefined {
  if (name === program.name()) return page([program], seeAlso(program, name), version) + exitStatus;
  const command = commandsOf(program).find((one) => pageName([program, one]) === name);
  return command && page([program, command], seeAlso(program, name), version);
}

const exitStatus = `.SH EXIT STATUS
.TP
0
All went well.
.TP
1
Something failed, and a line on standard error says what. Some commands have more codes: see their pages.
.TP
2
The command line, or the configuration, is wrong.
`;

function page(path: readonly Command[], also: string, version: string): string {
  const command = path.at(-1)!;
  const name = pageName(path);
  const below = commandsOf(command);
  const isWhole = path.length === 1;
  return [
    `.TH ${inline(name.toUpperCase())} 1 "" "MQTTZoo ${version}" "User Commands"\n`,
    `.SH NAME\n${inline(name)} \\- ${inline(command.description().replace(/\.$/, ""))}\n`,
    `.SH SYNOPSIS\n${synopsis(path)}`,
    ...(isWhole ? below : []).map((one) => synopsis([...path, one])),
    `.SH DESCRIPTION\n${lines(command.description())}\n${notes(command)}`,
    ...list("ARGUMENTS", argumentsOf(command)),
    ...list("OPTIONS", optionsOf(command)),
    ...(isWhole
      ? list("COMMANDS", below.map(commandOf))
      : below.map((one) => section([...path.slice(1), one], command))),
    ...examplesOf(command),
    also,
  ].join("");
}

/** A command of a command: `bank audit` on the page of `bank`. What stands among the options above is only named. */
function section(path: readonly Command[], above: Command): string {
  const command = path.at(-1)!;
  const options = optionsOf(command);
  const told = new Set(optionsOf(above).map(textOf));
  const own = options.filter((option) => !told.has(textOf(option)));
  const named = options.filter((option) => !own.includes(option)).map(({ term }) => term);
  const title = path.map((one) => one.name()).join(" ");
  const help = command.createHelp();
  return [
    `.SH ${inline(title.toUpperCase())}\n.B ${inline(title)}\n.I ${inline(usageOf(command))}\n.PP\n`,
    `${lines(help.commandDescription(command))}\n${notes(command)}`,
    ...items(argumentsOf(command)),
    ...items(own),
    ...(named.length === 0 ? [] : [`.PP\nAs above: ${named.join("; ")}\n`]),
    ...commandsOf(command).map((one) => section([...path, one], above)),
    restOf(command).examples === "" ? "" : `.PP\n${asTyped(restOf(command).examples)}`,
  ].join("");
}

function synopsis(path: readonly Command[]): string {
  return `.B ${inline(path.map((one) => one.name()).join(" "))}\n.I ${inline(usageOf(path.at(-1)!))}\n.br\n`;
}

function usageOf(command: Command): string {
  return command.usage();
}

function notes(command: Command): string {
  const text = restOf(command).notes;
  return text === "" ? "" : `.PP\n${lines(text)}\n`;
}

function examplesOf(command: Command): string[] {
  const text = restOf(command).examples;
  return text === "" ? [] : [`.SH EXAMPLES\n${asTyped(text)}`];
}

interface Item {
  /** As man(7) writes it. */
  readonly term: string;
  readonly text: string;
}

function textOf({ term, text }: Item): string {
  return `${term} ${text}`;
}

function list(title: string, of: readonly Item[]): string[] {
  return of.length === 0 ? [] : [`.SH ${title}\n`, ...items(of)];
}

function items(of: readonly Item[]): string[] {
  return of.map(({ term, text }) => `.TP\n${term}\n${lines(text)}\n`);
}

function optionsOf(command: Command): Item[] {
  const help = command.createHelp();
  return help.visibleOptions(command).map((option) => ({
    // Flags are bold, what stands behind them is in italics.
    term: help
      .optionTerm(option)
      .replace(/[^ ,]+/g, (word) => `\\f${word.startsWith("-") ? "B" : "I"}${inline(word)}\\fR`),
    text: sentence(help.optionDescription(option)),
  }));
}

function argumentsOf(command: Command): Item[] {
  const help = command.createHelp();
  const toItem = (argument: Parameters<Help["argumentTerm"]>[0]): Item => ({
    term: `\\fI${inline(help.argumentTerm(argument))}\\fR`,
    text: sentence(help.argumentDescription(argument)),
  });
  return help.visibleArguments(command).map(toItem);
}

function commandOf(command: Command): Item {
  return { term: `\\fB${inline(command.name())}\\fR`, text: command.description() };
}

/** Lines of the help that go on from the one before begin with dots there. */
function sentence(text: string): string {
  return text.replace(/^\.\.\. /, "");
}

/** The commands that the help shows. */
function commandsOf(command: Command): Command[] {
  return command.createHelp().visibleCommands(command);
}

function pageName(path: readonly Command[]): string {
  return path.map((one) => one.name()).join("-");
}

function seeAlso(program: Command, name: string): string {
  const others = pagesOf(program).filter((other) => other !== name);
  return `.SH SEE ALSO\n${others.map((other) => `.BR ${inline(other)} (1)`).join(",\n")}\n`;
}

/** Has a command print its help, and returns what it adds to what commander writes itself. */
function restOf(command: Command): Rest {
  let written = "";
  const before = { ...command.configureOutput() };
  const writeOut = (text: string): void => {
    written += text;
  };
  command.configureOutput({ writeOut });
  command.outputHelp();
  command.configureOutput(before);
  const added = written.slice(command.helpInformation().length);
  const [notes = "", examples = ""] = added.split(/^Examples?:\n/m);
  return { notes: notes.trim(), examples: examples.replace(/\n+$/, "").replace(/^ {2}/gm, "") };
}
