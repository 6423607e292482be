/**
 * `mqttzoo import` of what Debian's mosquitto has kept: its clients go on at ours where they were, with their
 * subscriptions, what waits for them, and exactly once what was under way at QoS 2.
 */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { chunksOf } from "../support/mosquitto-db.ts";
import { runExecutable, startBrokerProcess } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-import-store-"));
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
const lasting = (clientId: string, more: AnyPacket = {}): AnyPacket => ({ clientId, clean: false, ...more });
const five = { protocolVersion: 5, properties: { sessionExpiryInterval: 5000 } };
const text = ({ topic, payload }: AnyPacket): string => `${topic} ${payload}`;

/** Runs mosquitto while clients do something, ends it in order, and returns the path of what it has kept. */
async function keptBy(name: string, during: (port: number) => Promise<void>): Promise<string> {
  const port = await freePort();
  mkdirSync(at(name));
  chmodSync(at(name), 0o777);
  const lines = [`listener ${port} 127.0.0.1`, "allow_anonymous true", "persistence true", "max_queued_messages 0"];
  writeFileSync(at(`${name}.conf`), [...lines, `persistence_location ${at(name)}/`, "log_dest none", ""].join("\n"));
  const command = ["mosquitto", "-c", at(`${name}.conf`)];
  const child = killedAtExit(Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" }));
  await untilListening(port);
  await during(port);
  child.kill("SIGTERM");
  await child.exited;
  return at(`${name}/mosquitto.db`);
}

/** Connects with a session that lasts, subscribes, and goes. */
async function subscribed(port: number, filters: Readonly<Record<string, number>>, how: AnyPacket): Promise<void> {
  const client = await RawClient.connect(port, how);
  for (const [filter, qos] of Object.entries(filters)) await client.subscribe(filter, { qos });
  client.disconnect();
  await client.untilClosed();
}

/** Leaves a bit of everything at a broker. Returns the packet id of a message that was not acknowledged. */
async function leaveAll(port: number): Promise<number> {
  // mosquitto 2.0 keeps no shared subscriptions, but what waits for a session by them.
  await subscribed(port, { "a/#": 1, "$share/g/s/+": 1 }, lasting("one"));
  await subscribed(port, { "a/#": 1 }, { ...lasting("two"), ...five });
  await subscribed(port, { "q/#": 2 }, lasting("halfway"));
  const halfway = await RawClient.connect(port, lasting("halfway"));
  const publisher = await RawClient.connect(port, lasting("publisher"));
  for (const [topic, retain] of [
    ["r/1", true],
    ["a/1", false],
    ["a/2", true],
    ["s/1", false],
  ] as const) {
    publisher.publish(topic, `m-${topic}`, { qos: 1, messageId: 1, retain });
    await publisher.take("puback");
  }
  publisher.publish("q/1", "once", { qos: 2, messageId: 1 });
  await publisher.take("pubrec");
  publisher.send({ cmd: "pubrel", messageId: 1 });
  await publisher.take("pubcomp");
  // It has the message, and mosquitto does not know that it has.
  const { messageId } = await halfway.take("publish");
  // This one is not released.
  publisher.publish("a/held", "held", { qos: 2, messageId: 77 });
  await publisher.take("pubrec");
  halfway.abort();
  publisher.abort();
  return messageId;
}

test("clients of a mosquitto go on where they were", async () => {
  let messageId = 0;
  const db = await keptBy("whole", async (port) => {
    messageId = await leaveAll(port);
  });
  const data = at("whole/ours");
  const dry = await runExecutable(["import", db, "--data", data, "--dry-run"]);
  const counts = ["sessions: 4", "subscriptions: 3", "retained messages: 2", "messages that wait for sessions: 6"];
  const all = [...counts, "messages at QoS 2 that were not released: 1"];
  expect([dry.err, dry.out.trim().split("\n")]).toEqual(["", [...all, `would be written: ${data}`]]);
  expect(existsSync(data)).toBe(false);
  const done = await runExecutable(["import", db, "--data", data]);
  expect([done.code, done.err, done.out.trim().split("\n")]).toEqual([0, "", [...all, `written: ${data}`]]);
  const audit = await runExecutable(["bank", "audit", "--data", data]);
  expect([audit.code, audit.out]).toEqual([0, "it balances\n"]);

  const broker = await startBrokerProcess(data);
  const reader = await RawClient.connect(broker.port);
  await reader.subscribe("#", { qos: 1 });
  const retained = await reader.takeMany("publish", 2);
  expect(retained.map(text).sort()).toEqual(["a/2 m-a/2", "r/1 m-r/1"]);
  const one = await RawClient.connect(broker.port, lasting("one"));
  expect(one.connack.sessionPresent).toBe(true);
  const mail = await one.takeMany("publish", 4);
  expect(mail.map(text)).toEqual(["a/1 m-a/1", "a/2 m-a/2", "s/1 m-s/1", "a/held held"]);
  for (const packet of mail) one.send({ cmd: "puback", messageId: packet.messageId });
  const two = await RawClient.connect(broker.port, { ...lasting("two"), ...five });
  expect((await two.takeMany("publish", 3)).map(text)).toEqual(["a/1 m-a/1", "a/2 m-a/2", "a/held held"]);

  // Under the id that it had: who has it already takes it for the same.
  const halfway = await RawClient.connect(broker.port, lasting("halfway"));
  expect(await halfway.take("publish")).toMatchObject({ messageId, dup: true, qos: 2, topic: "q/1" });
  halfway.send({ cmd: "pubrec", messageId });
  expect((await halfway.take("pubrel")).messageId).toBe(messageId);
  halfway.send({ cmd: "pubcomp", messageId });

  // What was received is not published once more when its publisher says it again.
  const publisher = await RawClient.connect(broker.port, lasting("publisher"));
  publisher.publish("a/held", "held", { qos: 2, messageId: 77, dup: true });
  await publisher.take("pubrec");
  publisher.send({ cmd: "pubrel", messageId: 77 });
  await publisher.take("pubcomp");
  publisher.publish("a/new", "new", { qos: 1, messageId: 2 });
  expect(text(await one.take("publish"))).toBe("a/new new");
  for (const client of [reader, one, two, halfway, publisher]) client.abort();
  await broker.kill("SIGTERM");
}, 90_000);

const of = chunksOf(5);

test("a store of mosquitto 1.6; the user and the time of what is retained are kept", async () => {
  const expiresAt = Math.round(Date.now() / 1000) + 1000;
  const path = at("old.db");
  const message = of.message(1, "r", "x", { retain: 1, user: "alice", expiresAt });
  writeFileSync(path, of.file(of.settings(), message, of.retained(1), of.client("c"), of.subscription("c", "t")));
  const data = at("old");
  expect((await runExecutable(["import", path, "--data", data])).code).toBe(0);
  const { out } = await runExecutable(["retained", "list", "--data", data, "--json"]);
  const expires = new Date(expiresAt * 1000).toISOString();
  expect(JSON.parse(out)).toMatchObject({ topic: "r", user: "alice", expires });
});

test("what the bank cannot pay for is counted, and the exit code says so", async () => {
  const path = at("poor.db");
  writeFileSync(path, of.file(of.settings(), of.message(1, "r", "x".repeat(100_000), { retain: 1 }), of.retained(1)));
  const config = at("poor.yaml");
  writeFileSync(config, `data: ${at("poor")}\nbank-capital: 2000\n`);
  const { code, out } = await runExecutable(["import", path, "--config", config]);
  expect([code, out]).toEqual([
    1,
    expect.stringMatching(/retained messages: 0\n[\s\S]*left out: 1 messages: the bank cannot pay for them/),
  ]);
});

test("nothing that is there is written over, and what was broken off is no store", async () => {
  const path = at("one.db");
  writeFileSync(path, of.file(of.settings(), of.client("c"), of.message(1, "t", "x"), of.delivery("c", 1)));
  const refused = async (args: readonly string[], words: string): Promise<void> => {
    const { code, err } = await runExecutable(["import", ...args]);
    expect([code === 0, err.trim().split("\n").length]).toEqual([false, 1]);
    expect(err).toContain(words);
  };
  mkdirSync(at("full"));
  writeFileSync(at("full/notes"), "mine");
  await refused([path, "--data", at("full")], "is not empty");
  mkdirSync(at("half.importing"));
  await refused([path, "--data", at("half")], "half.importing is left of an import that was broken off");
  writeFileSync(at("cut.db"), of.file(of.client("c")).subarray(0, -1));
  await refused([at("cut.db"), "--data", at("cut")], `cannot read ${at("cut.db")}: it ends within a chunk`);
  await refused([path, "--out", at("x")], "--out is for mosquitto.conf");
  writeFileSync(at("a.conf"), "port 1\n");
  await refused([at("a.conf"), "--data", at("x")], "is no mosquitto.db");
  for (const name of ["half", "cut", "x"]) expect(existsSync(at(name))).toBe(false);
  await eventually(() => !existsSync(at("cut.importing")), "nothing is left");
});
