/**
 * `bun run reference` writes `src/client/reference.md`: what the package exports, as its types and their docstrings
 * say. It reads the types that are packed, in which the compiler has laid everything out in one way: so lines will do,
 * and no generator is needed that brings a compiler of its own.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { builtPackage } from "../support/package.ts";

/** Something that is declared, with the lines of its body. */
interface Declaration {
  readonly name: string;
  readonly kind: string;
  readonly doc: string;
  readonly head: string;
  readonly members: readonly Member[];
}

interface Member {
  readonly doc: string;
  readonly signature: string;
}

const intro = `# Reference of the client library

What \`mqttzoo\` exports, and the types that stand in it, as \`bun run reference\` reads them from the packed types. How it is
used is told in the [README](README.md).
`;

/** Returns the page for the package in a folder. */
export function referenceOf(folder: string): string {
  const types = join(folder, "types");
  const files = readdirSync(types, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".d.ts"));
  const texts = new Map(files.toSorted().map((name) => [name, readFileSync(join(types, name), "utf8")]));
  const all = [...texts].flatMap(([name, text]) =>
    name.startsWith("testing/") ? [] : declarationsIn(text.split("\n")),
  );
  const entries = ["client/for-bun.d.ts", "client/for-browsers.d.ts"].flatMap((name) =>
    declarationsIn(texts.get(name)!.split("\n")),
  );
  const functions = entries.filter(({ name }, at) => entries.findIndex((entry) => entry.name === name) === at);
  const exported = [...texts.get("client/public.d.ts")!.matchAll(/\{ ([^}]+) \}/g)].flatMap(([, names]) =>
    names!.split(", ").map((name) => name.replace("type ", "")),
  );
  const shown = reached(all, exported);
  const classes = shown.filter(({ kind }) => kind === "class");
  return [
    intro,
    "## Functions\n",
    ...functions.map(sectionOf),
    "## Classes\n",
    ...classes.map(sectionOf),
    "## Types\n",
    ...shown.filter((one) => !classes.includes(one)).map(sectionOf),
  ].join("\n");
}

/** Returns what is exported, and what stands in that, by name. */
function reached(all: readonly Declaration[], exported: readonly string[]): Declaration[] {
  const found = new Map<string, Declaration>();
  const visit = (name: string): void => {
    const declaration = found.has(name) ? undefined : all.find((one) => one.name === name && one.kind !== "function");
    if (declaration === undefined) return;
    found.set(name, declaration);
    const words = [declaration.head, ...declaration.members.map(({ signature }) => signature)].join(" ");
    for (const [word] of words.matchAll(/\b[A-Z]\w+/g)) visit(word);
  };
  for (const name of exported) visit(name);
  return [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function sectionOf({ name, doc, head, members }: Declaration): string {
  const lines = members.map(({ signature, doc }) => `- \`${signature}\`${doc === "" ? "" : `  \n  ${doc}`}`);
  return [
    `### ${name}\n`,
    ...(doc === "" ? [] : [`${doc}\n`]),
    `\`\`\`ts\n${head}\n\`\`\`\n`,
    ...(lines.length > 0 ? [`${lines.join("\n")}\n`] : []),
  ].join("\n");
}

function declarationsIn(lines: readonly string[]): Declaration[] {
  const declarations: Declaration[] = [];
  for (const { doc, lines: block } of blocksOf(lines, "")) {
    const [first = ""] = block;
    const found = /^(?:export )?(?:declare )?(class|interface|type|function|const) (\w+)/.exec(first);
    if (found === null) continue;
    const [, kind, name] = found as unknown as [string, string, string];
    const hasMembers = (kind === "class" || kind === "interface") && first.endsWith("{");
    const bare = (text: string): string => text.replace(/^(export )?(declare )?/, "");
    declarations.push({
      ...{ name, kind, doc },
      head: hasMembers ? bare(first).replace(/ \{$/, "") : bare(block.join("\n")).replace(/ +$/gm, ""),
      members: hasMembers ? membersIn(block.slice(1, -1)) : [],
    });
  }
  return declarations;
}

function membersIn(lines: readonly string[]): Member[] {
  return blocksOf(lines, "    ").flatMap(({ doc, lines: block }) => {
    const signature = block
      .map((line) => line.trim())
      .join(" ")
      .replace(/;$/, "");
    return signature.startsWith("#") || signature.startsWith("private ") ? [] : [{ doc, signature }];
  });
}

/** Divides lines into what stands at one depth: each with the docstring before it, as one line. */
function blocksOf(lines: readonly string[], indent: string): { doc: string; lines: string[] }[] {
  const blocks: { doc: string; lines: string[] }[] = [];
  let doc: string[] = [];
  let isInDoc = false;
  for (const line of lines) {
    const isHere = line.startsWith(indent) && line[indent.length] !== " " && line.length > indent.length;
    const text = line.trim();
    if (isUnion(blocks.at(-1)?.lines)) blocks.at(-1)!.lines.push(line);
    else if (isInDoc || (isHere && text.startsWith("/**"))) {
      if (!isInDoc) doc = [];
      isInDoc = !text.endsWith("*/");
      doc.push(
        text
          .replace(/^\/\*\*|\*\/$/g, "")
          .replace(/^\* ?/, "")
          .trim(),
      );
    } else if (isHere && !/^[}\]|]/.test(text)) {
      blocks.push({ doc: doc.filter((part) => part !== "").join(" "), lines: [line] });
      doc = [];
    } else if (text !== "") blocks.at(-1)?.lines.push(line);
  }
  return blocks;
}

/** True if these are the lines of a union, each of whose members may have a docstring, and more are to come. */
function isUnion(lines: readonly string[] = []): boolean {
  return /^(export )?type .*=\s*$/.test(lines[0] ?? "") && !lines.some((line) => /^\S.*;$/.test(line));
}

if (import.meta.main) {
  const path = join(import.meta.dir, "../../src/client/reference.md");
  writeFileSync(path, referenceOf(builtPackage()));
}
