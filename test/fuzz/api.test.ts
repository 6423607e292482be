/** The HTTP API under random requests: each is answered as the document has it, and the broker lives on. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { apiStreamsMax } from "../../src/base/api-limits.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";

let broker: TestBroker;
let api: ApiClient;
let port: number;
beforeAll(async () => {
  port = await freePort();
  broker = await startBroker({ httpPort: port, httpHost: "127.0.0.1" });
  api = await ApiClient.open(port);
});
afterAll(() => broker.stop());

const seed = Number(process.env.MQTTZOO_FUZZ_SEED ?? Date.now() % 1_000_000);
const numRuns = 20 * Number(process.env.MQTTZOO_FUZZ_SECONDS ?? 20);

const nasty = fc.oneof(
  fc.constantFrom(
    "",
    "+",
    "#",
    "a/b",
    "$SYS/x",
    "\u0000",
    "%",
    "..",
    "true",
    "-1",
    "1e9",
    "__proto__",
    "constructor",
    "ä€😀",
  ),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.integer().map(String),
);
const value: fc.Arbitrary<unknown> = fc.oneof(
  nasty,
  fc.boolean(),
  fc.integer(),
  fc.double(),
  fc.constant(null),
  fc.json(),
);

test(`whatever is asked (seed ${seed})`, async () => {
  const operations = Object.entries(api.document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  // A drained broker would take no more; the level of the log says nothing here.
  const asked = operations.filter(({ path }) => path !== "/drain");
  const request = fc.constantFrom(...asked).chain(({ path, method, operation }) => {
    const names = operation.parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
    const query = fc.array(fc.tuple(fc.constantFrom(...names, "none"), nasty), { maxLength: 3 });
    const fields = ["topic", "payload", "payload_base64", "qos", "retain", "level", "credits", "filter", "dry_run"];
    const body = fc.dictionary(fc.constantFrom(...fields, "__proto__"), value, { maxKeys: 4 });
    return fc.record({
      path: fc.constant(path),
      method: fc.constant(method),
      words: fc.array(nasty, { minLength: 3, maxLength: 3 }),
      query,
      body: fc.option(body, { nil: undefined }),
    });
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ path, method, words, query, body }) => {
      let index = 0;
      // HTTP itself takes dots for folders, and a name that is empty for none.
      const name = (): string => encodeURIComponent(words[index++]!.replace(/^\.{0,2}$/, "x"));
      const target = path.replace(/\{\w+\}/g, name);
      const search = new URLSearchParams(query).toString();
      if (["/events", "/trace", "/watch"].includes(path))
        return expect(await api.peek(`${target}?${search}`)).toBeLessThan(500);
      const answer = await api.ask(`${target}?${search}`, { method, ...(method === "GET" ? {} : { body }) });
      expect(answer.status).toBeLessThan(500);
    }),
    { seed, numRuns },
  );
  expect((await api.get("/broker")).ready).toBe(true);
  expect(api.asked.size).toBeGreaterThan(20);
}, 300_000);

/** Sends bytes as they are, and returns the status line of what comes, and whether the broker has hung up. */
function raw(bytes: string, { isPatient = false } = {}): Promise<{ status: number; isClosed: boolean }> {
  return new Promise((resolve) => {
    let told = "";
    const end = (isClosed: boolean): void =>
      resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(told)?.[1] ?? 0), isClosed });
    void Bun.connect({
      ...{ hostname: "127.0.0.1", port },
      socket: {
        open: (socket) => void socket.write(bytes),
        data(socket, chunk) {
          told += Buffer.from(chunk).toString("latin1");
          if (isPatient || !told.includes("\r\n\r\n")) return;
          end(false);
          socket.end();
        },
        close: () => end(true),
        error: () => end(true),
      },
    });
  });
}

const head = (method: string, path: string, more = ""): string =>
  `${method} /api/v1${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;
const json = (body: string): string => `content-type: application/json\r\ncontent-length: ${body.length}\r\n`;
const isWell = async (): Promise<void> => expect((await api.get("/broker")).ready).toBe(true);

const deep = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`;
const put = (body: string, more = json(body)): string => `${head("PUT", "/log-level", more)}${body}`;

test.each([
  ["a body nested deep", put(`{"level":${deep(20_000)}}`), [400]],
  ["a body nested deep, not closed", put(`{"level":${"[".repeat(50_000)}`), [400]],
  ["a huge number", put('{"level":1e999999}'), [400]],
  ["a number of many digits", head("GET", `/clients?limit=${"9".repeat(300)}`), [400]],
  ["a field twice", put('{"level":"loud","level":"none"}'), [400]],
  ["a parameter twice", head("GET", "/clients?limit=1&limit=1"), [400]],
  ["a content type that is none", put('{"level":"warn"}', "content-type: text/html\r\ncontent-length: 16\r\n"), [415]],
  ["a body without a type", put('{"level":"warn"}', "content-length: 16\r\n"), [415]],
  ["bytes that are no UTF-8", put('"\xff\xfe"'), [400]],
  ["HEAD", head("HEAD", "/clients"), [200]],
  ["HEAD of what goes on for ever", head("HEAD", "/events"), [200]],
  ["OPTIONS", head("OPTIONS", "/clients"), [405]],
  ["a method that HTTP has for others", head("PROPFIND", "/clients"), [400, 405, 501]],
  // Bun hangs up.
  ["a method that nobody has", head("FROBNICATE", "/clients"), [0, 400, 405, 501]],
  ["TRACE", head("TRACE", "/clients"), [400, 405, 501]],
  ["a slash in a client id", head("GET", "/clients/a%2Fb%2F..%2Fc"), [404]],
  ["a slash in a topic", head("GET", "/retained/a%2F%2Fb"), [404]],
  ["a NUL in a topic", head("GET", "/retained/a%00b"), [400, 404]],
  ["half a percent encoding", head("GET", "/clients/a%2"), [400]],
  ["an overlong slash", head("GET", "/clients/a%C0%AFb"), [400]],
  ["a surrogate", head("GET", "/clients/%ED%A0%80"), [400]],
  [
    "a body in chunks",
    `${put("", "content-type: application/json\r\ntransfer-encoding: chunked\r\n")}5\r\n{"lev\r\n4\r\nel":\r\n1\r\n1\r\n1\r\n}\r\n0\r\n\r\n`,
    [400],
  ],
  ["two lengths", put("{}", "content-type: application/json\r\ncontent-length: 2\r\ncontent-length: 3\r\n"), [400]],
  ["a length and chunks", put("0\r\n\r\n", "content-length: 3\r\ntransfer-encoding: chunked\r\n"), [400, 415]],
])("%s is answered, and nothing more comes of it", async (_, bytes, statuses) => {
  expect(statuses).toContain((await raw(bytes)).status);
  await isWell();
});

test("a chunk that is none, and a body of which nothing more comes, end that connection alone", async () => {
  const chunked = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
  const { status } = await raw(`${put("", chunked)}zz\r\n{}\r\n`);
  expect([0, 400]).toContain(status);
  // All but the last byte.
  const slow = raw(put('{"level":"warn"', json('{"level":"warn"}')), { isPatient: true });
  await isWell();
  const { status: late, isClosed } = await slow;
  expect([late, isClosed]).toEqual([408, true]);
}, 60_000);

test("listeners that never read are bounded, and keep nobody from being answered", async () => {
  const sockets: { end(): void }[] = [];
  for (let count = 0; count < apiStreamsMax + 4; count++) {
    const opened = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      ...{ hostname: "127.0.0.1", port },
      socket: { data: () => opened.resolve(), close: () => opened.resolve() },
    });
    socket.write(head("GET", `/watch?filter=unread/%23`));
    await opened.promise;
    socket.pause();
    sockets.push(socket);
  }
  expect((await api.ask("/watch?filter=x")).status).toBe(503);
  for (let count = 0; count < 50; count++)
    await api.ask("/publish", { method: "POST", body: { topic: "unread/x", payload: "x".repeat(1000) } });
  await isWell();
  for (const socket of sockets) socket.end();
  await eventually(async () => (await api.peek("/watch?filter=x")) === 200, "there is room again", 30_000);
}, 120_000);
