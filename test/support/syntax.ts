/**
 * The functions of the whole project as the compiler sees them: methods, constructors, accessors and arrow functions as
 * well. Its API for programs is still called unstable; its version is pinned in `package.json`.
 */
import { join } from "node:path";
import { SyntaxKind } from "typescript/unstable/ast";
import { API } from "typescript/unstable/async";
import { root } from "./source-files.ts";

export interface SourceFunction {
  readonly path: string;
  /** The line that it begins at. */
  readonly at: number;
  /** The function's name; if it has none, the name of what it is assigned to. */
  readonly name: string;
  readonly lines: number;
  /** The comment before it; "": there is none. */
  readonly docstring: string;
  /** True if other files can call it by its name. */
  readonly isPublic: boolean;
  /** True if its own statements throw, or reject, what they do not catch. */
  readonly throws: boolean;
}

/** The part of the syntax tree's nodes that is looked at. */
interface SyntaxNode {
  readonly kind: SyntaxKind;
  readonly pos: number;
  readonly end: number;
  readonly parent: SyntaxNode;
  readonly name?: SyntaxNode;
  readonly expression?: SyntaxNode;
  readonly catchClause?: SyntaxNode;
  getStart(): number;
  getText(): string;
  forEachChild(visit: (node: SyntaxNode) => void): void;
}

const memberKinds = [
  SyntaxKind.MethodDeclaration,
  SyntaxKind.Constructor,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
];
const functionKinds = new Set([
  ...memberKinds,
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ArrowFunction,
]);

let found: Promise<readonly SourceFunction[]> | undefined;

/** Reads all functions, once: it takes the compiler some seconds. */
export function readFunctions(): Promise<readonly SourceFunction[]> {
  found ??= parse();
  return found;
}

async function parse(): Promise<SourceFunction[]> {
  const compiler = new API({ cwd: root });
  try {
    const snapshot = await compiler.updateSnapshot({
      openProjects: ["tsconfig.json", "src/dashboard/tsconfig.json"].map((name) => join(root, name)),
    });
    const functions: SourceFunction[] = [];
    for (const { program } of snapshot.getProjects()) {
      const names = (await program.getSourceFileNames()).filter(
        (name) => name.startsWith(`${root}/`) && !name.includes("/node_modules/"),
      );
      for (const name of names) {
        const source = await program.getSourceFile(name);
        if (source === undefined) continue;
        const { text } = source;
        const lineOf = lineCounter(text);
        const path = name.slice(root.length + 1);
        for (const node of functionsIn(source as unknown as SyntaxNode)) {
          const start = node.getStart();
          const at = lineOf(start);
          const lines = lineOf(node.end) - at + 1;
          const docstring = /\/\*\*[\s\S]*\*\//.exec(text.slice(node.pos, start))?.[0] ?? "";
          functions.push({
            path,
            at,
            name: nameOf(node),
            lines,
            docstring,
            isPublic: isPublic(node),
            throws: throws(node),
          });
        }
      }
    }
    return functions;
  } finally {
    await compiler.close();
  }
}

/** Lists the functions of a file. A function that is given to `describe` is a list of tests, and none in this sense. */
function functionsIn(source: SyntaxNode): SyntaxNode[] {
  const functions: SyntaxNode[] = [];
  const visit = (node: SyntaxNode): void => {
    if (functionKinds.has(node.kind) && calledBy(node)?.startsWith("describe") !== true) functions.push(node);
    node.forEachChild(visit);
  };
  visit(source);
  return functions;
}

/** Returns a function from a position in a text to its line. */
function lineCounter(text: string): (position: number) => number {
  const ends = [...text.matchAll(/\n/g)].map(({ index }) => index);
  return (position) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle]! < position) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  };
}

function calledBy({ parent }: SyntaxNode): string | undefined {
  return parent.kind === SyntaxKind.CallExpression ? parent.expression?.getText() : undefined;
}

function nameOf(node: SyntaxNode): string {
  if (node.kind === SyntaxKind.Constructor) return "constructor";
  return (node.name ?? node.parent.name)?.getText() ?? calledBy(node) ?? "a function";
}

function isPublic(node: SyntaxNode): boolean {
  if (memberKinds.includes(node.kind)) return node.name?.kind !== SyntaxKind.PrivateIdentifier;
  return node.kind === SyntaxKind.FunctionDeclaration && node.getText().startsWith("export ");
}

/** To throw again what was caught is not looked at: a caller has been told of it by what was called. */
function throws(node: SyntaxNode): boolean {
  let does = false;
  const visit = (inner: SyntaxNode): void => {
    if (functionKinds.has(inner.kind)) return;
    if (inner.kind === SyntaxKind.TryStatement && inner.catchClause !== undefined)
      return inner.catchClause.forEachChild(visit);
    if (inner.kind === SyntaxKind.ThrowStatement && inner.expression?.kind !== SyntaxKind.Identifier) does = true;
    if (inner.kind === SyntaxKind.CallExpression && inner.expression?.getText() === "Promise.reject") does = true;
    inner.forEachChild(visit);
  };
  node.forEachChild(visit);
  return does;
}
