/** The source as the tidy test sees it: files with their imports, comments and functions. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { SyntaxKind } from "typescript/unstable/ast";
import { API } from "typescript/unstable/async";

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
    name.endsWith(".ts"),
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

/** A function that is too long. */
export interface LongFunction {
  readonly path: string;
  /** The line that it begins at. */
  readonly at: number;
  readonly name: string;
  readonly lines: number;
}

/** The part of the syntax tree's nodes that is looked at. */
interface SyntaxNode {
  readonly kind: SyntaxKind;
  readonly end: number;
  readonly parent: SyntaxNode;
  readonly name?: SyntaxNode;
  readonly expression?: SyntaxNode;
  getStart(): number;
  getText(): string;
  forEachChild(visit: (node: SyntaxNode) => void): void;
}

const functionKinds = new Set([
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ArrowFunction,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.Constructor,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
]);

/**
 * Finds the functions that have more lines, among all that the compiler sees: methods, constructors and arrow functions
 * as well. What is given to `describe` is a list of tests, and no function in this sense.
 */
export async function functionsLongerThan(linesMax: number): Promise<LongFunction[]> {
  const compiler = new API({ cwd: root });
  try {
    const snapshot = await compiler.updateSnapshot({ openProjects: [join(root, "tsconfig.json")] });
    const found: LongFunction[] = [];
    for (const { program } of snapshot.getProjects()) {
      const names = (await program.getSourceFileNames()).filter(
        (name) => name.startsWith(`${root}/`) && !name.includes("/node_modules/"),
      );
      for (const name of names) {
        const source = await program.getSourceFile(name);
        if (source === undefined) continue;
        const { text } = source;
        for (const node of functionsIn(source as unknown as SyntaxNode)) {
          const start = node.getStart();
          const lines = lineCount(text.slice(start, node.end));
          if (lines <= linesMax) continue;
          const path = name.slice(root.length + 1);
          found.push({ path, at: lineCount(text.slice(0, start)), name: nameOf(node), lines });
        }
      }
    }
    return found;
  } finally {
    await compiler.close();
  }
}

function functionsIn(source: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  const visit = (node: SyntaxNode): void => {
    if (functionKinds.has(node.kind) && calledBy(node)?.startsWith("describe") !== true) found.push(node);
    node.forEachChild(visit);
  };
  visit(source);
  return found;
}

function lineCount(text: string): number {
  return text.split("\n").length;
}

function calledBy({ parent }: SyntaxNode): string | undefined {
  return parent.kind === SyntaxKind.CallExpression ? parent.expression?.getText() : undefined;
}

/** Its name; or of a function without one, the name of what it is given to. */
function nameOf(node: SyntaxNode): string {
  if (node.kind === SyntaxKind.Constructor) return "constructor";
  return (node.name ?? node.parent.name)?.getText() ?? calledBy(node) ?? "a function";
}
