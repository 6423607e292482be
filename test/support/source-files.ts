/** The source as the tidy test sees it: files with their imports and comments. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

export const root = join(import.meta.dir, "../..");

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  readonly imports: readonly { readonly target: string; readonly typeOnly: boolean }[];
}

/** All files of a folder, by their paths from the root. */
export function readSources(folder: string): SourceFile[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.tsx?$/.test(name),
  );
  return names.map((name) => {
    const path = join(folder, name);
    const text = readFileSync(join(root, path), "utf8");
    return { path, text, lines: text.split("\n"), imports: importsOf(path, text) };
  });
}

function importsOf(path: string, text: string): SourceFile["imports"] {
  const found = [
    ...text.matchAll(/^(?:import|export)\s(type\s)?(?:[^"';]*?\sfrom\s)?"([^"]+)"/gm),
    ...text.matchAll(/\bawait import\((type)?"([^"]+)"\)/g),
  ];
  return found.map(([, type, target]) => ({
    target: target!.startsWith(".") ? normalize(join(dirname(path), target!)) : target!,
    typeOnly: type !== undefined,
  }));
}

/** A comment's words, without what marks it as a comment, and the line that it begins at. */
export interface Comment {
  readonly at: number;
  readonly isDocstring: boolean;
  readonly text: string;
}

/** The comments that stand on lines of their own. A run of `//` lines is one comment. */
export function commentsOf({ lines }: SourceFile): Comment[] {
  const comments: Comment[] = [];
  for (let at = 0; at < lines.length; at++) {
    const [, mark] = /^\s*(\/\*\*|\/\*|\/\/)/.exec(lines[at]!) ?? [];
    if (mark === undefined) continue;
    let end = at;
    if (mark === "//") while (/^\s*\/\//.test(lines[end + 1] ?? "")) end++;
    else while (!lines[end]!.includes("*/")) end++;
    const words = lines
      .slice(at, end + 1)
      .map((line) => line.trim().replace(/^(\/\*\*?|\/\/|\*(?!\/))\s?|\s*\*\/$/g, ""));
    comments.push({ at: at + 1, isDocstring: mark === "/**", text: words.join(" ").trim() });
    at = end;
  }
  return comments;
}
