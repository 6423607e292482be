/**
 * A client that a generator (orval) makes of the OpenAPI document that a broker serves: the compiler takes it, and a
 * program that is written with it alone does what an operator does.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashPassword } from "../../src/access/hashes.ts";
import { freePort } from "../bench/brokers.ts";
import type { ApiDocument } from "../support/api.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-generated-"));
const modules = join(import.meta.dir, "../../node_modules");
const headers = { authorization: `Basic ${btoa("olga:o")}` };
let broker: TestBroker;
let base: string;
let document: ApiDocument;

beforeAll(async () => {
  const [httpUsers, banFile] = [join(folder, "users"), join(folder, "bans")];
  writeFileSync(banFile, "");
  writeFileSync(httpUsers, `olga:operator:${await hashPassword("o")}\nvera:viewer:${await hashPassword("v")}\n`);
  const httpPort = await freePort();
  base = `http://127.0.0.1:${httpPort}/api/v1`;
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1", httpUsers, banFile });
  document = (await (await fetch(`${base}/openapi.json`, { headers })).json()) as ApiDocument;
  writeFileSync(join(folder, "openapi.json"), JSON.stringify(document));
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function run(...command: readonly string[]): Promise<string> {
  const child = Bun.spawn([process.execPath, ...command], { cwd: folder, stdout: "pipe", stderr: "pipe" });
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect([code, code === 0 ? "" : out + err]).toEqual([0, ""]);
  return out;
}

/** The program of somebody who knows the generated client and its types, and nothing of the broker. */
const program = `
import * as zoo from "./client";

const as = (words: string): RequestInit => ({ headers: { authorization: "Basic " + btoa(words) } });
const olga = as("olga:o");

/** Returns what was asked for, or ends with what the problem says. */
function got<Reply extends { status: number; data: unknown }>(reply: Reply): Extract<Reply, { status: 200 }>["data"] {
  if (reply.status !== 200) throw new Error(JSON.stringify(reply.data));
  return reply.data as Extract<Reply, { status: 200 }>["data"];
}

const me = got(await zoo.getMe(olga));
const role: "viewer" | "operator" = me.role;
const broker = got(await zoo.getBroker({}, olga));
const ready: boolean = broker.ready;
const clients = got(await zoo.listClients({ search: "generated", connected: true, limit: 1, sort: "client_id" }, olga));
const more = got(await zoo.listClients({ search: "generated", limit: 1, cursor: clients.next ?? "" }, olga));
const ids: string[] = [...clients.items, ...more.items].map((row) => row.client_id);
const user: string | null = clients.items[0]!.user;
const one = got(await zoo.getClient("generated/1", {}, olga));
const listener: "tcp" | "tls" | "ws" | "wss" | "sn" | null | (string & {}) = one.listener;
got(await zoo.setRetained("a/b c", { payload: "21.5", qos: 1 }, {}, olga));
const retained = got(await zoo.getRetained("a/b c", {}, olga));
const payload: string | null = retained.payload;
const dry = got(await zoo.clearManyRetained({ filter: "a/#" }, olga));
const cleared = got(await zoo.clearManyRetained({ filter: "a/#", dry_run: false }, olga));
const counted: number[] = [dry.matched, dry.cleared, cleared.cleared];
const published = got(await zoo.publish({ topic: "t/x", payload: "on" }, {}, olga));
const subscriptions = got(await zoo.listSubscriptions({ client_id: "generated/1" }, olga));
const filters: string[] = subscriptions.items.map((row) => row.filter);
const why = got(await zoo.explainDelivery({ client_id: "generated/1", topic: "t/x/" }, olga));
const causes: string[] = why.findings.map((finding) => finding.cause);
const quote = got(await zoo.getQuote({ bytes: 100, ttl: 60 }, olga));
const credits: number = quote.items[0]!.least;
const statement = got(await zoo.getStatement({ by: "user" }, olga));
const before = got(await zoo.getLogLevel({}, olga));
const level = got(await zoo.setLogLevel({ level: before.level }, {}, olga));
got(await zoo.addBan("user", "mallory", {}, olga));
const bans = got(await zoo.listBans({ kind: "user" }, olga));
got(await zoo.liftBan("user", "mallory", {}, olga));
const changes = got(await zoo.listChanges({ who: "olga", limit: 100 }, olga));
got(await zoo.disconnectClient("generated/1", {}, olga));
const refused = await zoo.setLogLevel({ level: "warn" }, {}, as("vera:v"));
const problem: string = refused.status === 200 ? "" : refused.data.detail;
const unknown = await zoo.getClient("nobody", {}, olga);
const missing: number = unknown.status;
// The text of events, not one of them.
const stream: string = "";
const streamed: Extract<Awaited<ReturnType<typeof zoo.followTrace>>, { status: 200 }>["data"] = stream;

// @ts-expect-error: the filter must be given
void (() => zoo.clearManyRetained({}));
// @ts-expect-error: the client must be given
void (() => zoo.explainDelivery({ topic: "t" }));
// @ts-expect-error: there is no such level
void (() => zoo.setLogLevel({ level: "loud" }));
// @ts-expect-error: there is no such parameter
void (() => zoo.listClients({ colour: "green" }));
// @ts-expect-error: there is no such field
void (() => one.colour);

console.log(
  JSON.stringify({
    ...{ role, ready, ids, user, listener, payload, counted, filters, causes, problem, missing, streamed },
    isPriced: credits > 0,
    isSame: level.level === before.level,
    published: published.done,
    holders: statement.items.length,
    bans: bans.items.map((ban) => ban.name),
    changes: changes.items.map((change) => change.what),
  }),
);
`;

describe("a client that is generated of the document", () => {
  beforeAll(async () => {
    const output = { mode: "single", client: "fetch", target: "client.ts", baseUrl: base, urlEncodeParameters: true };
    const config = { zoo: { input: { target: "openapi.json" }, output } };
    writeFileSync(join(folder, "orval.config.mjs"), `export default ${JSON.stringify(config)};\n`);
    await run(join(modules, "orval/dist/bin/orval.mjs"), "--config", "orval.config.mjs");
  }, 120_000);

  test("is taken by the compiler, and what is written with it is what the types promise", async () => {
    writeFileSync(join(folder, "program.ts"), program);
    const compilerOptions = {
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true },
      ...{ target: "ES2022", module: "Preserve", moduleResolution: "bundler", lib: ["ES2022", "DOM", "DOM.Iterable"] },
      ...{ outDir: "built", types: [] },
    };
    const config = { compilerOptions, files: ["client.ts", "program.ts"] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    await run(join(modules, "typescript/bin/tsc"), "-p", ".");
    const clients = await Promise.all(
      ["generated/1", "generated/2"].map((clientId) =>
        RawClient.connect(broker.port, { protocolVersion: 5, clientId }),
      ),
    );
    await clients[0]!.subscribe("t/+");
    const told = JSON.parse(await run(join(folder, "built/program.js")));
    expect(told).toEqual({
      ...{ role: "operator", ready: true, ids: ["generated/1", "generated/2"], user: null, listener: "tcp" },
      ...{ payload: "21.5", counted: [1, 0, 1], filters: ["t/+"], problem: "vera may only look", missing: 404 },
      ...{ causes: expect.arrayContaining(["filter"]), streamed: "", isPriced: true, isSame: true, published: true },
      ...{ holders: expect.any(Number), bans: ["mallory"], changes: expect.arrayContaining(["addBan", "liftBan"]) },
    });
    expect((await clients[0]!.take("publish")).topic).toBe("t/x");
    await clients[0]!.take("disconnect");
    for (const client of clients) client.abort();
  }, 120_000);
});

describe("the document says for generators of any language", () => {
  const operations = () =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, one]) => [`${method} ${path}`, one] as const),
    );

  test("a name for each operation, its own, and a group that is described", () => {
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(ids.every((id) => /^[a-z][A-Za-z]+$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { name, description } of document.tags) expect([name, description]).toEqual([name, expect.any(String)]);
  });

  test("each name in a path as a parameter, and no parameter twice", () => {
    for (const [what, { parameters }] of operations()) {
      const named = parameters.map((one) => `${one.in} ${one.name}`);
      expect([what, new Set(named).size]).toEqual([what, named.length]);
      const inPath = [...what.matchAll(/\{(\w+)\}/g)].map(([, name]) => `path ${name}`);
      expect([what, named.filter((one) => one.startsWith("path "))]).toEqual([what, inPath]);
    }
  });

  test("how wide each integer is", () => {
    const integers: unknown[] = [];
    JSON.stringify(document, (_, value) => {
      if ([value?.type].flat().includes("integer")) integers.push(value);
      return value;
    });
    expect(integers.length).toBeGreaterThan(50);
    expect(integers.filter((one) => !/^int(32|64)$/.test((one as { format?: string }).format ?? ""))).toEqual([]);
  });

  test("a problem for each status that is no success", () => {
    for (const [what, { responses }] of operations())
      for (const [status, { content }] of Object.entries(responses))
        expect([what, status, Object.keys(content)]).toEqual([
          ...[what, status],
          [
            status !== "200"
              ? "application/problem+json"
              : expect.stringMatching(/^(application\/json|text\/event-stream)$/),
          ],
        ]);
  });
});
