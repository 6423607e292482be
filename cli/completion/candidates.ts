/** Candidates for the place where Tab is pressed, found from the commands as they are defined. */
import type { Argument, Command, Option } from "commander";
import { innermost, optionNamed } from "../output/one-line.ts";

/** A word that may stand there, and what it means. */
export interface Candidate {
  readonly word: string;
  readonly help: string;
}

/** All that may stand there: words, names of files, or names of topics. */
export interface Candidates {
  readonly words: readonly Candidate[];
  readonly takes: "words" | "files" | "topics";
}

/** An option whose help lists its values in words; commander would list its `argChoices` once more. */
type Told = (Option | Argument) & { readonly values?: readonly string[] | undefined };

const nothing: Candidates = { words: [], takes: "words" };

/**
 * Returns what may stand in the place of the last word. `typed`: the words after the program's name, of which the last
 * one is unfinished or empty.
 */
export function candidatesFor(program: Command, typed: readonly string[]): Candidates {
  const words = withoutEquals(typed);
  const present = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const { command, rest } = innermost(program, before);
  const [, flag, begun] = /^(--[^=]+)=(.*)$/.exec(present) ?? [];
  if (flag !== undefined) return valuesOf(optionNamed(command, flag), begun!, `${flag}=`);
  const last = before.at(-1);
  const open = last === undefined || before.includes("--") ? undefined : optionNamed(command, last);
  if (open?.required === true) return valuesOf(open, present);
  if (present.startsWith("-") && !before.includes("--")) return beginning(present, flagsOf(command, before));
  const argument = command.registeredArguments[Math.min(rest.length, command.registeredArguments.length - 1)];
  const below = rest.length === 0 ? command.createHelp().visibleCommands(command) : [];
  const names = below.map((one) => ({ word: one.name(), help: one.description() }));
  if (names.length > 0) return beginning(present, names);
  return argument === undefined ? nothing : valuesOf(argument, present);
}

/** A shell that takes `=` for a word of its own says `--flag`, `=`, `value`; they are put together again. */
function withoutEquals(words: readonly string[]): string[] {
  const joined: string[] = [];
  for (const word of words) {
    const isValue = joined.at(-1)?.endsWith("=") === true && joined.at(-1)!.startsWith("--");
    if ((word === "=" && joined.at(-1)?.startsWith("--") === true) || isValue) joined[joined.length - 1] += word;
    else joined.push(word);
  }
  return joined;
}

/** The flags of a command: each in its long form, those that may be given once only while they are not there. */
function flagsOf(command: Command, before: readonly string[]): Candidate[] {
  const visible = command.createHelp().visibleOptions(command);
  const mayStand = ({ short, long, variadic, parseArg }: Option): boolean =>
    variadic || parseArg !== undefined || ![short, long].some((flag) => flag !== undefined && before.includes(flag));
  return visible
    .filter(mayStand)
    .flatMap(({ short, long, description }) =>
      [long, short].flatMap((word) => (word === undefined ? [] : [{ word, help: description }])),
    );
}

/** Returns what may stand for the value of an option, or for an argument. */
function valuesOf(what: Told | undefined, present: string, before = ""): Candidates {
  if (what === undefined) return nothing;
  const help = what.description;
  const choices = (what.argChoices ?? what.values ?? []).map((word) => ({ word: `${before}${word}`, help }));
  if (choices.length > 0) return beginning(`${before}${present}`, choices);
  const name = "flags" in what ? (/[<[]([^>\].]+)/.exec(what.flags)?.[1] ?? "") : what.name().toUpperCase();
  if (/^(FILE|PATH|DIR)\b/.test(name)) return { words: [], takes: "files" };
  return { words: [], takes: /^(TOPIC|FILTER)$/.test(name) ? "topics" : "words" };
}

function beginning(present: string, all: readonly Candidate[]): Candidates {
  return { words: all.filter(({ word }) => word.startsWith(present)), takes: "words" };
}
