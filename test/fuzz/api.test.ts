/** The HTTP API under random requests: each is answered as the document has it, and the broker lives on. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";

let broker: TestBroker;
let api: ApiClient;
beforeAll(async () => {
  const port = await freePort();
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
