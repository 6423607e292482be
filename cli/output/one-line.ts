/** Commander's complaints about a command line, as one line that names the page where more stands. */
import type { Command, CommanderError, Option } from "commander";
import { isColoured, painted } from "./colours.ts";
import { print } from "./standard-output.ts";

/** Has a command, and all below it, throw what is wrong with the words, and offer help in the same way everywhere. */
export function useOneLine(command: Command): void {
  command.exitOverride();
  command.configureOutput({ outputError: () => {}, writeOut: print, getOutHasColors: () => isColoured(1) });
  command.configureHelp({ styleTitle: (title) => painted(title, "bold") });
  command.showSuggestionAfterError(true);
  // Where -h is not a host, as with mosquitto's clients, it asks for help.
  if (!command.options.some(({ short }) => short === "-h")) command.helpOption("-h, --help", "print this help");
  for (const child of command.commands) useOneLine(child);
}

/** Returns what commander says, as the rest of a line. */
export function textOf(error: CommanderError): string {
  return error.message.replace(/^error: |\.$/g, "").replaceAll("\n", " ");
}

/** A command that words name, the names that lead there, and the words behind them that are its arguments. */
export interface Named {
  readonly command: Command;
  readonly names: readonly string[];
  readonly rest: readonly string[];
}

/** Returns the innermost command that words name, whatever options stand between. */
export function innermost(program: Command, words: readonly string[]): Named {
  let command = program;
  const names: string[] = [];
  const rest: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (optionNamed(command, word)?.required === true) at++;
    if (word.startsWith("-")) continue;
    const child = rest.length > 0 ? undefined : command.commands.find((one) => one.name() === word);
    if (child === undefined) rest.push(word);
    else {
      names.push(word);
      command = child;
    }
  }
  return { command, names, rest };
}

/** Returns the option of a command that a flag names. */
export function optionNamed(command: Command, flag: string): Option | undefined {
  return command.options.find(({ short, long }) => flag === short || flag === long);
}
