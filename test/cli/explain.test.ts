/** `mqttzoo trace` and `mqttzoo explain`: over the socket of a broker that runs alone, and over HTTP, as who may. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashPassword } from "../../src/access/hashes.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type BrokerProcess, executable, runExecutable, startBrokerProcess } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-explain-cli-"));
const [data, auditLog] = [join(folder, "data"), join(folder, "audit")];
let broker: BrokerProcess;
let httpPort: number;
beforeAll(async () => {
  const users = join(folder, "users");
  writeFileSync(users, `vera:viewer:${await hashPassword("v")}\nolga:operator:${await hashPassword("o")}\n`);
  httpPort = await freePort();
  const args = [
    "--http-port",
    String(httpPort),
    "--http-host",
    "127.0.0.1",
    "--http-users",
    users,
    "--audit-log",
    auditLog,
  ];
  broker = await startBrokerProcess(data, { args });
});
afterAll(async () => {
  await broker.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
});

const connect = (clientId: string): Promise<RawClient> =>
  RawClient.connect(broker.port, { protocolVersion: 5, clientId });

/** Runs a command that goes on, does something once it has said `words`, and returns all that it has said. */
async function during(args: readonly string[], words: string, act: () => Promise<void>): Promise<string> {
  const child = Bun.spawn([executable, ...args], { stdout: "pipe", stderr: "pipe" });
  let said = "";
  const listen = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    for await (const chunk of stream) said += Buffer.from(chunk).toString("utf8");
  };
  const heard = [listen(child.stdout), listen(child.stderr)];
  await eventually(() => said.includes(words), `${words}: of ${said}`);
  await act();
  await Promise.all(heard);
  expect([await child.exited, said]).toEqual([0, said]);
  return said;
}

test("trace prints what happens, a line each, until its time is over", async () => {
  const said = await during(
    ["trace", "--client", "traced", "--for", "2s", "--payload", "4", "--data", data],
    "begun",
    async () => {
      const client = await connect("traced");
      client.publish("t/x", "hello", { qos: 1, messageId: 3 });
      await client.take("puback");
      client.disconnect();
    },
  );
  expect(said).toMatch(/^[\d:.]{12} test begun {4}: followed for 2 s/m);
  expect(said).toMatch(/test received {2}traced: PUBLISH t\/x: QoS 1, packet id 3, 5 bytes "hell"/);
  expect(said).toMatch(/test sent {6}traced: PUBACK: packet id 3: 0x10 no matching subscribers/);
  expect(said).toMatch(/test routed {4}traced: t\/x: goes to nobody: no subscription matches/);
  expect(said).toContain("the trace has ended: its 2 s are over");
});

test("trace over HTTP is for operators, and prints JSON", async () => {
  const place = (who: string): string[] => ["--api", `http://${who}@127.0.0.1:${httpPort}`];
  const refused = await runExecutable(["trace", "--topic", "j/#", ...place("vera:v")]);
  expect([refused.code, refused.out, refused.err]).toEqual([1, "", "mqttzoo: vera may only look\n"]);
  const said = await during(
    ["trace", "--topic", "j/#", "--for", "1s", "--json", ...place("olga:o")],
    "begun",
    async () => {
      const client = await connect("json");
      client.publish("j/x", "1");
      await client.ping();
      client.abort();
    },
  );
  const rows = said
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  expect(rows.map(({ kind }) => kind)).toEqual(["begun", "published", "routed"]);
});

test("each trace is in the audit log: whose, over which way, of what", async () => {
  const lines = (): string[] => {
    const all = readFileSync(auditLog, "utf8").trimEnd().split("\n");
    return all
      .map((line) => JSON.parse(line))
      .map(({ who, on, status, after }) => {
        const shown = after === null ? "" : ` ${after.state} ${after.payload_bytes ?? `${after.events > 0}`}`;
        return `${who} ${on.client_id ?? on.topic} ${status}${shown}`;
      });
  };
  await eventually(() => lines().length === 5, `of both that were followed, and of the one that was refused`);
  expect(lines()).toEqual([
    "(control socket) traced 200 following 4",
    "(control socket) traced 200 ended true",
    "vera j/# 403",
    "olga j/# 200 following 0",
    "olga j/# 200 ended true",
  ]);
});

test("explain says first what keeps the message away", async () => {
  const client = await connect("c1");
  await client.subscribe("home/+");
  const ended = await runExecutable(["explain", "--client", "c1", "--topic", "home/hall/temp", "--data", data]);
  expect([ended.code, ended.err]).toEqual([0, ""]);
  expect(ended.out.split("\n").slice(0, 3)).toEqual([
    "It does not come because:",
    "  [not subscribed] none of the 1 filters of c1 matches home/hall/temp (broker test)",
    "  [filter] home/+ does not match home/hall/temp: it ends after level 2, and the topic has 3: only # at the end " +
      "matches further levels (broker test)",
  ]);
  const viewer = ["--api", `http://vera:v@127.0.0.1:${httpPort}`, "--json"];
  const json = await runExecutable(["explain", "--client", "nobody", "--topic", "a", ...viewer]);
  expect(JSON.parse(json.out.split("\n")[0]!)).toMatchObject({
    cause: "no session",
    weight: "certain",
    broker: "test",
  });
  client.abort();
});

test("explain --message tells of the last ones, and with --for follows the next", async () => {
  const reader = await connect("reader");
  await reader.subscribe("m/x");
  const said = await during(
    ["explain", "--message", "m/x", "--for", "30s", "--data", data],
    "waiting for the next",
    async () => {
      const writer = await connect("writer");
      // The command says that it waits a moment before it is told of what comes.
      const timer = setInterval(() => writer.publish("m/x", "1"), 100);
      await reader.take("publish");
      await Bun.sleep(1000);
      clearInterval(timer);
      writer.abort();
    },
  );
  expect(said).toContain("[receiver] reader is connected here and gets them at QoS 0 at most (broker test)");
  expect(said).toMatch(/test published writer: m\/x: published at QoS 0, 1 bytes/);
  expect(said).toMatch(/test delivered reader: m\/x: sent to the client at QoS 0/);
  reader.abort();
});

test("what is no question ends with one line that says what to do", async () => {
  for (const [words, why, code] of [
    [["trace"], "say what to follow: --client, --user, --address or --topic", 2],
    [["trace", "--topic", "a/#/b"], '"a/#/b" is no topic filter', 1],
    [["trace", "--address", "here"], "is no range of addresses", 1],
    [["trace", "--client", "c", "--for", "2h"], "is no time from 1 to 3600 seconds", 2],
    [["explain", "--client", "c"], "say either --client ID and --topic TOPIC, or --message TOPIC", 2],
    [["explain", "--client", "c", "--topic", "a", "--for", "5s"], "--for goes with --message", 2],
    [["explain", "--client", "c", "--topic", "a/+"], "is no topic: it must not hold wildcards", 1],
  ] as const) {
    const ended = await runExecutable([...words, "--data", data]);
    expect([ended.code, ended.out, ended.err.trimEnd().split("\n").length]).toEqual([code, "", 1]);
    expect(ended.err).toContain(why);
  }
});
