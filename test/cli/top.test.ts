/** `mqttzoo top`: what brokers tell, as a page, as lines for a pipe, as JSON; and a terminal that is left as it was. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { SysValues } from "../../cli/top/sys-values.ts";
import { TopicRates } from "../../cli/top/topic-rates.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { executable, runExecutable, runOnTerminal } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";
import { ScriptedBroker } from "../support/scripted-broker.ts";

let broker: TestBroker;
let to: readonly string[];
let publisher: RawClient;
let timer: ReturnType<typeof setInterval>;

beforeAll(async () => {
  broker = await startBroker();
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
  publisher = await RawClient.connect(broker.port, { clientId: "busy" });
  timer = setInterval(() => {
    publisher.publish("busy/one", "xx");
    publisher.publish("busy/one", "xx");
    publisher.publish("busy/\x1b[2Jtwo", "x".repeat(500));
  }, 20);
});
afterAll(async () => {
  clearInterval(timer);
  publisher.abort();
  await broker.stop();
});

describe("values below $SYS", () => {
  /** Tells values as a broker does, each ten seconds. */
  function told(...batches: readonly Record<string, string>[]): SysValues {
    const sys = new SysValues();
    for (const [at, values] of batches.entries())
      for (const [topic, value] of Object.entries(values)) sys.take(`$SYS/${topic}`, value, 1000 + at * 10_000);
    return sys;
  }

  test("of mosquitto: a counter that has not changed is not told again", () => {
    const first = {
      "broker/version": "mosquitto version 2.0.18",
      "broker/clients/connected": "3",
      "broker/publish/messages/received": "100",
      "broker/publish/messages/dropped": "5",
    };
    const sys = told(first, { "broker/publish/messages/received": "250" });
    expect([sys.text("version"), sys.number("clients")]).toEqual(["mosquitto version 2.0.18", 3]);
    expect([sys.rate("received"), sys.rate("dropped"), sys.rate("sent")]).toEqual([15, 0, undefined]);
    expect(told(first).rate("received")).toBeUndefined();
  });

  test("of a cluster of EMQX: its nodes are added up; a node that begins anew takes nothing away", () => {
    const of = (node: string, received: string) => ({
      [`brokers/${node}/metrics/messages/received`]: received,
      [`brokers/${node}/stats/connections/count`]: "7",
      [`brokers/${node}/version`]: "5.8.0",
    });
    const sys = told({ ...of("a@1", "10"), ...of("b@2", "30") }, { ...of("a@1", "20"), ...of("b@2", "40") });
    expect([sys.number("clients"), sys.rate("received"), sys.text("version")]).toEqual([14, 2, "5.8.0"]);
    const again = told({ ...of("a@1", "1000") }, { ...of("a@1", "50") });
    expect(again.rate("received")).toBe(5);
  });

  test("of any: what is no number is none", () => {
    const sys = told({ "broker/clients/connected": "many", "broker/bytes/sent": "12 bytes" });
    expect([sys.number("clients"), sys.number("bytesSent"), sys.number("sessions")]).toEqual([
      undefined,
      12,
      undefined,
    ]);
  });
});

test("topics are counted: the busiest first, and in bounds", () => {
  const rates = new TopicRates(0);
  for (let at = 0; at < 60_000; at++) rates.add(`t/${at}`, 10);
  for (let at = 0; at < 5; at++) rates.add("t/7", 10);
  const { busiest, all, topics } = rates.take(2000, 2);
  expect(busiest).toEqual([
    { topic: "(others)", messages: 5000, bytes: 50_000 },
    { topic: "t/7", messages: 3, bytes: 30 },
  ]);
  expect([all.messages, topics]).toEqual([30_002.5, 50_001]);
  expect(rates.take(4000, 2)).toMatchObject({ busiest: [], topics: 0 });
});

test("over a pipe it prints a line for each interval, until it is told to end", async () => {
  const child = killedAtExit(
    Bun.spawn([executable, "top", ...to, "--interval", "1"], { stdin: "ignore", stdout: "pipe", stderr: "pipe" }),
  );
  let seen = "";
  for await (const bytes of child.stdout) {
    seen += Buffer.from(bytes).toString();
    if (seen.split("\n").length > 2) child.kill("SIGTERM");
  }
  expect(await child.exited).toBe(0);
  const line =
    /^\d{4}-\S+Z {2}clients \d+ {2}in [\d.,]+\/s {2}out \S+\/s {2}dropped \S+\/s {2}refused \S+\/s {2}most on busy\/one \(.*\/s\)$/;
  for (const one of seen.trimEnd().split("\n")) expect(one).toMatch(line);
  expect(seen).not.toContain("\x1b");
}, 60_000);

test("--once prints one page, and --json an object; topics of others cannot speak to the terminal", async () => {
  const { code, out, err } = await runExecutable(["top", ...to, "--once", "--interval", "1"]);
  expect([code, err]).toEqual([0, ""]);
  expect(out).toMatch(/^127.0.0.1:\d+ {2}mqttzoo [\d.]+, up \d+ seconds {2}[\d:]+ UTC\nclients \d+ +sessions \d+/);
  expect(out).toMatch(
    /MESSAGES\/S +BYTES\/S +TOPIC\n[\d.,]+ +[\d.]+ k?B +busy\/one\n[\d.,]+ +[\d.]+ kB +busy\/\\x1b\[2Jtwo/,
  );
  const json = await runExecutable(["top", ...to, "--once", "--json", "--interval", "1"]);
  const look = JSON.parse(json.out);
  expect(look).toMatchObject({ broker: `127.0.0.1:${broker.port}`, topicCount: 2 });
  expect(look.topics[0].topic).toBe("busy/one");
  expect(look.receivedPerSecond).toBeGreaterThan(0);
  const alone = JSON.parse(
    (await runExecutable(["top", ...to, "--once", "--json", "--no-topics", "--interval", "1"])).out,
  );
  expect([alone.topics, alone.topicCount, alone.clients]).toEqual([undefined, undefined, 0]);
}, 60_000);

test("over the API it tells clients, too", async () => {
  const page = await runExecutable(["top", "--data", broker.folder, "--once", "--interval", "1"]);
  expect([page.code, page.err]).toEqual([0, ""]);
  expect(page.out).toMatch(/^1 broker {2}mqttzoo .*\nclients 1 +sessions 1/);
  expect(page.out).toMatch(/IN\/S +OUT\/S .* CLIENT +USER +FROM\n.* busy +- +127.0.0.1:\d+/);
}, 60_000);

test("on a terminal it draws a page, ends with q, and leaves the terminal as it was", async () => {
  const child = runOnTerminal(["top", ...to, "--interval", "1"]);
  let seen = "";
  const reading = (async () => {
    for await (const bytes of child.stdout) seen += Buffer.from(bytes).toString();
  })();
  await eventually(() => seen.includes("busy/one"), "the page");
  child.stdin.write("q");
  await child.stdin.flush();
  expect(await child.exited).toBe(0);
  await reading;
  expect(seen).toStartWith("\x1b[?1049h\x1b[?25l");
  expect(seen).toEndWith("\x1b[?25h\x1b[?1049l");
  // The page was drawn once an interval, from its first line, and never scrolled.
  expect(seen.split("\x1b[H").length).toBeGreaterThan(1);
  expect(seen).not.toContain("\x1b[2Jtwo");
}, 60_000);

test("a broker that tells nothing of itself is looked at by what is published", async () => {
  const scripted = new ScriptedBroker();
  const child = killedAtExit(
    Bun.spawn([executable, "top", "-h", "127.0.0.1", "-p", `${scripted.port}`, "--once", "--json", "--interval", "1"], {
      ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    }),
  );
  const connection = await scripted.next();
  await connection.admit();
  const { messageId } = await connection.take("subscribe");
  connection.send({ cmd: "suback", messageId, granted: [0x87, 0] });
  for (let at = 0; at < 5; at++) connection.send({ cmd: "publish", topic: "a", payload: "x", qos: 0 });
  const look = JSON.parse(await new Response(child.stdout).text());
  expect([look.clients, look.topics[0].topic]).toEqual([undefined, "a"]);
  expect(look.receivedPerSecond).toBeGreaterThan(1);
  expect(await new Response(child.stderr).text()).toMatch(
    /^mqttzoo: the broker refused \$SYS\/#: 0x87 not authori[sz]ed\n$/,
  );
  expect(await child.exited).toBe(0);
  scripted.stop();
}, 60_000);

test.each([
  [["-h", "127.0.0.1", "-p", "1"], 1, /^mqttzoo: cannot connect to 127.0.0.1:1: .*nobody listens there\n$/],
  [["--no-topics", "-t", "a"], 2, /-t does not go with --no-topics/],
  [["--token-file", "x"], 2, /--token-file belongs to --api/],
  [["--data", "/nowhere"], 2, /no broker runs alone on \/nowhere/],
] as const)("%j is one line", async (words, code, said) => {
  const ended = await runExecutable(["top", ...words]);
  expect([ended.code, ended.out, ended.err.trim().split("\n").length]).toEqual([code, "", 1]);
  expect(ended.err).toMatch(said);
});
