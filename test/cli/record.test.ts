/** `mqttzoo record` and `replay`: what was recorded comes back as it was, at any speed, and nothing is lost. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { messageLine, readLine } from "../../cli/recording/recorded-message.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-record-"));
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

const file = (name: string): string => join(folder, name);

function start(...words: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  return killedAtExit(Bun.spawn([executable, ...words], { stdin: "ignore", stdout: "pipe", stderr: "pipe" }));
}

/** Starts a recorder, and waits until it is subscribed. */
async function record(path: string, ...words: readonly string[]): Promise<Bun.Subprocess<"ignore", "pipe", "pipe">> {
  const { router } = broker.server.broker.context;
  await eventually(() => router.subscriptions === 0, "clients of before are gone");
  const child = start("record", path, ...to, ...words);
  await eventually(() => router.subscriptions === 1, "it subscribes");
  return child;
}

/** Ends a recorder as Ctrl-C does; returns what it has said. */
async function end(child: Bun.Subprocess<"ignore", "pipe", "pipe">): Promise<{ code: number; out: string }> {
  child.kill("SIGINT");
  const out = await new Response(child.stdout).text();
  return { code: await child.exited, out };
}

const linesIn = (path: string): Record<string, unknown>[] =>
  readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("a session", () => {
  test("comes back with topics, payloads, QoS, retain flags, properties and order", async () => {
    const path = file("whole.jsonl");
    const recorder = await record(path, "-t", "in/#");
    const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
    const properties = {
      payloadFormatIndicator: true,
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Buffer.from([0, 255]),
      userProperties: { a: ["1", "2"], b: "3" },
    };
    publisher.publish("in/text", "grüße", { qos: 1, messageId: 1, properties });
    const bytesOnly = Buffer.from([0xff, 0x00, 0xfe]);
    publisher.send({ cmd: "publish", topic: "in/bytes", payload: bytesOnly, qos: 2, messageId: 2, retain: true });
    publisher.publish("in/empty", "", { qos: 0 });
    publisher.send({ cmd: "pubrel", messageId: 2 });
    await eventually(() => linesIn(path).length === 4, "all are in the file");
    const { code, out } = await end(recorder);
    expect(code).toBe(0);
    expect(out).toMatch(/^3 messages of 3 topics in [\d.]+ s: .*whole.jsonl\n$/);
    const [heading] = linesIn(path);
    expect(heading).toMatchObject({ recording: 1, filters: ["in/#"] });

    const subscriber = await RawClient.connect(broker.port, { protocolVersion: 5 });
    await subscriber.subscribe("copy/in/#", { qos: 2, rap: true });
    const { code: ended, out: said } = await runExecutable(["replay", path, ...to, "--prefix", "copy/"]);
    expect([ended, said]).toEqual([0, expect.stringMatching(/^3 messages in [\d.]+ s\n$/)]);
    const came = [];
    for (let count = 0; count < 3; count++) {
      const { topic, payload, qos, retain, properties: had } = await subscriber.take("publish");
      came.push({ topic, payload: Buffer.from(payload).toString("latin1"), qos, retain, had: { ...had } });
    }
    const text = came.find(({ topic }) => topic === "copy/in/text")!;
    expect(text.payload).toBe(Buffer.from("grüße").toString("latin1"));
    expect(text).toMatchObject({ qos: 1, retain: false, had: { ...properties } });
    const bytes = came.find(({ topic }) => topic === "copy/in/bytes");
    expect(bytes).toMatchObject({ payload: "\xff\0\xfe", qos: 2, retain: true });
    expect(came.find(({ topic }) => topic === "copy/in/empty")).toMatchObject({ payload: "", qos: 0, retain: false });
    subscriber.abort();
    publisher.abort();
  }, 60_000);

  test("keeps its pauses, and is as much faster as was asked for; a loop goes on until Ctrl-C", async () => {
    const path = file("paced.jsonl");
    const lines = [0, 600, 1200].map((ms, at) => JSON.stringify({ ms: 5000 + ms, topic: "paced", payload: `${at}` }));
    writeFileSync(path, `${lines.join("\n")}\n`);
    const times = async (...words: readonly string[]): Promise<number> => {
      const began = performance.now();
      expect((await runExecutable(["replay", path, ...to, ...words])).code).toBe(0);
      return performance.now() - began;
    };
    // A busy machine makes pauses longer, never shorter.
    expect(await times()).toBeGreaterThan(1200);
    expect(await times("--speed", "0.8")).toBeGreaterThan(1500);
    const out = (await runExecutable(["replay", path, ...to, "--speed", "max", "--loop", "3"])).out;
    expect(out).toMatch(/^9 messages in /);

    const subscriber = await RawClient.connect(broker.port);
    await subscriber.subscribe("paced");
    const child = start("replay", path, ...to, "--speed", "20", "--loop");
    for (let count = 0; count < 7; count++)
      expect(`${(await subscriber.take("publish")).payload}`).toBe(`${count % 3}`);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    subscriber.abort();
  }, 60_000);

  test("is filtered on its way in and out, and published with another QoS, not retained", async () => {
    const path = file("filtered.jsonl");
    const recorder = await record(path, "-t", "f/#", "-T", "f/no", "-C", "2");
    const publisher = await RawClient.connect(broker.port);
    for (const topic of ["f/no", "f/a", "f/b"]) publisher.publish(topic, topic, { qos: 0 });
    expect(await recorder.exited).toBe(0);
    expect(linesIn(path).map(({ topic }) => topic)).toEqual([undefined, "f/a", "f/b"]);
    const lines = ["f/a", "f/b"].map((topic) => JSON.stringify({ ms: 0, topic, payload: "x", qos: 0, retain: true }));
    writeFileSync(path, lines.join("\n"));
    const subscriber = await RawClient.connect(broker.port, { protocolVersion: 5 });
    await subscriber.subscribe("f/#", { qos: 2, rap: true });
    const words = ["-t", "f/+", "-T", "f/a", "-q", "1", "--no-retain"];
    expect((await runExecutable(["replay", path, ...to, ...words])).code).toBe(0);
    expect(await subscriber.take("publish")).toMatchObject({ topic: "f/b", qos: 1, retain: false });
    subscriber.abort();
    publisher.abort();
  }, 60_000);

  test("goes through pipes: - is standard output and standard input", async () => {
    const recorder = await record("-", "-t", "piped", "-C", "1");
    const publisher = await RawClient.connect(broker.port);
    publisher.publish("piped", "through", { qos: 0 });
    const out = await new Response(recorder.stdout).text();
    expect(out.trim().split("\n").length).toBe(2);
    const subscriber = await RawClient.connect(broker.port);
    await subscriber.subscribe("piped");
    expect((await runExecutable(["replay", "-", ...to], { input: out })).code).toBe(0);
    expect(`${(await subscriber.take("publish")).payload}`).toBe("through");
    subscriber.abort();
    publisher.abort();
  }, 60_000);
});

test("a recorder that is killed has in its file whatever it has acknowledged; a line cut off is left out", async () => {
  const path = file("killed.jsonl");
  const recorder = await record(path, "-t", "killed");
  const publisher = await RawClient.connect(broker.port);
  for (let id = 1; id <= 50; id++) publisher.publish("killed", `${id}`, { qos: 1, messageId: id });
  await eventually(() => linesIn(path).length > 40, "most are there");
  recorder.kill("SIGKILL");
  await recorder.exited;
  const whole = readFileSync(path, "utf8");
  writeFileSync(path, `${whole}{"ms":12,"topic":"kil`);
  const { code, out, err } = await runExecutable(["replay", path, ...to, "--speed", "max"]);
  expect([code, err]).toEqual([0, `mqttzoo: the last line of ${path} is cut off: it is left out\n`]);
  expect(out).toStartWith(`${whole.trim().split("\n").length - 1} messages`);
  publisher.abort();
}, 60_000);

test.each([
  ["a file that is there", ["record", "HERE"], /there is such a file already; --replace takes its place\n$/],
  ["a folder that is not there", ["record", "NONE/x"], /cannot record to .*: no such file or directory.*\n$/],
  ["a recording that is not there", ["replay", "NONE"], /cannot read .*: no such file or directory.*\n$/],
  ["a file that is none", ["replay", "HERE"], /HERE, line 2: it is no JSON\n$/],
  ["a loop over a pipe", ["replay", "-", "--loop"], /--loop needs a file/],
  ["a speed that is none", ["replay", "HERE", "--speed", "0"], /from 0.001 to 1000000, or max/],
  ["a filter that is none", ["record", "NEW", "-t", "a#"], /is not a topic filter/],
] as const)(
  "%s is told of in one line",
  async (_, words, said) => {
    writeFileSync(file("HERE"), '{"recording":1}\nhello\n');
    const args = words.map((word) => (/^[A-Z]/.test(word) ? file(word) : word));
    const { code, out, err } = await runExecutable([...args, ...to]);
    expect([code === 0, out, err.trim().split("\n").length]).toEqual([false, "", 1]);
    expect(err).toMatch(said);
    expect(existsSync(file("NEW"))).toBe(false);
  },
  60_000,
);

test("a full disk is told of; what was not written is not acknowledged, and comes again", async () => {
  const path = file("full.jsonl");
  const session = ["-i", "full", "-c", "-q", "1", "-t", "full"];
  const { router } = broker.server.broker.context;
  await eventually(() => router.subscriptions === 0, "clients of before are gone");
  // The shell lets files grow to some kilobytes; whoever ignores the signal is told by the call.
  const limited = `trap '' XFSZ; ulimit -f 8; exec "$0" "$@"`;
  const words = ["sh", "-c", limited, executable, "record", path, ...to, ...session];
  const child = killedAtExit(Bun.spawn(words, { stdin: "ignore", stdout: "pipe", stderr: "pipe" }));
  await eventually(() => router.subscriptions === 1, "it subscribes");
  const publisher = await RawClient.connect(broker.port);
  for (let id = 1; id <= 30; id++) publisher.publish("full", `${id} `.padEnd(1000, "x"), { qos: 1, messageId: id });
  const err = await new Response(child.stderr).text();
  expect([await child.exited, err]).toEqual([1, `mqttzoo: cannot record to ${path}: file too large\n`]);
  const second = file("rest.jsonl");
  const numbersIn = (one: string): string[] =>
    readFileSync(one, "utf8")
      .split("\n")
      .slice(1, -1)
      .map((line) => JSON.parse(line).payload.split(" ")[0]);
  await publisher.takeMany("puback", 30);
  expect((await runExecutable(["record", second, ...to, ...session, "-W", "2"])).code).toBe(0);
  const all = new Set([...numbersIn(path), ...numbersIn(second)]);
  expect([...all].sort()).toEqual(Array.from({ length: 30 }, (_, at) => `${at + 1}`).sort());
  publisher.abort();
}, 60_000);

test("a disk that is full at once is told of at once", async () => {
  const { code, err } = await runExecutable(["record", "/dev/full", "--replace", ...to]);
  expect([code, err]).toEqual([1, "mqttzoo: cannot record to /dev/full: no space left on device\n"]);
}, 60_000);

test("whatever message is read again as it was written", () => {
  const text = fc.string({ unit: "binary", maxLength: 20 }).filter((one) => one.isWellFormed() && !one.includes("\0"));
  const properties = fc.record(
    {
      payloadFormatIndicator: fc.boolean(),
      messageExpiryInterval: fc.nat(0xffff_ffff),
      contentType: text,
      correlationData: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
      userProperties: fc.dictionary(text, fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })), {
        noNullPrototype: true,
      }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      fc.record({
        topic: text.filter((one) => one !== "" && !/[+#]/.test(one)),
        payload: fc.uint8Array({ maxLength: 50 }),
        qos: fc.constantFrom<QoS>(0, 1, 2),
        retain: fc.boolean(),
        properties: fc.option(properties, { nil: undefined }),
      }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (given, ms) => {
        const read = readLine(messageLine({ ...given, dup: false, packetId: 1 }, ms))!;
        expect(Math.abs(read.ms - ms)).toBeLessThan(0.001);
        expect([read.topic, Buffer.from(read.payload).toString("hex")]).toEqual([
          given.topic,
          Buffer.from(given.payload).toString("hex"),
        ]);
        expect(read.options).toEqual({
          qos: given.qos,
          retain: given.retain,
          ...(given.properties !== undefined && Object.keys(given.properties).length > 0
            ? { properties: given.properties }
            : {}),
        });
      },
    ),
  );
});
