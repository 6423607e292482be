/**
 * Checks what the Markdown files name: files, functions and headings. `test/tidy.test.ts` asks whether all of it is
 * there, so that whoever moves or renames something changes what is written about it in the same commit.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";

export interface Document {
  /** Below the root of the repository. */
  readonly path: string;
  readonly text: string;
  /** Without what stands in fences: examples, pictures. */
  readonly prose: string;
}

/** The files of the repository, built and installed ones apart. */
export function repositoryFiles(root: string): string[] {
  const top = readdirSync(root).filter((name) => /^[^.]|^\.github$/.test(name) && !/^(node_modules|dist)$/.test(name));
  const paths = top.flatMap((name) =>
    statSync(join(root, name)).isDirectory()
      ? readdirSync(join(root, name), { recursive: true, encoding: "utf8" }).map((below) => `${name}/${below}`)
      : [name],
  );
  return paths.filter((path) => !path.includes("node_modules/"));
}

/** The Markdown files among them. */
export function readDocuments(root: string, files: readonly string[]): Document[] {
  const documents = files.filter((path) => path.endsWith(".md"));
  return documents.map((path) => {
    const text = readFileSync(join(root, path), "utf8");
    return { path, text, prose: text.replace(/^```[\s\S]*?^```$/gm, "") };
  });
}

/** Returns the links that lead nowhere: to a file or a heading that is not there. */
export function deadLinks(root: string, { path, text, prose }: Document): string[] {
  return [...prose.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].flatMap(([, link]) => {
    const [file, heading] = link!.split("#");
    const target = join(root, dirname(path), file!);
    if (!existsSync(target)) return [`${path}: ${link}`];
    if (heading === undefined) return [];
    return headingsOf(file === "" ? text : readFileSync(target, "utf8")).includes(heading) ? [] : [`${path}: ${link}`];
  });
}

/** Headings as links name them. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, words]) =>
    words!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/**
 * Returns the files that a document names between backticks and that are not there. One may be named by the end of its
 * path: `net/tcp.ts`.
 */
export function missingFiles(root: string, files: readonly string[], { path, prose }: Document): string[] {
  const names = [...prose.matchAll(/`([^`\s<>*]+)`/g)].map(([, name]) => name!);
  return names
    .filter((name) => {
      if (/^(src|cli|test|k8s)\//.test(name)) return !existsSync(join(root, name));
      if (!/^[a-z0-9/-]+(\.test)?\.(ts|mjs|py|c|yaml)$/.test(name)) return false;
      return !files.some((file) => file.endsWith(`/${name}`));
    })
    .map((name) => `${path}: ${name}`);
}

/** Returns what a document names as a method, `Class.method` or `Class.#method`, and is none. */
export function missingMethods(texts: readonly string[], { path, prose }: Document): string[] {
  return [...prose.matchAll(/`([A-Z][A-Za-z]+)\.(#?[a-z]\w+)`/g)]
    .filter(([, type, method]) => {
      const text = texts.find((text) => text.includes(`class ${type} `) || text.includes(`class ${type}<`));
      return text === undefined || !new RegExp(`^  (readonly |async |get |\\*)?${method}\\b`, "m").test(text);
    })
    .map(([name]) => `${path}: ${name}`);
}

/** Returns the files that a table of the map names for each folder: rows `| folder | files | what |`. */
export function filesByFolder(map: string, section: string): Map<string, string[]> {
  const start = map.indexOf(`\n## ${section}\n`);
  const rows = map.slice(start + 1, map.indexOf("\n## ", start + 1)).split("\n");
  const found = new Map<string, string[]>();
  let folder = "";
  for (const row of rows.filter((line) => line.startsWith("|")).slice(2)) {
    const [, first, files] = row.split("|");
    folder = /`([^`]+)`/.exec(first!)?.[1] ?? folder;
    const names = [...files!.matchAll(/`([^`]+\.ts)`/g)].map(([, name]) => basename(name!));
    found.set(folder, [...(found.get(folder) ?? []), ...names].sort());
  }
  return found;
}
