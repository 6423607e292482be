/** The tools over MQTT-SN: `pub` and `sub` with `--sn`, asleep too, and what is wrong in one line. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { connect } from "../../src/client/for-bun.ts";
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { executable, runExecutable } from "../support/process.ts";
import { SnClient } from "../support/sn-client.ts";

let broker: TestBroker;
let api: string;
beforeAll(async () => {
  const httpPort = await freePort();
  api = `http://127.0.0.1:${httpPort}`;
  broker = await startBroker({ snPort: 0, sn2: true, snRetry: 200, httpPort, httpHost: "127.0.0.1" });
});
afterAll(async () => {
  await broker.stop();
});

const place = (): string[] => ["--sn", "-h", "127.0.0.1", "-p", `${broker.server.sn!.port}`];
const gateway = () => broker.server.sn!.gateway;

function start(args: readonly string[]) {
  const child = Bun.spawn([executable, "sub", ...place(), ...args], { stdout: "pipe", stderr: "pipe" });
  const ended = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { child, ended };
}

/** Starts `mqttzoo sub`, and waits until it has subscribed to what it was not subscribed to before. */
async function startSub(args: readonly string[]) {
  const { router } = broker.server.broker.context;
  const before = router.subscriptions;
  const started = start(args);
  await eventually(() => router.subscriptions > before, "it has subscribed");
  return started;
}

describe("pub and sub --sn", () => {
  test("messages of each QoS pass from one to the other, and both leave", async () => {
    const { ended } = await startSub(["-t", "sn/#", "-v", "-q", "2", "-C", "3"]);
    for (const qos of ["0", "1", "2"])
      expect(await runExecutable(["pub", ...place(), "-t", "sn/topic", "-m", `at ${qos}`, "-q", qos])).toMatchObject({
        code: 0,
        err: "",
      });
    expect(await ended).toEqual(["sn/topic at 0\nsn/topic at 1\nsn/topic at 2\n", "", 0]);
    await eventually(() => gateway().clients === 0, "both have left");
    expect(gateway().metrics.lost).toBe(0);
  });

  test("lines of standard input arrive in their order, in both protocols", async () => {
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    const got: string[] = [];
    const subscription = await client.subscribe("lines", { qos: 1 });
    void (async () => {
      for await (const { text } of subscription) got.push(text);
    })();
    const lines = Array.from({ length: 30 }, (_, index) => `line ${index}`);
    const { code } = await runExecutable(["pub", ...place(), "-t", "lines", "-l", "-q", "1"], {
      input: `${lines.join("\n")}\n`,
    });
    expect(code).toBe(0);
    await eventually(() => got.length === lines.length, "all lines");
    expect(got).toEqual(lines);
    await client.end();
  });

  test("a sleeper gets its mail when it wakes, and is asleep between", async () => {
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    const { ended } = await startSub(["-t", "mail/#", "-q", "1", "-C", "4", "--sleep", "1"]);
    await eventually(() => gateway().sleeping === 1, "it sleeps");
    for (const text of ["one", "two"]) await client.publish("mail/x", text, { qos: 1 });
    await eventually(() => gateway().sleeping === 1 && gateway().clients === 1, "it sleeps again");
    for (const text of ["three", "four"]) await client.publish("mail/x", text, { qos: 1 });
    expect(await ended).toEqual(["one\ntwo\nthree\nfour\n", "", 0]);
    await eventually(() => gateway().clients === 0, "it has left");
    await client.end();
  });

  test("a will is published when it vanishes; a session that is kept has what came meanwhile", async () => {
    const kept = ["-t", "kept/#", "-q", "1", "-i", "kept-sn", "-c"];
    const first = await startSub([...kept, "-E"]);
    expect((await first.ended)[2]).toBe(0);
    await eventually(() => gateway().clients === 0, "it has left");
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    await client.publish("kept/x", "meanwhile", { qos: 1 });
    const again = start([...kept, "-C", "1"]);
    expect((await again.ended)[0]).toBe("meanwhile\n");
    const wills: string[] = [];
    const subscription = await client.subscribe("wills/#");
    void (async () => {
      for await (const { text } of subscription) wills.push(text);
    })();
    const { child } = await startSub(["-t", "x/y", "-k", "1", "--will-topic", "wills/sn", "--will-payload", "gone"]);
    child.kill("SIGKILL");
    await eventually(() => wills.length > 0, "the will");
    expect(wills).toEqual(["gone"]);
    await client.end();
  });
});

test("bench: at QoS 1 and 2 nothing is lost or doubled", async () => {
  for (const qos of ["1", "2"]) {
    const args = ["-c", "4", "-I", "0", "-L", "50", "-q", qos, "-s", "32", "--json", "-d", "60"];
    const { code, out, err } = await runExecutable(["bench", "e2e", ...place(), ...args]);
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ sent: 200, acknowledged: 200, received: 200, lost: 0, duplicates: 0 });
  }
}, 60_000);

test("doctor: a healthy gateway has nothing that is broken", async () => {
  const { code, out, err } = await runExecutable(["doctor", ...place(), "--json"]);
  const rows = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { check: string; result: string; found: string });
  expect(rows.filter(({ result }) => result !== "ok" && result !== "note")).toEqual([]);
  expect([code, err]).toEqual([0, ""]);
  expect(rows.map(({ check }) => check)).toContain("sleep");
  expect(rows.find(({ check }) => check === "gateway")?.found).toBe("number 1");
}, 60_000);

test("clients: what device is there, and in which state", async () => {
  const startDevice = (id: string, ...more: string[]) => startSub(["-i", id, "-c", "-t", id, ...more]);
  const active = await startDevice("state-active");
  const asleep = await startDevice("state-asleep", "--sleep", "600");
  const lost = await startDevice("state-lost", "-k", "1");
  lost.child.kill("SIGKILL");
  const of2 = { will: undefined, packetBytesMax: 0, allowsMoves: false, method: undefined, awakeMax: 0 };
  const newer = await SnClient.open(broker.server.sn!.port, undefined, {
    encode: encodeMessage2,
    decode: decodeMessage2,
  });
  newer.send({
    ...{ kind: "connect", will: false, clean: true, protocolId: 2, duration: 60, clientId: "state-of-2.0" },
    of2: { messageId: 1, expiry: 0, ...of2 },
  });
  await newer.take("connack");
  await eventually(
    () => gateway().sleeping === 1 && gateway().lostProtocol("state-lost") !== undefined,
    "one sleeps, one is lost",
  );
  const list = async () => {
    const { out } = await runExecutable(["clients", "list", "--api", api, "--search", "state-", "--json"]);
    return out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { client_id: string; state: string; protocol: string; listener: string });
  };
  expect(await list()).toMatchObject([
    { client_id: "state-active", state: "active", protocol: "MQTT-SN 1.2", listener: "sn" },
    { client_id: "state-asleep", state: "asleep", protocol: "MQTT-SN 1.2", listener: "sn" },
    { client_id: "state-lost", state: "lost", protocol: "MQTT-SN 1.2", listener: null },
    { client_id: "state-of-2.0", state: "active", protocol: "MQTT-SN 2.0", listener: "sn" },
  ]);
  newer.send({ kind: "disconnect", duration: undefined });
  await newer.take("disconnect");
  newer.close();
  const { out } = await runExecutable(["clients", "show", "state-asleep", "--api", api]);
  expect(out).toMatch(/^state +asleep$/m);
  for (const { child } of [active, asleep]) child.kill("SIGTERM");
  await Promise.all([active.ended, asleep.ended]);
  // One that comes back is lost no more.
  const back = start(["-i", "state-lost", "-c", "-t", "state-lost"]);
  await eventually(async () => (await list()).at(-1)?.state === "active", "it is back");
  back.child.kill("SIGTERM");
  await back.ended;
}, 60_000);

describe("what is wrong is said in one line", () => {
  test.each([
    [["pub", "--sn", "-t", "x", "-m", "y", "-u", "alice"], /--sn does not go with -u: MQTT-SN knows no users/, 2],
    [["sub", "--sn", "-t", "x", "--cafile", "ca.pem"], /--sn does not go with --cafile: there is no TLS over UDP/, 2],
    [["sub", "--sn", "-t", "x", "--zk", "zk1:2181"], /--sn does not go with --zk/, 2],
    [["bench", "e2e", "--sn", "-u", "alice"], /--sn does not go with -u/, 2],
    [["bench", "e2e", "--sn", "-x", "60"], /--sn does not go with -x/, 2],
    [["doctor", "--sn", "--pw", "x"], /--sn does not go with -P/, 2],
    [["doctor", "--sn", "mqtts://localhost"], /--sn does not go with mqtt\(s\):\/\//, 2],
    [["sub", "-t", "x", "--sleep", "60"], /--sleep is of MQTT-SN: give --sn as well/, 2],
    [["sub", "--sn", "-t", "x", "--sleep", "0"], /whole number from 1 to 65535/, 2],
    [["pub", "--sn", "-t", "x/#", "-m", "y"], /is not a topic/, 2],
    [["pub", "--sn", "-h", "no.such.host.invalid", "-t", "x", "-m", "y"], /there is no such host/, 1],
  ] as const)("%p", async (args, pattern, expected) => {
    const { code, out, err } = await runExecutable(args);
    expect(err).toMatch(pattern);
    expect(err.trim().split("\n").length).toBe(1);
    expect([code, out]).toEqual([expected, ""]);
  });

  test("nobody listens there: the kernel says so at once", async () => {
    // A port that TCP has given us: nobody has it over UDP.
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const args = ["--sn", "-h", "127.0.0.1", "-p", `${port}`, "-t", "x"];
    for (const command of [
      ["pub", ...args, "-m", "y"],
      ["sub", ...args],
    ]) {
      const { code, err } = await runExecutable(command);
      expect(err).toMatch(/nobody listens there \(UDP\)/);
      expect(err.trim().split("\n").length).toBe(1);
      expect(code).toBe(1);
    }
    server.close();
  });

  test("a message that no datagram takes", async () => {
    const { code, err } = await runExecutable(["pub", ...place(), "-t", "x/y", "-s", "-q", "1"], {
      input: "x".repeat(70_000),
    });
    expect(err).toMatch(/a datagram takes 65498 bytes, the message has 70000/);
    expect(code).toBe(2);
  });

  test("a filter that the broker refuses", async () => {
    const { code, err } = await runExecutable(["sub", ...place(), "-t", "$share/x", "-C", "1"]);
    expect(err.trim().split("\n").length).toBe(1);
    expect(code).not.toBe(0);
  });
});
