/**
 * Builds `dist/mqttzoo-VERSION.tgz`, the client library for Bun, Node and browsers: one file for each, types for all.
 * It depends on mqtt-packet alone; the file for browsers has that, and what it needs of Node, in it.
 */
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import * as errors from "../../src/client/public.ts";

const root = join(import.meta.dir, "../..");
const folder = join(root, "dist/package");
const entries = [
  { runtime: "bun", entry: "for-bun", external: ["mqtt-packet"] },
  { runtime: "node", entry: "for-node", external: ["mqtt-packet"] },
  { runtime: "browser", entry: "for-browsers", external: [] },
] as const;

async function bundle(): Promise<void> {
  for (const { runtime, entry, external } of entries) {
    const result = await Bun.build({
      // Errors apart: a bundle of a program that only asks what has gone wrong is not given the rest.
      entrypoints: [
        join(root, `src/client/${entry}.ts`),
        join(root, "src/client/errors.ts"),
        join(root, "src/testing/test-broker.ts"),
      ],
      root: join(root, "src"),
      naming: "[name].[ext]",
      splitting: true,
      target: runtime,
      format: "esm",
      external: [...external],
      minify: runtime === "browser",
      outdir: join(folder, runtime),
      throw: false,
    });
    for (const log of result.logs) console.error(String(log));
    if (!result.success) process.exit(1);
    writeFileSync(
      join(folder, runtime, "main.js"),
      `export { connect, ${runtime === "browser" ? "indexedDbStore" : "sqliteStore"} } from "./${entry}.js";\nexport { ${Object.keys(errors).join(", ")} } from "./errors.js";\n`,
    );
    const bytes = result.outputs.reduce((sum, { size }) => sum + size, 0);
    console.log(`dist/package/${runtime}  ${(bytes / 1000).toFixed(0)} KB`);
  }
}

/** For programs that call `require`: one file each, since they have no parts in common to load. */
async function bundleForRequire(): Promise<void> {
  for (const [entry, name] of [
    ["client/for-node.ts", "main.cjs"],
    ["testing/test-broker.ts", "test-broker.cjs"],
  ] as const) {
    const result = await Bun.build({
      entrypoints: [join(root, "src", entry)],
      target: "node",
      format: "cjs",
      external: ["mqtt-packet"],
      naming: name,
      outdir: join(folder, "node"),
    });
    if (!result.success) process.exit(1);
  }
}

/** Copies the types, as those of modules that are CommonJS. */
function describeTypesForRequire(): void {
  cpSync(join(folder, "types"), join(folder, "types-cjs"), { recursive: true });
  writeFileSync(join(folder, "types-cjs/package.json"), '{ "type": "commonjs" }\n');
}

function run(command: readonly string[], cwd: string): void {
  const { exitCode } = Bun.spawnSync([process.execPath, ...command], { cwd, stdout: "ignore", stderr: "inherit" });
  if (exitCode !== 0) process.exit(1);
}

function describeTypes(): void {
  const config = {
    extends: "../../tsconfig.json",
    compilerOptions: {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      stripInternal: true,
      rootDir: "../../src",
      outDir: "types",
    },
    include: [],
    files: [...entries.map(({ entry }) => `../../src/client/${entry}.ts`), "../../src/testing/test-broker.ts"],
  };
  const path = join(folder, "tsconfig.json");
  writeFileSync(path, JSON.stringify(config));
  run(["x", "tsc", "--project", path], root);
  rmSync(path);
  const ofClient = entries.map(({ entry }) => join(folder, "types/client", `${entry}.d.ts`));
  keepReached([...ofClient, join(folder, "types/testing/test-broker.d.ts")]);
}

/** Removes the types that applications cannot reach. */
function keepReached(from: readonly string[]): void {
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    const imports = readFileSync(path, "utf8").matchAll(/from "(\.[^"]+)\.ts"/g);
    for (const [, target] of imports) visit(join(dirname(path), `${target}.d.ts`));
  };
  for (const path of from) visit(path);
  for (const name of readdirSync(join(folder, "types"), { recursive: true, encoding: "utf8" })) {
    const path = join(folder, "types", name);
    if (name.endsWith(".d.ts") && !reached.has(path)) rmSync(path);
  }
}

function describePackage(): void {
  const types = (entry: string): string => `./types/client/${entry}.d.ts`;
  const exports = entries.map(({ runtime, entry }) => [
    // Who knows none of them takes Node's.
    runtime === "node" ? "default" : runtime,
    { types: types(entry), default: `./${runtime}/main.js` },
  ]);
  const forRequire = ["require", { types: "./types-cjs/client/for-node.d.ts", default: "./node/main.cjs" }];
  const text = {
    name: manifest.name,
    version: manifest.version,
    description: "MQTT for applications: typed topics, acknowledged messages, requests, retained state",
    keywords: ["mqtt", "iot", "pubsub", "client"],
    license: manifest.license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20", bun: ">=1.4" },
    exports: {
      ".": Object.fromEntries([
        ...exports.filter(([name]) => name !== "default"),
        forRequire,
        ...exports.filter(([name]) => name === "default"),
      ]),
      "./testing": {
        browser: { types: "./types/testing/test-broker.d.ts", default: "./browser/test-broker.js" },
        require: { types: "./types-cjs/testing/test-broker.d.ts", default: "./node/test-broker.cjs" },
        default: { types: "./types/testing/test-broker.d.ts", default: "./node/test-broker.js" },
      },
    },
    types: types("for-node"),
    main: "./node/main.js",
    browser: "./browser/main.js",
    dependencies: { "mqtt-packet": manifest.dependencies["mqtt-packet"] },
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(text, undefined, 2)}\n`);
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
await bundle();
await bundleForRequire();
describeTypes();
describeTypesForRequire();
describePackage();
for (const page of ["README.md", "synchronous.md", "asynchronous.md", "react.md", "reference.md"])
  copyFileSync(join(root, "src/client", page), join(folder, page));
copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
run(["pm", "pack", "--destination", join(root, "dist")], folder);
const archive = `dist/${manifest.name}-${manifest.version}.tgz`;
console.log(`${archive}  ${(statSync(join(root, archive)).size / 1000).toFixed(0)} KB`);
