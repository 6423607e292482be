/** The commands that the pages name are there: each word and each flag of them is one that its `--help` lists. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { readDocuments, repositoryFiles } from "../support/documents.ts";
import { runExecutable } from "../support/process.ts";

const root = join(import.meta.dir, "../..");
/** Pages of what is planned, decided or past name commands that are not there. */
const pages = readDocuments(root, repositoryFiles(root)).filter(({ path }) => !path.startsWith(".github/"));

interface Named {
  readonly page: string;
  /** The words after the program's name. */
  readonly words: readonly string[];
}

/** Returns the commands in a line of a shell: what stands between pipes and semicolons, word by word. */
function commandsIn(line: string): string[][] {
  const commands: string[][] = [[]];
  for (const [word] of line.matchAll(
    /#.*$|'[^']*'|"[^"]*"|&&|\|\||[|;&]|[^\s'"|;&]+(?:'[^']*'|"[^"]*"|[^\s'"|;&])*/g,
  )) {
    if (word.startsWith("#")) break;
    if (/^(&&|\|\||[|;&])$/.test(word)) commands.push([]);
    else commands.at(-1)!.push(word);
  }
  return commands;
}

/** Returns the words after the program's name; undefined: the command is another program's. */
function wordsOfOurs(command: readonly string[]): string[] | undefined {
  const at = command.findIndex((word) => /^(\/?mqttzoo|dist\/mqttzoo)$/.test(word));
  const isRun = /^(sudo|npx|--|exec|mqttzoo|\/mqttzoo|dist\/mqttzoo)$/.test(command[0] ?? "") || command.includes("--");
  return at === -1 || !(at === 0 || isRun) ? undefined : command.slice(at + 1);
}

function namedIn(page: string, text: string): Named[] {
  const fences = [...text.matchAll(/^ *```sh\n([\s\S]*?)^ *```/gm)].map(([, code]) => code!.replace(/\\\n\s*/g, " "));
  const lines = fences.flatMap((code) => code.split("\n"));
  const inline = [...text.matchAll(/`(mqttzoo [^`]+)`/g)].map(([, code]) => code!.replace(/\s+/g, " "));
  return [...lines, ...inline].flatMap((line) =>
    commandsIn(line).flatMap((command) => {
      const words = wordsOfOurs(command);
      return words === undefined || words.length === 0 ? [] : [{ page, words }];
    }),
  );
}

const helps = new Map<string, Promise<string>>();
function helpOf(words: readonly string[]): Promise<string> {
  const key = words.join(" ");
  const known = helps.get(key) ?? runExecutable([...words, "--help"]).then(({ out }) => out);
  helps.set(key, known);
  return known;
}

/** Returns what a help lists in the section of that name, by the first words of its lines. */
function listed(help: string, section: RegExp): string[] {
  const text = help.split(/^(?=[A-Z][\w ,]*:$)/m).filter((part) => section.test(part));
  return text.flatMap((part) =>
    [...part.matchAll(/^ {2}([\w-]+(?:\|[\w-]+)*)/gm)].flatMap(([, word]) => word!.split("|")),
  );
}

/** Returns what of a command its help does not list; an empty list: all is there. */
async function missing({ words }: Named): Promise<string[]> {
  const path: string[] = [];
  let help = await helpOf([]);
  // `a|b|c`, as prose has it, stands for each of them; a word in capitals, or in brackets, for any.
  for (const word of words) {
    const commands = listed(help, /^Commands:/);
    if (commands.length === 0 || word.startsWith("-")) break;
    const first = word.split("|")[0]!;
    if (/^[A-Z[(…]/.test(first) || first === "...") return [];
    const unknown = word.split("|").filter((each) => !commands.includes(each));
    // Beside its commands it may take a word of its own.
    if (unknown.length > 0 && /^Arguments:$/m.test(help)) break;
    if (unknown.length > 0) return unknown.map((each) => [...path, each].join(" "));
    path.push(first);
    help = await helpOf(path);
  }
  // What a flag takes may begin with a dash; what follows "--" is somebody else's.
  const own = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
  const flags = own.flatMap((word) =>
    /^--[a-z]/.test(word) ? [word.split(/[=|,]/)[0]!] : /^-[A-Za-z]$/.test(word) ? [word] : [],
  );
  const isListed = (flag: string): boolean => new RegExp(`(^|[\\s,])${flag}(?![\\w-])`, "m").test(help);
  return flags.filter((flag) => !isListed(flag)).map((flag) => [...path, flag].join(" "));
}

test("every command, and every flag of it, that a page names is listed by its help", async () => {
  const all = pages.flatMap(({ path, text }) => namedIn(path, text));
  expect(all.length).toBeGreaterThan(80);
  const wrong = await Promise.all(
    all.map(async (named) => (await missing(named)).map((what) => `${named.page}: mqttzoo ${what}`)),
  );
  expect([...new Set(wrong.flat())]).toEqual([]);
}, 120_000);

test("what is not there is noticed", async () => {
  const page = "a page";
  const text =
    "```sh\nmqttzoo brew -t a && mqttzoo pub --topik a | mqttzoo bank audit --zk a # mqttzoo no\n```\n`mqttzoo bank tea`";
  const found = await Promise.all(namedIn(page, text).map(missing));
  expect(found).toEqual([["brew"], ["pub --topik"], [], ["bank tea"]]);
});
