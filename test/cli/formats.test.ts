/** Payloads in other formats through `pub` and `sub`: made, shown, saved, and told of where they are none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../src/client/for-bun.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type Ended, executable, runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-formats-"));
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

const pub = (words: readonly string[], input = ""): Promise<Ended> =>
  runExecutable(["pub", ...to, ...words], { input });

/** Runs `sub`, publishes when it has subscribed, and returns what it has come to. */
async function heard(words: readonly string[], publish: (client: Client) => Promise<unknown>): Promise<Ended> {
  const { router } = broker.server.broker.context;
  const before = router.subscriptions;
  const child = Bun.spawn([executable, "sub", ...to, ...words], { stdout: "pipe", stderr: "pipe" });
  const said = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await eventually(() => router.subscriptions > before, "the subscription");
  const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
  await publish(client);
  await client.end();
  const [out, err] = await said;
  if (!words.includes("-c")) await eventually(() => router.subscriptions === before, "it has left");
  return { code: await child.exited, out, err };
}

describe("from pub to sub", () => {
  test.each([
    ["cbor", '{"kWh": 21.5, "id": 18446744073709551615}', '{"kWh":21.5,"id":18446744073709551615}'],
    ["msgpack", '["é", null]', '["é",null]'],
    ["hex", "a5 01 FF", "a501ff"],
    ["base64", "AP+l", "AP+l"],
    ["text", "é", "é"],
    ["json", '{ "a" :\n 1.0 }', '{"a":1.0}'],
  ])("%s", async (format, written, printed) => {
    const topic = `through/${format}`;
    expect(await pub(["-t", topic, "-r", "-q", "1", "--format", format, "-m", written])).toEqual({
      code: 0,
      out: "",
      err: "",
    });
    const sub = ["sub", ...to, "-t", topic, "-C", "1", "--format", format];
    expect(await runExecutable(sub)).toEqual({ code: 0, out: `${printed}\n`, err: "" });
    expect((await runExecutable([...sub, "-v"])).out).toBe(`${topic} ${printed}\n`);
    expect((await runExecutable([...sub, "-F", "<%p> %l"])).out).toMatch(
      new RegExp(`^<${RegExp.escape(printed)}> \\d+\n$`),
    );
    const line = JSON.parse((await runExecutable([...sub, "--output", "json"])).out);
    expect([line.topic, line.format, line.retain]).toEqual([topic, format, 1]);
    if (/cbor|msgpack|json/.test(format)) expect(line.payload).toEqual(JSON.parse(printed));
    else expect(line.payload).toBe(printed);
  });

  test("lines of standard input, up to one that is none", async () => {
    const lines = ["[1]", '{"two":2}', "three", "[4]"];
    const ended = await heard(["-t", "lines", "--format", "msgpack", "-C", "3"], async () => {
      const { code, err } = await pub(["-t", "lines", "-l", "-q", "1", "--format", "msgpack"], lines.join("\n"));
      expect(code).toBe(2);
      expect(err).toMatch(/^mqttzoo: line 3 is not JSON to make msgpack of \(.*\); what follows is not published\n$/);
      await pub(["-t", "lines", "--format", "msgpack", "-m", '"last"']);
    });
    expect(ended).toEqual({ code: 0, out: '[1]\n{"two":2}\n"last"\n', err: "" });
  });

  test.each([
    ["hex", "a", /the message is not hex \(there must be pairs of hex digits\)/],
    ["json", "{", /the message is not json \(/],
    ["cbor", "{", /the message is not JSON to make cbor of \(/],
    ["msgpack", "18446744073709551616", /needs more than 64 bits/],
    ["protobuf", "x", /--format.*Allowed choices are text, hex/],
  ])("%s of %j is refused in one line, and nothing is published", async (format, written, words) => {
    const { metrics } = broker.server.broker.context;
    const before = metrics.publishesReceived;
    const { code, out, err } = await pub(["-t", "refused", "-r", "--format", format, "-m", written]);
    expect([code, out, err.trim().split("\n").length]).toEqual([2, "", 1]);
    expect(err).toMatch(words);
    expect(metrics.publishesReceived).toBe(before);
  });

  test("a request and its answer", async () => {
    const child = Bun.spawn([executable, "sub", ...to, "-t", "ask", "--respond", "cat", "--quiet"], {
      stdout: "ignore",
    });
    const { router } = broker.server.broker.context;
    await eventually(() => router.subscriptions > 0, "the subscription");
    expect(await pub(["-t", "ask", "--request", "--format", "cbor", "-m", '{"a": 1}'])).toEqual({
      code: 0,
      out: '{"a": 1}\n'.replace(" ", ""),
      err: "",
    });
    child.kill();
    await child.exited;
    await eventually(() => router.subscriptions === 0, "it has left");
  });
});

test.each([
  ["cbor", "ff"],
  ["msgpack", "c1"],
  ["json", "7b"],
  ["text", "ff"],
])("payloads that are not %s are printed in hex, and told of once", async (format, hex) => {
  const bad = Buffer.from(hex, "hex");
  const publish = async (client: Client): Promise<void> => {
    await client.publish("odd/\x1b[2J", bad);
    await client.publish("odd/b", bad);
    await client.publish("odd/c", "");
  };
  const asked = ["-t", "odd/#", "--format", format];
  const plain = await heard([...asked, "-C", "3", "-F", "%p"], publish);
  expect([plain.code, plain.out]).toEqual([0, `${hex}\n${hex}\n\n`]);
  expect(plain.err).toMatch(
    /^mqttzoo: a message of odd\/\\x1b\[2J is not \w+ \(.*\): it is printed in hex, as all that are not\n$/,
  );
  const quiet = await heard([...asked, "-C", "3", "--quiet", "--output", "json"], publish);
  expect([quiet.code, quiet.err]).toEqual([0, ""]);
  const lines = quiet.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map(({ format, payload }) => [format, payload])).toEqual([
    ["hex", hex],
    ["hex", hex],
    [format, null],
  ]);
});

test("--output json says whether a payload is text, with its properties", async () => {
  const { out } = await heard(["-t", "plain/#", "--output", "json", "-C", "2", "-q", "1"], async (client) => {
    await client.publish("plain/a", 'é "\u202e', { qos: 1 });
    await client.publish("plain/b", Buffer.from("ff00", "hex"));
  });
  const [first, second] = out.trim().split("\n");
  expect(first).not.toContain("\u202e");
  expect(JSON.parse(first!)).toMatchObject({ payload: 'é "\u202e', format: "text", qos: 1, payloadlen: 7 });
  expect(JSON.parse(second!)).toMatchObject({ payload: "ff00", format: "hex", payloadlen: 2 });
  const refused = await runExecutable(["sub", ...to, "-t", "a", "--output", "json", "-F", "%p"]);
  expect([refused.code, refused.err]).toEqual([2, "mqttzoo: --output json does not go with -F\n"]);
});

describe("--save-dir", () => {
  test("saves each message whole under a name of its own, which no topic leads elsewhere", async () => {
    const into = join(folder, "deep/er");
    const topics = ["a/b", "../../escape", "/etc/passwd", "..", "x".repeat(300), "a/b", "nul\u0001\\"];
    const { code, out, err } = await heard(
      ["-t", "#", "-R", "--save-dir", into, "-C", `${topics.length}`],
      async (client) => {
        for (const [index, topic] of topics.entries()) await client.publish(topic, Buffer.of(index, 255, 0));
      },
    );
    expect([code, err]).toEqual([0, ""]);
    const names = out.trim().split("\n");
    expect(names.map((name) => join(into, name.slice(into.length + 1)))).toEqual(names);
    expect(readdirSync(into).sort()).toEqual(names.map((name) => name.slice(into.length + 1)));
    expect(readdirSync(folder)).toEqual(["deep"]);
    for (const [index, name] of names.entries()) expect([...readFileSync(name)]).toEqual([index, 255, 0]);
    expect(names[1]).toMatch(/\/\d{8}T\d{6}\.\d{3}Z-000002-..%2F..%2Fescape$/);
  });

  test("goes with a format, and names the file in JSON", async () => {
    const into = join(folder, "formats");
    const { out } = await heard(["-t", "f", "--save-dir", into, "-C", "1", "--output", "json"], (client) =>
      client.publish("f", "text"),
    );
    const { file, payload } = JSON.parse(out);
    expect([readFileSync(file, "utf8"), payload]).toEqual(["text", "text"]);
  });

  test("a folder that cannot be written is one line, and the message is not acknowledged", async () => {
    const none = await runExecutable(["sub", ...to, "-t", "a", "--save-dir", "/proc/none"]);
    expect([none.code, none.out, none.err.trim().split("\n").length]).toEqual([2, "", 1]);
    expect(none.err).toMatch(/cannot make the folder \/proc\/none: /);
    const into = join(folder, "gone");
    const session = ["-i", "saver", "-c", "-q", "1"];
    const { code, err } = await heard(["-t", "gone", "--save-dir", into, ...session], (client) => {
      rmSync(into, { recursive: true });
      return client.publish("gone", "kept", { qos: 1 });
    });
    expect(code).toBe(1);
    expect(err).toMatch(/^mqttzoo: cannot save a message of gone as \S+: no such file or directory.*\n$/);
    const again = await runExecutable(["sub", ...to, "-t", "gone", ...session, "-C", "1"]);
    expect(again.out).toBe("kept\n");
  });
});
