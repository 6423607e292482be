/** `pub --template`: filled anew for each message, in payload and topic; and nobody's payload changes without it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { executable, runExecutable } from "../support/process.ts";

let broker: TestBroker;
let to: readonly string[];

beforeAll(async () => {
  broker = await startBroker({ snPort: 0 });
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
});
afterAll(async () => {
  await broker.stop();
});

/** Publishes, and returns the lines that a subscriber prints. */
async function heard(count: number, words: readonly string[], { input = "", place = to } = {}): Promise<string[]> {
  const { router } = broker.server.broker.context;
  const child = Bun.spawn([executable, "sub", ...to, "-t", "#", "-v", "-C", `${count}`], { stdout: "pipe" });
  await eventually(() => router.subscriptions === 1, "the subscription");
  expect(await runExecutable(["pub", ...place, ...words], { input })).toEqual({ code: 0, out: "", err: "" });
  const out = await new Response(child.stdout).text();
  await eventually(() => router.subscriptions === 0, "it has left");
  return out.trimEnd().split("\n");
}

test("a message is filled anew with each repetition, and so is its topic", async () => {
  const message = '{"n": {{count}}, "t": {{random 18.0 24.5}}, "at": {{time ms}}, "id": "{{uuid}}"}';
  const words = ["-t", "room/{{count 5}}", "-m", message, "--template", "--repeat", "3", "-q", "1"];
  const lines = await heard(3, words);
  const ids = new Set<string>();
  for (const [index, line] of lines.entries()) {
    const [topic, ...payload] = line.split(" ");
    const { n, t, at, id } = JSON.parse(payload.join(" "));
    expect([topic, n]).toEqual([`room/${5 + index}`, index + 1]);
    expect(t >= 18 && t <= 24.5 && Math.abs(Date.now() - at) < 60_000).toBe(true);
    expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    ids.add(id);
  }
  expect(ids.size).toBe(3);
}, 120_000);

test("lines of standard input, then made as another format, over MQTT-SN, too", async () => {
  const input = "{{count}}\nplain é\n{{choice x}}{{count}}\n";
  expect(await heard(3, ["-t", "lines", "-l", "--template"], { input })).toEqual([
    "lines 1",
    "lines plain é",
    "lines x3",
  ]);
  const hex = ["-t", "hex", "--template", "--format", "hex", "-m", "4{{count}}", "--repeat", "2"];
  expect(await heard(2, hex)).toEqual(["hex A", "hex B"]);
  const place = ["--sn", "-h", "127.0.0.1", "-p", `${broker.server.sn!.port}`];
  const sn = ["-t", "sn/{{count}}", "--template", "-m", "{{count}}", "--repeat", "2", "-q", "1"];
  expect(await heard(2, sn, { place })).toEqual(["sn/1 1", "sn/2 2"]);
}, 120_000);

test("without --template everything is sent as it is", async () => {
  expect(await heard(1, ["-t", "a/{{count}}", "-m", "{{count}} {{nonsense}}"])).toEqual([
    "a/{{count}} {{count}} {{nonsense}}",
  ]);
}, 120_000);

test.each([
  [["-t", "a", "-m", "{{nonsense}}"], /^mqttzoo: the message: \{\{nonsense\}\}: there are \{\{count\}\} /],
  [["-t", "a/{{x}}", "-m", "x"], /^mqttzoo: the topic: \{\{x\}\}: there are /],
  [["-t", "a/{{choice #}}", "-m", "x"], /"a\/#" is not a topic/],
])("%j is one line, before anything is dialled", async (words, said) => {
  const { code, out, err } = await runExecutable(["pub", "-p", "1", ...words, "--template"]);
  expect([code, out, err.trim().split("\n").length]).toEqual([2, "", 1]);
  expect(err).toMatch(said);
});

test("a line that cannot be filled is named, and those before it are there", async () => {
  const { router } = broker.server.broker.context;
  const child = Bun.spawn([executable, "sub", ...to, "-t", "l", "-C", "1"], { stdout: "pipe" });
  await eventually(() => router.subscriptions === 1, "the subscription");
  const { code, err } = await runExecutable(["pub", ...to, "-t", "l", "-l", "--template", "-q", "1"], {
    input: "{{count}}\n{{random 2 1}}\nthree\n",
  });
  expect([code, err]).toEqual([
    2,
    "mqttzoo: line 2: {{random 2 1}}: 2 is more than 1; what follows is not published\n",
  ]);
  expect(await new Response(child.stdout).text()).toBe("1\n");
}, 120_000);
