/** Commander's complaints about a command line, as one line that names the page where more stands. */
import type { Command, CommanderError } from "commander";
import { print } from "./standard-output.ts";

/** Has a command, and all below it, throw what is wrong with the words, and offer help in the same way everywhere. */
export function useOneLine(command: Command): void {
  command.exitOverride();
  command.configureOutput({ outputError: () => {}, writeOut: print });
  command.showSuggestionAfterError(true);
  // Where -h is not a host, as with mosquitto's clients, it asks for help.
  if (!command.options.some(({ short }) => short === "-h")) command.helpOption("-h, --help", "print this help");
  for (const child of command.commands) useOneLine(child);
}

/** Returns what commander says, as the rest of a line. */
export function textOf(error: CommanderError): string {
  return error.message.replace(/^error: |\.$/g, "").replaceAll("\n", " ");
}

/** Returns the innermost command that words name, whatever options stand between, and the names that lead there. */
export function innermost(program: Command, words: readonly string[]): { command: Command; names: readonly string[] } {
  let command = program;
  const names: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const option = command.options.find(({ short, long }) => word === short || word === long);
    if (option?.required === true) at++;
    if (word.startsWith("-")) continue;
    const child = command.commands.find((one) => one.name() === word);
    if (child === undefined) break;
    names.push(word);
    command = child;
  }
  return { command, names };
}
