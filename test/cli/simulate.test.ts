/** `mqttzoo simulate`: devices that come, measure, vanish and come back as a file says; and what is wrong in a file. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { readScenario } from "../../cli/simulate/scenario.ts";
import { randomOf } from "../../cli/simulate/seeded-random.ts";
import { readValue } from "../../cli/simulate/values.ts";
import { YamlFile } from "../../cli/simulate/yaml-reader.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { executable, runExecutable } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-simulate-"));
const path = join(folder, "devices.yaml");
let broker: TestBroker;
let to: readonly string[];

beforeAll(async () => {
  broker = await startBroker();
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a file; returns the rows of its counts. */
async function simulate(
  yaml: string,
  ...words: readonly string[]
): Promise<{ code: number; rows: AnyPacket[]; err: string }> {
  writeFileSync(path, yaml);
  const { code, out, err } = await runExecutable(["simulate", path, ...to, "--json", ...words]);
  const rows = out.split("\n").filter(Boolean);
  return { code, rows: rows.map((line) => JSON.parse(line)), err };
}

test("devices publish by their schedules, with values in topics and payloads; what they subscribe to comes", async () => {
  const watcher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await watcher.subscribe("room/#", { qos: 1 });
  const { code, rows, err } = await simulate(
    `duration: 2s
devices:
  - name: thermo
    count: 3
    start: 100ms
    values:
      t: { walk: { from: 20, step: 1, min: 19, max: 21 }, digits: 1 }
      door: { choice: [open, closed] }
    publish:
      - { on: connect, topic: "room/{{device}}/state", payload: "{{client}} on", qos: 1 }
      - every: 100ms
        topic: "room/{{device}}/climate"
        limit: 4
        json: { t: "{{t}}", again: "{{t}}", door: "{{door}}", n: "{{count}}", fixed: [1, true, null, "x {{device}}"] }
    subscribe:
      - { topic: "room/{{device}}/#", qos: 1 }
`,
    "-q",
    "1",
  );
  expect([code, err]).toEqual([0, ""]);
  expect(rows).toMatchObject([
    { devices: "thermo", count: 3, connected: 3, failed: 0, lost: 0, published: 15, acknowledged: 15, refused: 0 },
  ]);
  expect(rows[0].received).toBeGreaterThanOrEqual(12);
  const came = await watcher.takeMany("publish", 15);
  const states = came
    .filter(({ topic }) => topic.endsWith("/state"))
    .map(({ topic, payload }) => `${topic} ${payload}`);
  expect(states.sort()).toEqual([1, 2, 3].map((device) => `room/${device}/state thermo-${device} on`));
  for (const { topic, payload } of came.filter(({ topic }) => topic.endsWith("/climate"))) {
    const { t, again, door, n, fixed } = JSON.parse(`${payload}`);
    expect(t >= 19 && t <= 21 && t === again && /^(open|closed)$/.test(door) && n >= 1 && n <= 4).toBe(true);
    expect(fixed).toEqual([1, true, null, `x ${topic.split("/")[1]}`]);
  }
  watcher.abort();
}, 60_000);

test("they go and come back; those that go without a word leave their wills; sessions wait for them", async () => {
  const watcher = await RawClient.connect(broker.port);
  await watcher.subscribe("gone/#", { qos: 1 });
  const { code, rows } = await simulate(`duration: 3s
devices:
  - name: flaky
    count: 4
    session-expiry: 1m
    online: 100ms..300ms
    away: 50ms..100ms
    drops: 50%
    will: { topic: "gone/{{device}}", payload: "{{client}}", qos: 1 }
  - { name: steady, client-id: one, publish: [{ every: 200ms, topic: steady }] }
`);
  expect(code).toBe(0);
  const [flaky, steady, all] = rows;
  expect(flaky.connected).toBeGreaterThan(8);
  expect(flaky.dropped).toBeGreaterThan(0);
  expect(flaky.dropped).toBeLessThan(flaky.connected);
  expect([steady.connected, steady.dropped, all.devices, all.count]).toEqual([1, 0, "(all)", 5]);
  const wills = await watcher.takeMany("publish", flaky.dropped);
  for (const { topic, payload } of wills) expect(`${payload}`).toBe(`flaky-${topic.split("/")[1]}`);
  await watcher.ping();
  expect(watcher.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  watcher.abort();
}, 60_000);

test("the example of the help is a file that works", async () => {
  const { out: example } = await runExecutable(["simulate", "--example"]);
  const { out: help } = await runExecutable(["simulate", "--help"]);
  expect(help).toContain(example.trimEnd().replace(/^/gm, "  "));
  const { code, rows, err } = await simulate(example, "--duration", "2", "--seed", "7");
  expect([code, err]).toEqual([0, ""]);
  expect(rows[0]).toMatchObject({ devices: "thermometer", count: 100, failed: 0, refused: 0 });
  expect(rows[0].published).toBeGreaterThan(5);
}, 60_000);

test("Ctrl-C ends it in order, with a table; a line a second says how it goes", async () => {
  writeFileSync(path, "devices:\n  - { name: a, count: 2, publish: [{ every: 50ms, topic: a }] }\n");
  const words = [executable, "simulate", path, ...to];
  const child = killedAtExit(Bun.spawn(words, { stdin: "ignore", stdout: "pipe", stderr: "pipe" }));
  let said = "";
  for await (const bytes of child.stderr) {
    said += Buffer.from(bytes).toString();
    if (said.split("\n").length > 2) child.kill("SIGINT");
  }
  const out = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  expect(said).toMatch(/^ +1 s {2}online 2 of 2 {2}published [\d.]+\/s/);
  expect(out).toMatch(/^DEVICES +COUNT +CONNECTED/);
  expect(out.split("\n")[1]).toMatch(/^a +2 +2 +0 +0 +0 +\d+/);
}, 60_000);

test("nobody there, and what is refused, is told of in one line, with exit code 1", async () => {
  writeFileSync(path, "duration: 300ms\ndevices: [{ name: a }]\n");
  const { code, err } = await runExecutable(["simulate", path, "-h", "127.0.0.1", "-p", "1", "--json"]);
  expect(code).toBe(1);
  expect(err).toMatch(/^mqttzoo: \d+ connections? failed: a-1: cannot connect to 127.0.0.1:1: .*\n$/);
  const refused = await simulate("duration: 300ms\ndevices: [{ name: a, subscribe: [{ topic: $share/g/ }] }]\n");
  expect([refused.code, refused.err.trim().split("\n").length]).toEqual([2, 1]);
}, 60_000);

test.each([
  ["devices:\n  - nme: a\n", 2, /there is no "nme" here; there are name, count, start,/],
  ["devices:\n  - name: a\n    count: 0\n", 3, /a whole number from 1 to 1000000 is due/],
  ["devices:\n  - name: a\n    publish:\n      - topic: a\n", 4, /either every: .* or on: connect is due/],
  ["devices:\n  - name: a\n    publish:\n      - topic: a\n        every: 5\n", 5, /5 is no time: write 500ms/],
  ["devices:\n  - name: a\n    publish:\n      - every: 1s\n        topic: a/#\n", 5, /"a\/#" is not a topic/],
  [
    "devices:\n  - name: a\n    publish:\n      - every: 1s\n        topic: '{{x}}'\n",
    5,
    /\{\{x\}\}: there are \{\{device\}\}/,
  ],
  ["devices:\n  - name: a\n    count: 2\n    client-id: same\n", 4, /each device needs a client id of its own/],
  ["devices:\n  - name: a\n  - name: a\n", 3, /there are devices named a already/],
  ["devices:\n  - name: a\n    values:\n      t: { walk: {}, normal: [1, 2] }\n", 4, /one of these is due: uniform,/],
  ["devices:\n  - name: a\n    values:\n      t: { normal: [1] }\n", 4, /\[MEAN, DEVIATION\] is due/],
  ["devices:\n  - name: a\n    name: b\n", 3, /this key stands there twice/],
  ["devices:\n  - name: a\n    drops: 120%\n", 3, /a percentage is due/],
  ["devices:\n  - name: a\n   count: 1\n", 3, /line 3/],
  ["devices: [\n", 2, /line \d/],
  ["", 1, /lines of "key: value" are due/],
  ["duration: 1s\n", 1, /there are no devices/],
  [
    "devices:\n  - name: a\n    publish:\n      - { every: 1s, topic: a, format: cbor, payload: x }\n",
    4,
    /no cbor can be made/,
  ],
] as const)("%j is told of with its line", async (yaml, line, why) => {
  const wrong = await readScenario("FILE", yaml, 0).then(
    () => undefined,
    (error) => error,
  );
  expect(wrong).toBeInstanceOf(OperatingError);
  expect(wrong.message).toStartWith(`FILE, line ${line}: `);
  expect(wrong.message).toMatch(why);
  expect(wrong.message).not.toContain("\n");
});

test("a file that is wrong, and flags that belong into it, are told of before anything is dialled", async () => {
  const { code, err } = await simulate("devices:\n  - nme: a\n", "-p", "1");
  expect([code, err]).toEqual([2, expect.stringMatching(/^mqttzoo: .*devices.yaml, line 2: there is no "nme" here/)]);
  const flag = await simulate("devices: [{ name: a }]", "-i", "me");
  expect([flag.code, flag.err]).toEqual([2, expect.stringContaining("-i does not go with simulate: client-id: in ")]);
  const checked = await simulate("devices: [{ name: a, count: 3 }]", "--check", "-p", "1");
  expect(checked.rows).toEqual([{ devices: "a", count: 3, publishes: 0, subscriptions: 0 }]);
}, 60_000);

test("whatever a file holds is a scenario, or is told of with its line", async () => {
  const leaf = fc.oneof(
    fc.constantFrom("5s", "1s..2s", "{{device}}", "connect", "20%"),
    fc.integer(),
    fc.constant(null),
  );
  const key = fc.constantFrom("devices", "name", "count", "publish", "every", "topic", "values", "t", "walk", "json");
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie("tree"), { maxLength: 3 }), fc.dictionary(key, tie("tree"))),
  }));
  await fc.assert(
    fc.asyncProperty(fc.array(tree, { maxLength: 2 }), async (devices) => {
      try {
        await readScenario("FILE", JSON.stringify({ devices }), 0);
      } catch (error) {
        expect(error).toBeInstanceOf(OperatingError);
        expect((error as Error).message).toMatch(/^FILE, line 1: /);
      }
    }),
  );
});

test("values stay within what they are said to be, and are the same for the same seed", () => {
  const drawsOf = (value: string, seed: number): number[] => {
    const draw = readValue(new YamlFile("FILE", value).root)();
    const random = randomOf(seed, "x");
    return Array.from({ length: 2000 }, (_, at) => Number(draw({ random, wall: at * 1000 })));
  };
  const meanOf = (all: readonly number[]): number => all.reduce((sum, one) => sum + one, 0) / all.length;
  const within = (all: readonly number[], min: number, max: number): boolean =>
    all.every((one) => one >= min && one <= max);
  for (const seed of [1, 2, 3]) {
    expect(within(drawsOf("uniform: [5, 6]", seed), 5, 6)).toBe(true);
    expect(Math.abs(meanOf(drawsOf("normal: [60, 5]", seed)) - 60)).toBeLessThan(1);
    expect(within(drawsOf("{ normal: [60, 50], min: 0, max: 100 }", seed), 0, 100)).toBe(true);
    expect(Math.abs(meanOf(drawsOf("exponential: 10", seed)) - 10)).toBeLessThan(1.5);
    expect(within(drawsOf("walk: { from: 1, step: 5, min: 0, max: 2 }", seed), 0, 2)).toBe(true);
    expect(within(drawsOf("sine: { min: -1, max: 1, period: 1m }", seed), -1, 1)).toBe(true);
    expect(drawsOf("count: 7", seed).slice(0, 3)).toEqual([7, 8, 9]);
    expect(drawsOf("uniform: [0, 1]", seed)).toEqual(drawsOf("uniform: [0, 1]", seed));
  }
  expect(drawsOf("uniform: [0, 1]", 1)).not.toEqual(drawsOf("uniform: [0, 1]", 2));
});
