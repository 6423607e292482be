/**
 * The answers to "why did my message not arrive?". Causes are planted, one by one, with real clients at a real broker;
 * each must be named in the answer, as what keeps the message away.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-explain-"));
const aclFile = join(folder, "acl");
let broker: TestBroker;
let api: ApiClient;
beforeAll(async () => {
  writeFileSync(aclFile, "# all but one\npattern readwrite #\npattern deny x/secret\n");
  const httpPort = await freePort();
  const limits = { maxQueued: 3, mailboxFull: "refuse", bankCapital: 20_000, bankWait: 60 } as const;
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1", aclFile, allowAnonymous: true, ...limits });
  api = await ApiClient.open(httpPort);
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const connect = (clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(broker.port, { protocolVersion: 5, clientId, ...more });
const kept = { clean: false, properties: { sessionExpiryInterval: 600 } };

async function away(clientId: string, filter: string, qos: 0 | 1 | 2 = 1): Promise<void> {
  const client = await connect(clientId, kept);
  await client.subscribe(filter, { qos });
  client.disconnect();
  await client.untilClosed();
}

/** Publishes at QoS 1 and returns PUBACK's reason code. */
async function publish(topic: string, payload: string, more: AnyPacket = {}): Promise<number> {
  const client = await connect(`to-${topic}`);
  client.publish(topic, payload, { qos: 1, messageId: 1, ...more });
  const { reasonCode = 0 } = await client.take("puback");
  client.abort();
  return reasonCode;
}

async function why(clientId: string, topic: string): Promise<string[]> {
  const query = new URLSearchParams({ client_id: clientId, topic });
  const { findings, unanswered } = await api.get(`/explain?${query}`);
  expect(unanswered).toEqual([]);
  return findings.map(({ weight, cause, text }: Record<string, string>) => `${weight} ${cause}: ${text}`);
}

/** Expects that a cause is named as one that keeps the message away, in these words. */
async function named(clientId: string, topic: string, cause: string, words: string): Promise<void> {
  const told = await why(clientId, topic);
  expect(told.filter((line) => line.startsWith(cause))).toContainEqual(expect.stringContaining(words));
}

describe("a message did not come, and the answer names why", () => {
  test("there is no such session", async () => {
    await named("nobody", "a/b", "certain no session", "no broker knows a session of nobody");
    await named(
      "nobody",
      "a/b",
      "possible no publisher",
      "nothing was published on a/b".replace("nothing", "anything"),
    );
  });

  test("it is away", async () => {
    await away("is-away", "aw/#");
    await named("is-away", "aw/x", "certain away", "is not connected; broker test keeps its session");
  });

  test("it has not subscribed, or to something else: the level is named", async () => {
    const client = await connect("other");
    await named("other", "home/kitchen/temp", "certain not subscribed", "has no subscription at all");
    for (const filter of ["home/+", "home/bath/temp", "Home/kitchen/temp", "home/kitchen/temp/+", "+/x/#"])
      await client.subscribe(filter);
    const of = async (words: string) => named("other", "home/kitchen/temp", "certain filter", words);
    await of("home/+ does not match home/kitchen/temp: it ends after level 2, and the topic has 3");
    await of('home/bath/temp does not match home/kitchen/temp: level 2 must be "bath", and is "kitchen"');
    await of('level 1 must be "Home", and is "home": they differ in case');
    await of("home/kitchen/temp/+ does not match home/kitchen/temp: it has 4 levels, the topic ends after level 3");
    await client.subscribe("#");
    await named(
      "other",
      "$SYS/x",
      "certain filter",
      "a wildcard at the beginning does not match topics that begin with $",
    );
    client.abort();
  });

  test("it may not read it, or the publisher may not write it: the rule is named by file and line", async () => {
    const client = await connect("no-right");
    await client.subscribe("x/#");
    await named("no-right", "x/secret", "certain no right", `${aclFile} line 3: pattern deny x/secret`);
    expect(await publish("x/secret", "x")).toBe(0x87);
    await named("no-right", "x/secret", "certain refused", `line 3: pattern deny x/secret`);
    client.abort();
  });

  test("it was granted QoS 0 and was away", async () => {
    await away("lowered", "q/x", 0);
    await publish("q/x", "lost");
    await named("lowered", "q/x", "certain qos", "q/x was granted QoS 0");
  });

  test("it has published it itself, with No Local", async () => {
    const client = await connect("local");
    await client.subscribe("l/x", { qos: 0, nl: true });
    client.publish("l/x", "to all others");
    await client.ping();
    expect(client.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    await named("local", "l/x", "certain no local", "what it publishes does not come back to it");
    client.abort();
  });

  test("another member of its group took it", async () => {
    const members = await Promise.all(["share-a", "share-b"].map((name) => connect(name)));
    for (const member of members) await member.subscribe("$share/g/s/x");
    await publish("s/x", "one");
    await eventually(() => members.some(({ packets }) => packets.some(({ cmd }) => cmd === "publish")), "one has it");
    const at = members.findIndex(({ packets }) => packets.some(({ cmd }) => cmd === "publish"));
    const [taker, other] = at === 0 ? ["share-a", "share-b"] : ["share-b", "share-a"];
    await named(other!, "s/x", "certain shared", `was given to another member: ${taker}`);
    expect((await why(taker!, "s/x")).filter((line) => line.startsWith("certain shared"))).toEqual([]);
    for (const member of members) member.abort();
  });

  test("it was retained, and Retain Handling keeps it away", async () => {
    await publish("r/x", "kept", { retain: true });
    const client = await connect("retain");
    await client.subscribe("r/x", { qos: 0, rh: 2 });
    await named("retain", "r/x", "certain retain handling", "r/x has Retain Handling 2");
    client.abort();
  });

  test("it is larger than the client takes", async () => {
    const client = await connect("small", { properties: { maximumPacketSize: 50 } });
    await client.subscribe("p/x");
    await publish("p/x", "x".repeat(100));
    await named("small", "p/x", "certain packet size", "larger than the client's Maximum Packet Size");
    client.abort();
  });

  test("it has expired before the client came back", async () => {
    await away("late", "e/x");
    expect(await publish("e/x", "x", { properties: { messageExpiryInterval: 1 } })).toBe(0);
    // Its time must be over before its client comes.
    await Bun.sleep(1100);
    const client = await connect("late", kept);
    await client.ping();
    await eventually(
      async () => (await why("late", "e/x")).some((line) => line.startsWith("certain expired")),
      "it is told that it has expired",
    );
    await named("late", "e/x", "certain expired", "its Message Expiry Interval was over before it was sent");
    client.abort();
  });

  test("the bank cannot pay for it", async () => {
    await away("poor", "b/x");
    expect(await publish("b/x", "x".repeat(900_000))).toBe(0x97);
    await named("poor", "b/x", "certain refused", "a publish of to-b/x on b/x was refused (bank)");
  });

  test("its mailbox is full", async () => {
    await away("full", "m/x");
    const codes: number[] = [];
    for (let count = 0; count < 4; count++)
      codes.push(await publish("m/x", "x", { properties: { messageExpiryInterval: 60 } }));
    expect(codes).toEqual([0, 0, 0, 0x97]);
    await named("full", "m/x", "certain mailbox full", "holds its maximum of 3 messages");
    await named("full", "m/x", "certain refused", "was refused (mailbox)");
  });

  test("it does not acknowledge what it was sent", async () => {
    const client = await connect("window", { properties: { receiveMaximum: 1 } });
    await client.subscribe("w/x", { qos: 1 });
    await publish("w/x", "1");
    await client.take("publish");
    await publish("w/x", "2");
    await named("window", "w/x", "certain window full", "has not acknowledged 1 messages");
    client.abort();
  });

  test("its publisher is held back", async () => {
    await away("waits", "h/x");
    const old = await connect("old-publisher", { protocolVersion: 4 });
    old.publish("h/x", "x".repeat(900_000), { qos: 1, messageId: 1 });
    await eventually(
      async () => (await why("waits", "h/x")).some((line) => line.startsWith("certain held back: old-publisher")),
      "the publisher is told of",
    );
    await named("waits", "h/x", "certain held back", "a publish of its was refused and is tried again (--bank-wait)");
    old.abort();
  });

  test("it reads too slowly", async () => {
    const slow = await connect("slow");
    await slow.subscribe("f/x");
    slow.pause();
    const writer = await connect("flood");
    for (let count = 0; count < 40; count++) writer.publish("f/x", "x".repeat(1_000_000));
    await eventually(
      async () => (await why("slow", "f/x")).some((line) => line.startsWith("certain slow")),
      "the reader is told of",
    );
    for (const one of [slow, writer]) one.abort();
  });

  test("it was never let in", async () => {
    const wrong = await RawClient.dial(broker.port, 5);
    wrong.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clientId: "turned-away", clean: true, keepalive: 0 },
      properties: { authenticationMethod: "none" },
    });
    await wrong.closed;
    await eventually(
      async () => (await why("turned-away", "a")).some((line) => line.startsWith("certain connect refused")),
      "the refusal is told of",
    );
  });

  test("another device has the same client id, and each throws the other out", async () => {
    const twins: RawClient[] = [];
    for (let time = 0; time < 2; time++) twins.push(await connect("twin"));
    await twins[0]!.untilClosed();
    expect(await why("twin", "a")).toContainEqual(expect.stringMatching(/^possible taken over: another connection /));
    for (let time = 0; time < 2; time++) twins.push(await connect("twin"));
    await named("twin", "a", "certain taken over", "has taken its place 3 times since ");
    await named("twin", "a", "certain taken over", "two devices use one client id");
    for (const one of twins) one.abort();
  });

  test("nothing keeps it away, where nothing does", async () => {
    const client = await connect("well");
    await client.subscribe("ok/x", { qos: 1 });
    await publish("ok/x", "x");
    await client.take("publish");
    client.send({ cmd: "puback", messageId: 1 });
    await client.ping();
    const told = await why("well", "ok/x");
    expect(told.filter((line) => /^(certain|possible)/.test(line))).toEqual([]);
    expect(told).toContainEqual(expect.stringContaining("fact should get: nothing that is known keeps"));
    client.abort();
  });
});

describe("what became of a message", () => {
  const what = async (query: string): Promise<string[]> => {
    const { findings } = await api.get(`/explain/message?${query}`);
    return findings.map(({ weight, cause, text }: Record<string, string>) => `${weight} ${cause}: ${text}`);
  };

  test("to whom it goes, for whom it was dropped, and what was refused", async () => {
    const here = await connect("v-here", { properties: { maximumPacketSize: 60 } });
    await here.subscribe("v/x", { qos: 1 });
    await away("v-away", "v/+", 0);
    await publish("v/x", "x".repeat(100));
    const told = await what("topic=v/x");
    expect(told).toContainEqual("fact receiver: v-here is connected here and gets them at QoS 1 at most");
    expect(told).toContainEqual("possible away: v-away is away and gets nothing: QoS 0 is not kept");
    expect(told).toContainEqual(
      expect.stringMatching(/^certain receiver: dropped for v-here, last .*Maximum Packet Size/),
    );
    expect(await what("topic=b/x")).toContainEqual(expect.stringContaining("certain refused: a publish of to-b/x"));
    expect(await what("topic=b/x&client_id=other")).not.toContainEqual(expect.stringContaining("refused"));
    expect(await what("topic=nowhere")).toEqual([
      "possible nobody: no subscription that this broker knows matches nowhere",
    ]);
    expect((await what("topic=r/x")).at(-1)).toStartWith(
      "fact retained: the last retained message has 4 bytes, and was published by client to-r/x, at broker test",
    );
    here.abort();
  });

  test("what is no question is refused in words", async () => {
    for (const query of ["", "topic=a", "client_id=c", "client_id=c&topic=a/%2B"])
      expect([query, (await api.ask(`/explain?${query}`)).status]).toEqual([query, 400]);
    for (const query of ["", "topic=%23"])
      expect([query, (await api.ask(`/explain/message?${query}`)).status]).toEqual([query, 400]);
  });
});
