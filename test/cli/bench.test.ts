/** `mqttzoo bench` at brokers that keep their word, and at one that does not. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer } from "node:net";
import { Aedes } from "aedes";
import { type Running, start } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { runExecutable } from "../support/process.ts";

let ours: TestBroker;
let mosquitto: Running;
beforeAll(async () => {
  ours = await startBroker();
  mosquitto = await start("mosquitto");
});
afterAll(async () => {
  await ours.stop();
  await mosquitto.stop();
});

async function bench(port: number, args: readonly string[]) {
  const { code, out, err } = await runExecutable(["bench", ...args, "-h", "127.0.0.1", "-p", String(port)]);
  return { code, out, err };
}

type Figures = Partial<
  Record<"sent" | "expected" | "received" | "acknowledged" | "lost" | "duplicates" | "connectSeconds", number>
> & {
  readonly deliverMs?: Record<string, number>;
};

/** Runs a load, and returns its report as JSON too. */
async function measured(
  port: number,
  args: readonly string[],
): Promise<{ readonly code: number; readonly err: string } & Figures> {
  const { code, out, err } = await bench(port, [...args, "--json"]);
  return { ...(JSON.parse(out) as Figures), code, err };
}

const well = { code: 0, err: "", failed: 0, lost: 0, duplicates: 0, outOfOrder: 0, refused: 0 };

test.each([
  ["mqttzoo", 0],
  ["mqttzoo", 1],
  ["mqttzoo", 2],
  ["mosquitto", 0],
  ["mosquitto", 1],
  ["mosquitto", 2],
])("e2e at %s, QoS %i: each message once, counted and timed", async (name, qos) => {
  const port = name === "mqttzoo" ? ours.port : mosquitto.port;
  const args = ["e2e", "-c", "3", "--subscribers", "6", "-t", "load/%i", "--filter", "load/#", "-L", "200"];
  const result = await measured(port, [...args, "-I", "1", "-s", "32", "-q", String(qos)]);
  expect(result).toMatchObject({ ...well, publishers: 3, subscribers: 6, connected: 9, qos });
  expect([result.sent, result.expected, result.received]).toEqual([600, 3600, 3600]);
  expect(result.acknowledged).toBe(qos === 0 ? 0 : 600);
  const deliver = result.deliverMs!;
  expect(deliver.p50).toBeGreaterThan(0);
  expect(deliver["p99.9"]).toBeLessThanOrEqual(deliver.max!);
});

test("several processes share the clients, and their figures are one", async () => {
  const args = ["e2e", "-c", "5", "-I", "0", "-L", "1000", "-q", "1", "--processes", "3"];
  const result = await measured(ours.port, args);
  expect(result).toMatchObject({
    ...well,
    publishers: 5,
    connected: 10,
    sent: 5000,
    received: 5000,
    acknowledged: 5000,
  });
});

test("a group that shares, and a scenario of the suite", async () => {
  const result = await measured(ours.port, ["sharedsub-20-3-20-400", "-d", "1"]);
  expect(result).toMatchObject({ ...well, scenario: "sharedsub-20-3-20-400", qos: 1, payloadBytes: 16, connected: 23 });
  expect(result.received).toBe(result.sent!);
  expect(result.sent).toBeGreaterThan(200);
});

test("pub in one process is measured by sub in another", async () => {
  const subscribing = measured(ours.port, ["sub", "-c", "2", "-t", "two/#", "-d", "3"]);
  const publishing = await measured(ours.port, ["pub", "-c", "2", "-t", "two/%c", "--rate", "500", "-d", "2"]);
  const subscribed = await subscribing;
  expect(publishing).toMatchObject({ code: 0, connected: 2, subscribers: 0 });
  expect(subscribed).toMatchObject({ code: 0, connected: 2, duplicates: 0, outOfOrder: 0 });
  expect(subscribed.received).toBeGreaterThan(100);
});

test("sessions that outlive the load keep what comes meanwhile for the next one", async () => {
  const kept = ["-c", "2", "--no-clean", "-x", "60", "-t", "kept/#", "-q", "1"];
  await measured(ours.port, ["sub", ...kept, "-d", "1"]);
  await measured(ours.port, ["pub", "-c", "1", "-t", "kept/x", "-q", "1", "-L", "50", "-I", "1"]);
  const back = await measured(ours.port, ["sub", ...kept, "-d", "1"]);
  expect(back).toMatchObject({ code: 0, connected: 2, received: 100, duplicates: 0, outOfOrder: 0 });
});

test("connections: so many, so fast", async () => {
  const result = await measured(ours.port, ["conn", "-c", "100", "-R", "200", "-d", "1"]);
  expect(result).toMatchObject({ code: 0, connected: 100, failed: 0 });
  expect(result.connectSeconds).toBeGreaterThan(0.45);
});

test("what a broker loses and repeats is found", async () => {
  const aedes = await Aedes.createBroker();
  let forwarded = 0;
  aedes.authorizeForward = (_, packet) => {
    const { topic, payload } = packet;
    forwarded++;
    // One of ten is lost; one of ten is told twice.
    if (forwarded % 10 === 5) return null;
    if (forwarded % 10 === 7)
      aedes.publish({ cmd: "publish", topic, payload, qos: 1, retain: false, dup: false }, () => {});
    return packet;
  };
  const server = createServer(aedes.handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as { port: number };
    const args = ["e2e", "-c", "1", "-I", "1", "-L", "100", "-q", "1"];
    const result = await measured(port, args);
    expect(result.code).toBe(1);
    expect(result.err).toMatch(/^mqttzoo: \d+ messages of QoS 1 were lost\n$/);
    expect(result.lost).toBeGreaterThan(5);
    expect(result.duplicates).toBeGreaterThan(5);
    expect(Number(result.received) + Number(result.lost)).toBe(100);
  } finally {
    server.close();
    aedes.close();
  }
}, 120_000);

test("for people: a line a second, figures, a picture; what cannot be is one line", async () => {
  const shown = await bench(ours.port, ["e2e", "-c", "2", "--rate", "100", "-d", "2"]);
  expect(shown.code).toBe(0);
  expect(shown.err).toMatch(/^ {3}1 s {2}connected 4 {2}sent \d+\/s {2}received \d+\/s$/m);
  expect(shown.out).toMatch(/^lost {10}0 of \d+$/m);
  expect(shown.out).toMatch(/^deliver, ms: p50 [\d.]+ {2}p90 [\d.]+ {2}p99 [\d.]+ {2}p99\.9 [\d.]+ {2}max [\d.]+$/m);
  expect(shown.out).toContain("█");
  for (const [args, words] of [
    [["e2e", "-t", "a/#"], '"a/#" is not a topic'],
    [["sub", "-t", "a/#/b"], '"a/#/b" is not a topic filter'],
    [["nothing-1-2"], "there is no scenario nothing-1-2"],
    [[], "name conn, pub, sub, e2e or a scenario"],
    [["pub", "-q", "3"], "It must be a whole number from 0 to 2"],
  ] as const) {
    const { code, err } = await bench(ours.port, args);
    expect([code, err.split("\n").length]).toEqual([2, 2]);
    expect(err).toContain(words);
  }
  const refused = await bench(1, ["conn", "-c", "2"]);
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.err).toContain("2 connections failed: cannot connect to 127.0.0.1:1: ECONNREFUSED");
});
