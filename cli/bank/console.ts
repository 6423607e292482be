/** The bank's console: the commands of `mqttzoo bank` at a prompt, with the same options, with help and history. */
import type { Interface } from "node:readline";
import { CLI } from "cliffy";
import { type Command, CommanderError } from "commander";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { version } from "../../src/broker/core/version.ts";
import type { TreePlace } from "../cluster/open-tree.ts";
import { candidatesFor } from "../completion/candidates.ts";
import { innermost, textOf, useOneLine } from "../output/one-line.ts";
import { say } from "../output/print.ts";
import { print } from "../output/standard-output.ts";

/** Cliffy's own: its line editor, how it asks for a line, and its way to read one, in which / separates words. */
interface Inner {
  readonly readline: Interface & { completer: Completer };
  prompt: () => Promise<string>;
  executeCommand: (line: string) => Promise<void>;
}

type Completer = (line: string, done: (error: null, found: [string[], string]) => void) => void;

const delimiter = "bank> ";

/** Words that are the console's own. */
const ownCommands = { help: "all commands, or one: help mail list", version: "print the version", quit: "end" };

/** Opens the console. `make` makes the commands; `place` is where the tree is, unless a line says otherwise. */
export function startConsole(make: () => Command, place: TreePlace): void {
  const cli = new CLI({ quietBlank: true })
    .setName("mqttzoo bank")
    .setInfo("The bank that pays for stored messages. Commands have the options of the command line. Ctrl-C ends.")
    .setDelimiter(delimiter);
  for (const command of make().commands)
    cli.addCommand(command.name(), { description: command.description(), action: () => {} });
  for (const [name, description] of Object.entries(ownCommands))
    cli.addCommand(name, { description, action: () => {} });
  const inner = cli as unknown as Inner;
  inner.prompt = promptOf(inner.readline);
  inner.readline.completer = (line, done) => done(null, completionsOf(make(), line));
  inner.executeCommand = async (line) => {
    try {
      await runLine(make, place, line);
    } catch (error) {
      say(messageOf(error));
    }
  };
  cli.showHelp();
  cli.show();
}

/**
 * Returns what asks for the next line. Lines that come while a command runs, pasted ones say, are not lost: Cliffy
 * hears those alone that it has asked for. At the end of the input the console ends.
 */
function promptOf(readline: Interface): () => Promise<string> {
  const ahead: string[] = [];
  let [isAsking, isOver] = [false, false];
  readline.on("line", (line) => void ahead.push(line));
  readline.on("close", () => {
    isOver = true;
    if (isAsking) process.exit(0);
  });
  return async () => {
    const line = ahead.shift();
    if (line !== undefined) {
      say(`${delimiter}${line}`);
      return line;
    }
    if (isOver) process.exit(0);
    isAsking = true;
    const typed = await new Promise<string>((resolve) => readline.question(delimiter, resolve));
    isAsking = false;
    return typed;
  };
}

/** Runs one line. Rejects with an error that says in words what is wrong. */
async function runLine(make: () => Command, place: TreePlace, line: string): Promise<void> {
  const words = wordsOf(line);
  const [first, ...rest] = words;
  if (first === undefined) return;
  if (first === "quit" || first === "exit") process.exit(0);
  if (first === "version" || first === "--version") return say(version);
  const bank = make();
  useOneLine(bank);
  if (/^(help|-h|--help)$/.test(first)) return print(innermost(bank, rest).command.helpInformation());
  const { names } = innermost(bank, words);
  if (names.length === 0) throw new OperatingError("EUSAGE", `unknown command ${JSON.stringify(first)}; see help`);
  usePlace(bank, place);
  try {
    await bank.parseAsync(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw new OperatingError("EUSAGE", `${textOf(error)}; see help ${names.join(" ")}`);
  }
}

/** Says for each command where the tree is. */
function usePlace(command: Command, place: TreePlace): void {
  for (const [name, value] of Object.entries(place))
    if (command.options.some((option) => option.attributeName() === name))
      command.setOptionValueWithSource(name, value, "cli");
  for (const child of command.commands) usePlace(child, place);
}

/** Reads a line as a shell does: blanks separate, quotes keep together. Throws `OperatingError`. */
export function wordsOf(line: string): string[] {
  const rest = line.replaceAll(/"[^"]*"|'[^']*'/g, "");
  if (/["']/.test(rest)) throw new OperatingError("EUSAGE", "a quote is not closed");
  const words = line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  return words.map((word) => word.replaceAll(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}

/** Returns what may stand in place of the last word of a line, and that word. */
export function completionsOf(bank: Command, line: string): [string[], string] {
  const words = line.split(/\s+/).filter((word, index) => word !== "" || index > 0);
  const present = words.at(-1) ?? "";
  const own = words.length <= 1 ? Object.keys(ownCommands).filter((name) => name.startsWith(present)) : [];
  const found = candidatesFor(bank, words[0] === "help" ? words.slice(1) : words).words.map(({ word }) => word);
  return [[...found, ...own].map((word) => `${word} `), present];
}
