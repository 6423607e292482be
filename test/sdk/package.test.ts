/**
 * The packed client library as strangers meet it: installed in fresh folders by npm and by Bun, its pages run, its
 * types used.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { startBroker, type TestBroker } from "../support/broker.ts";
import { builtPackage } from "../support/package.ts";
import { referenceOf } from "../tools/reference.ts";

const root = join(import.meta.dir, "../..");
const archive = join(root, `dist/mqttzoo-${manifest.version}.tgz`);
let broker: TestBroker;
let folder: string;

/** Runs a command in a folder; what it prints, if it ends well. */
async function run(command: readonly string[], cwd: string): Promise<string> {
  const child = Bun.spawn([...command], { cwd, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${out}${err}`);
  return out;
}

/** A new project that has the package. */
async function newProject(name: string, install: readonly string[]): Promise<string> {
  const project = join(folder, name);
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name, type: "module", private: true }));
  await run([...install, archive], project);
  return project;
}

let withNpm: string;
let withBun: string;

beforeAll(async () => {
  builtPackage();
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-package-"));
  // As little as the examples need, so that one of them empties the bank.
  broker = await startBroker({ bankCapital: 30_000 });
  [withNpm, withBun] = await Promise.all([
    newProject("with-npm", ["npm", "install", "--no-audit", "--no-fund"]),
    newProject("with-bun", [process.execPath, "add"]),
  ]);
}, 120_000);

afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true });
});

/** The programs of a page, each with what it prints. */
function examplesOf(page: string): { readonly title: string; readonly code: string; readonly prints: string }[] {
  const text = readFileSync(join(root, "src/client", page), "utf8");
  return [...text.matchAll(/```ts\n([\s\S]*?)```\n\n```text\n([\s\S]*?)```/g)].map(([, code, prints], index) => {
    const before = text.slice(0, text.indexOf(code!));
    return { title: `${index + 1}, ${before.match(/^#+ (.*)$/gm)!.at(-1)}`, code: code!, prints: prints! };
  });
}

const pages = ["README.md", "synchronous.md", "asynchronous.md"];
const examples = pages.flatMap((page) => examplesOf(page).map((example) => ({ page, ...example })));

test("the pages have their examples", () => {
  expect(examples.length).toBe(16);
  for (const page of pages) {
    const text = readFileSync(join(root, "src/client", page), "utf8");
    expect([page, text.match(/```ts\n/g)!.length]).toEqual([page, examplesOf(page).length]);
  }
});

test("the reference says what the types and their docstrings say", () => {
  const written = readFileSync(join(root, "src/client/reference.md"), "utf8");
  // If it does not: `bun run reference`.
  expect(written).toBe(referenceOf(builtPackage()));
  for (const name of ["connect", "Client", "Subscription", "ClientOptions", "PublishManyFailed", "Store", "TlsOptions"])
    expect(written).toContain(`\n### ${name}\n`);
  for (const member of ["publishMany(messages", "sessionExpiryMs?: number", "next(): Promise"])
    expect(written).toContain(member);
});

/** Node 20, which the tests run, has no SQLite. */
const needsSqlite = (code: string): boolean => code.includes("sqliteStore");

test.each(examples)("$page, example $title: on Bun and on Node", async ({ page, code, prints, title }) => {
  const program = code.replaceAll('"mqtt://localhost"', JSON.stringify(`mqtt://127.0.0.1:${broker.port}`));
  const name = `${page.replace(/\W/g, "-")}-${title.split(",")[0]}`;
  writeFileSync(join(withBun, `${name}.ts`), program);
  expect(await run([process.execPath, `${name}.ts`], withBun)).toBe(prints);
  const [major] = (await run(["node", "--version"], withNpm)).slice(1).split(".");
  if (needsSqlite(code) && Number(major) < 22) return;
  // Node 20 takes neither types nor `await using`: a program for it is compiled, as its author would.
  const compiled = await Bun.build({
    entrypoints: [join(withBun, `${name}.ts`)],
    target: "node",
    packages: "external",
    naming: `${name}.mjs`,
    outdir: withNpm,
  });
  expect(compiled.success).toBe(true);
  expect(await run(["node", `${name}.mjs`], withNpm)).toBe(prints);
});

test("it brings mqtt-packet and what that needs, and nothing else; types are whole without Node's and Bun's", async () => {
  const installed = JSON.parse(await run(["npm", "ls", "--all", "--json"], withNpm));
  expect(Object.keys(installed.dependencies)).toEqual(["mqttzoo"]);
  expect(Object.keys(installed.dependencies.mqttzoo.dependencies)).toEqual(["mqtt-packet"]);
  writeFileSync(join(withNpm, "types.ts"), typed);
  const [, ofReadme] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))!;
  writeFileSync(join(withNpm, "readme.ts"), ofReadme!);
  const compilerOptions = {
    module: "nodenext",
    target: "esnext",
    lib: ["esnext", "dom"],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    // All of it, the package's declarations included.
    skipLibCheck: false,
  };
  writeFileSync(join(withNpm, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["types.ts", "readme.ts"] }));
  await run([process.execPath, join(root, "node_modules/typescript/bin/tsc"), "--project", withNpm], root);
});

/** Code that must compile, and lines in it that must not. */
const typed = `
import { connect, QuotaExceeded, type Message, type StandardSchema } from "mqttzoo";
declare const schema: StandardSchema<{ celsius: number }, { celsius: number; seen: Date }>;
await using client = await connect(["mqtt://a", "mqtts://b"], { clientId: "x", sessionExpiryMs: Infinity, tls: { ca: "" } });
for await (const message of client.messages("room/{id}/{...rest}", { qos: 1, schema })) {
  const id: string = message.params.id + message.params.rest;
  const seen: Date = message.data.seen;
  // @ts-expect-error: the pattern has no such name
  message.params.name;
  // @ts-expect-error: params are what the topic says
  message.params.id = id + seen;
}
for await (const message of client.messages("plain/+")) {
  const nothing: undefined = message.data;
  // @ts-expect-error: no wildcard has a name
  message.params.id ?? nothing;
}
const some: string = "computed/{" + "x}";
for await (const { params } of client.messages(some)) { const x: string | undefined = params["x"]; void x; break; }
await client.publish("t", { celsius: 1 }, { schema });
// @ts-expect-error: not what the schema wants
await client.publish("t", { celsius: "hot" }, { schema });
// @ts-expect-error: a value needs a schema
await client.publish("t", { celsius: 1 });
client.respond("a/{b}", ({ params }) => params.b);
// @ts-expect-error: an answer is text or bytes
client.respond("a/{b}", () => 5);
const answer: Message = await client.request("a/b", new Uint8Array());
const value: { celsius: number; seen: Date } | undefined = await client.state("t", { schema }).get();
const caught: unknown = new Error();
if (caught instanceof QuotaExceeded) { const price: number | undefined = caught.price; void price; }
void answer; void value;
`;

test("CommonJS has it by require, and its types", async () => {
  const program = `
    const { connect, ConnectFailed } = require("mqttzoo");
    const { TestBroker } = require("mqttzoo/testing");
    (async () => {
      const client = await connect(new TestBroker().url);
      const messages = await client.subscribe("a", { qos: 1 });
      await client.publish("a", "required", { qos: 1 });
      console.log((await messages.next()).value.text);
      await client.end();
      const error = await connect("mqtt://127.0.0.1:1").catch((thrown) => thrown);
      console.log(error instanceof ConnectFailed);
    })();`;
  writeFileSync(join(withNpm, "required.cjs"), program);
  expect(await run(["node", "required.cjs"], withNpm)).toBe("required\ntrue\n");
  writeFileSync(join(withBun, "required.cjs"), program);
  expect(await run([process.execPath, "required.cjs"], withBun)).toBe("required\ntrue\n");
  const typedProgram =
    'import mqttzoo = require("mqttzoo");\nexport const client: Promise<mqttzoo.Client> = mqttzoo.connect("mqtt://x");\n';
  writeFileSync(join(withNpm, "required.cts"), typedProgram);
  const compilerOptions = {
    module: "nodenext",
    target: "esnext",
    lib: ["esnext", "dom"],
    types: [],
    strict: true,
    noEmit: true,
  };
  const project = join(withNpm, "tsconfig.required.json");
  writeFileSync(project, JSON.stringify({ compilerOptions, files: ["required.cts"] }));
  await run([process.execPath, join(root, "node_modules/typescript/bin/tsc"), "--project", project], root);
});

test("a bundle for browsers that uses one thing is smaller than one that uses all", async () => {
  const sizeOf = async (code: string): Promise<number> => {
    writeFileSync(join(withNpm, "page.js"), code);
    const built = await Bun.build({ entrypoints: [join(withNpm, "page.js")], target: "browser", minify: true });
    return built.outputs[0]!.size;
  };
  const one = await sizeOf('import { TimedOut } from "mqttzoo"; console.log(TimedOut);');
  const all = await sizeOf('import { connect } from "mqttzoo"; console.log(connect);');
  console.log(`TimedOut alone: ${one} bytes, connect: ${all} bytes, the package: ${statSync(archive).size} bytes`);
  expect(one).toBeLessThan(all / 4);
});
