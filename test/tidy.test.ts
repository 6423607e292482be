/**
 * The house's rules, held by a program: floors, cycles, dead files, doors, sizes, names. A rule that turns out
 * wrong is changed here, with its reason, in the commit that needs it.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { operatingErrorCodes } from "../src/base/errors.ts";
import { coordinatorErrorCodes } from "../src/coordinator/coordinator.ts";
import {
  deadLinks,
  filesByFolder,
  missingFiles,
  missingMethods,
  readDocuments,
  repositoryFiles,
} from "./support/documents.ts";
import { doors, floors, folderOf, rooms } from "./support/floors.ts";
import { commentsOf, readSources, root } from "./support/source-files.ts";
import { readFunctions } from "./support/syntax.ts";
import type { Fault } from "./tools/faults.ts";

const product = [...readSources("src"), ...readSources("cli")];
const everything = [...product, ...readSources("test")];
const paths = new Set(everything.map(({ path }) => path));

const fileLinesMax = 400;
/** The limit for tests and for the product. */
const functionLinesMax = 70;
const commentColumnsMax = 120;

/** Functions that are longer, with their lines. The list may only shrink. */
const longFunctions: Record<string, number> = {
  // A suite of tests that each coordinator runs.
  "test/contract/coordinator.ts coordinatorContract": 266,
  "test/support/proxy.ts startProxy": 73,
};

/** Openings of docstrings that only the code below them explains: in a hover they stand alone. */
const riddle = new RegExp(
  "^(\\.\\.\\.|(Who|Whoever|Whose|Whom|What|Whatever|Which|Why|The same|That|They|Those|Their|It|Its|He|She|His|Somebody|" +
    "Someone|And|Or|But|Of|So|Since)\\b)",
);

/** Functions that throw and do not say so themselves. The list may only shrink. */
const silentThrowers: string[] = [];

/** Documents that are not in the repository. */
const absentDocument = /\bDESIGN\b|\bSTYLE\b|\bROOMS\b|\b[Ii]ssue \d+\b/;

/** The top level, which is fixed: the product's, what tools force, and what they make there. */
const topLevel: ReadonlySet<string> = new Set([
  ...["package.json", "bunfig.toml", "src", "cli", "k8s", "test", "README.md"],
  ...["LICENSE", "biome.json", "bun.lock", "tsconfig.json", ".ci", ".git", ".github", ".gitignore"],
  ...["node_modules", "dist", "mqttzoo-data", "types.json"],
]);

/** Each cycle that is met on the way through a graph. */
function cyclesIn(graph: ReadonlyMap<string, Iterable<string>>): string[] {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (node: string, trail: readonly string[]): void => {
    if (trail.includes(node)) cycles.push([...trail.slice(trail.indexOf(node)), node].join(" -> "));
    if (done.has(node) || trail.includes(node)) return;
    for (const next of graph.get(node) ?? []) visit(next, [...trail, node]);
    done.add(node);
  };
  for (const node of graph.keys()) visit(node, []);
  return cycles;
}

describe("tidy", () => {
  test("folders import only from the floors below", () => {
    const wrong: string[] = [];
    for (const { path, imports } of product) {
      const from = folderOf(path);
      for (const { target } of imports) {
        if (!target.startsWith("src/") && !target.startsWith("cli/")) continue;
        const to = folderOf(target);
        const isAllowed = to === from || floors[from]?.includes(to);
        if (!isAllowed) wrong.push(`${path} ${target}`);
        if (!paths.has(target) && !existsSync(join(root, target)))
          wrong.push(`${path} imports ${target}, which is not there`);
      }
    }
    expect(wrong).toEqual([]);
    expect([...new Set(product.map(({ path }) => folderOf(path)))].filter((folder) => !(folder in floors))).toEqual([]);
  });

  test("no cycles between folders, though they were only of types", () => {
    const graph = new Map<string, Set<string>>();
    for (const { path, imports } of product) {
      const from = dirname(path);
      const to = graph.get(from) ?? new Set();
      graph.set(from, to);
      for (const { target } of imports) {
        const isIn = paths.has(target) && dirname(target) !== from;
        if (isIn) to.add(dirname(target));
      }
    }
    expect(cyclesIn(graph)).toEqual([]);
  });

  test("no cycles between modules", () => {
    // Within a room of the broker, types may refer to each other: they are gone when the program runs.
    const values = product.map(({ path, imports }): [string, string[]] => [
      path,
      imports.filter(({ typeOnly }) => !typeOnly || !path.startsWith("src/broker/")).map(({ target }) => target),
    ]);
    expect(cyclesIn(new Map(values))).toEqual([]);
  });

  test("no dead files: everything is reached from an entry", () => {
    const byPath = new Map(everything.map((file) => [file.path, file]));
    const reached = new Set<string>();
    const visit = (path: string): void => {
      if (reached.has(path)) return;
      reached.add(path);
      for (const { target } of byPath.get(path)?.imports ?? []) visit(target);
    };
    // The worker is started by its URL; the package has an entry for each runtime.
    const runtimes = ["bun", "node", "browsers"].map((runtime) => `src/client/for-${runtime}.ts`);
    const packaged = [...runtimes, "src/testing/test-broker.ts"];
    // The dashboard is bundled for browsers.
    for (const entry of ["cli/main.ts", "src/embedded/worker.ts", "src/dashboard/main.tsx", ...packaged]) visit(entry);
    expect(product.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });

  test("nothing imports the tests", () => {
    expect(
      product.filter(({ imports }) => imports.some(({ target }) => target.startsWith("test/"))).map(({ path }) => path),
    ).toEqual([]);
  });

  test("the doors to sockets, disk, time and chance are where they should be", () => {
    const wrong = doors.flatMap(({ what, only }) =>
      product
        .filter(
          ({ path, text }) =>
            what.test(text) && !only.some((door) => path === door || (door.endsWith("/") && path.startsWith(door))),
        )
        .map(({ path }) => `${path}: ${what}`),
    );
    expect(wrong).toEqual([]);
  });

  test("machines do not wait: no async on the floors of session, router and mail", () => {
    const machines = product.filter(({ path }) =>
      ["src/session", "src/router", "src/mail", "src/mqtt"].includes(folderOf(path)),
    );
    expect(machines.filter(({ text }) => /\basync\b|\bawait\b|\bPromise\b/.test(text)).map(({ path }) => path)).toEqual(
      [],
    );
  });

  test("nothing else stands at the top", () => {
    const isMade = (name: string): boolean => topLevel.has(name) || name.endsWith(".log");
    expect(readdirSync(root).filter((name) => !isMade(name))).toEqual([]);
  });

  test("files are kebab-case, begin with what they are, and are not too long", () => {
    const wrong: string[] = [];
    for (const { path, text, lines } of everything) {
      if (!/^[a-z0-9-]+(\.test)?\.tsx?$/.test(path.split("/").at(-1)!)) wrong.push(`${path}: name`);
      if (path.endsWith("/index.ts")) wrong.push(`${path}: a barrel`);
      if (!text.startsWith("/**")) wrong.push(`${path}: does not open with what it is`);
      if (lines.length > fileLinesMax) wrong.push(`${path}: ${lines.length} lines`);
      if (/^\s*(export )?(const )?(enum|namespace) /m.test(text)) wrong.push(`${path}: an enum or a namespace`);
    }
    expect(wrong).toEqual([]);
  });

  test("functions are not too long, as the compiler sees them", async () => {
    const long = (await readFunctions()).filter(({ lines }) => lines > functionLinesMax);
    const wrong = long.filter(
      ({ path, name, lines }) => lines > (longFunctions[`${path} ${name}`] ?? functionLinesMax),
    );
    expect(wrong).toEqual([]);
    const needed = new Set(long.map(({ path, name }) => `${path} ${name}`));
    expect(Object.keys(longFunctions).filter((name) => !needed.has(name))).toEqual([]);
  }, 120_000);

  test("public functions that throw say so", async () => {
    const silent = (await readFunctions()).filter(
      ({ path, isPublic, throws, docstring }) =>
        !path.startsWith("test/") && isPublic && throws && !/\b(throws|rejects)\b/i.test(docstring),
    );
    expect(silent.map(({ path, name }) => `${path}: ${name}`)).toEqual(silentThrowers);
  }, 120_000);

  test("comments are not too wide", () => {
    const wide = everything.flatMap(({ path, lines }) =>
      lines.flatMap((line, index) =>
        line.length > commentColumnsMax && /^\s*(\/\/|\/?\*)|;\s*\/\/ /.test(line) ? [`${path}:${index + 1}`] : [],
      ),
    );
    expect(wide).toEqual([]);
  });

  test("docstrings open with what the thing is or does", () => {
    const wrong = everything.flatMap((file) =>
      commentsOf(file)
        .filter(({ isDocstring, text }) => isDocstring && riddle.test(text))
        .map(({ at, text }) => `${file.path}:${at}: ${text}`),
    );
    expect(wrong).toEqual([]);
  });

  test("comments cite no document that is not here", () => {
    const wrong = everything.flatMap((file) =>
      commentsOf(file).flatMap(({ at, text }) => {
        const absent = [...text.matchAll(/[\w./-]+\.md\b/g)].filter(
          ([name]) =>
            ![root, join(root, "src"), join(root, dirname(file.path))].some((base) => existsSync(join(base, name))),
        );
        const headings = [...text.matchAll(/`(src\/\w+\.md)`,(?: under)? "([^"]+)"/g)].filter(
          ([, name, heading]) => !readFileSync(join(root, name!), "utf8").includes(`# ${heading}\n`),
        );
        const isWrong = absent.length > 0 || headings.length > 0 || absentDocument.test(text);
        return isWrong ? [`${file.path}:${at}: ${text}`] : [];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test("limits name their unit", () => {
    const limits = product.filter(({ path }) => /^src\/base\/((access|bank|client|sn|store)-)?limits\.ts$/.test(path));
    const names = limits.flatMap(({ text }) => [...text.matchAll(/^export const (\w+)/gm)].map(([, name]) => name!));
    const unit = /(Ms|Bytes|BytesMax|BytesMin|BytesHigh|BytesLow|BytesReserve|Max|Min|Slips|Shards)$/;
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !unit.test(name))).toEqual([]);
  });

  test("the map shows every folder and every error, and the page of the command line every option", () => {
    const map = readFileSync(join(root, "src/README.md"), "utf8");
    for (const folder of Object.keys(floors)) expect(map).toContain(`\`${folder}\``);
    const page = readFileSync(join(root, "cli/README.md"), "utf8");
    const options = [...readFileSync(join(root, "src/broker/core/options.ts"), "utf8").matchAll(/readonly (\w+):/g)];
    for (const code of [...operatingErrorCodes, ...coordinatorErrorCodes])
      expect(map).toMatch(new RegExp(`^\\| .*\\b${code}\\b.* \\|`, "m"));
    for (const [, key] of options) {
      expect(page).toContain(`--${key!.replace(/[A-Z]|\d/g, (letter) => `-${letter.toLowerCase()}`)}`);
    }
  });

  test("what the documents name is there: files, methods, links", () => {
    const files = repositoryFiles(root);
    const texts = product.map(({ text }) => text);
    const wrong = readDocuments(root, files).flatMap((document) => [
      ...deadLinks(root, document),
      ...missingFiles(root, files, document),
      ...(document.path === "src/README.md" ? missingMethods(texts, document) : []),
    ]);
    expect(wrong).toEqual([]);
  });

  test("the map names every file of the broker's rooms, in its room", () => {
    const map = filesByFolder(readFileSync(join(root, "src/README.md"), "utf8"), "The broker's rooms");
    expect([...map.keys()].sort()).toEqual([...Object.keys(rooms), "broker", "src/server"].sort());
    for (const [room, files] of map) {
      const folder = room in rooms ? `src/broker/${room}` : room === "broker" ? "src/broker" : room;
      const there = product.map(({ path }) => path).filter((path) => dirname(path) === folder);
      expect(files).toEqual(there.map((path) => path.slice(folder.length + 1)).sort());
    }
  });

  test("planted faults still have their places, and their tests are there", async () => {
    const wrong: string[] = [];
    for (const list of readdirSync(join(root, "test/tools")).filter((name) => /^faults.*\.ts$/.test(name))) {
      const { faults } = (await import(join(root, "test/tools", list))) as { faults: readonly Fault[] };
      for (const { what, file, find, tests } of faults) {
        if (!existsSync(join(root, file)) || !readFileSync(join(root, file), "utf8").includes(find))
          wrong.push(`${list}: ${what}: not in ${file}`);
        for (const path of tests.split(" ").filter((word) => word.endsWith(".ts")))
          if (!existsSync(join(root, path))) wrong.push(`${list}: ${what}: no ${path}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});
