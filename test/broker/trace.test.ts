/** Traces: all that happens to a client, a user, an address or a topic is told, within limits, and nothing when off. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { traceRateMax, tracesMax } from "../../src/base/trace-limits.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";
import { Traced } from "../support/traced.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-trace-"));
const auditLog = join(folder, "audit");
let broker: TestBroker;
let api: ApiClient;
let httpPort: number;
beforeAll(async () => {
  const aclFile = join(folder, "acl");
  writeFileSync(aclFile, "pattern readwrite #\npattern deny t/secret\n");
  httpPort = await freePort();
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1", aclFile, auditLog, allowAnonymous: true });
  api = await ApiClient.open(httpPort);
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const connect = (clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(broker.port, { protocolVersion: 5, clientId, ...more });
const context = () => broker.server.broker.context;

async function leave(...traces: readonly Traced[]): Promise<void> {
  for (const trace of traces) trace.leave();
  await eventually(() => !context().trace.isOn, "nobody follows any more");
}

test("a client: its packets both ways as on the wire, with reason codes, and its coming and going", async () => {
  const trace = await Traced.begin(api, "client_id=one&payload_bytes=3");
  const [one, other] = [await connect("one", { username: "anna", password: "hidden-word" }), await connect("other")];
  await one.subscribe("t/#");
  one.publish("t/secret", "x", { qos: 1, messageId: 7 });
  await one.take("puback");
  other.publish("t/x", "hello");
  await one.take("publish");
  await one.ping();
  one.send({ cmd: "disconnect", reasonCode: 0 });
  await trace.until("disconnected", "the client has left");
  const told = trace.rows.map(({ kind, text }) => `${kind}: ${text}`);
  expect(told.filter((line) => /^(received|sent)/.test(line))).toEqual([
    expect.stringMatching(/^received: CONNECT: client id "one", user anna, clean start/),
    expect.stringMatching(/^sent: CONNACK: session new, 0x00 success/),
    expect.stringMatching(/^received: SUBSCRIBE: packet id \d+, t\/# at QoS 0/),
    expect.stringMatching(/^sent: SUBACK: packet id \d+, QoS 0/),
    "received: PUBLISH t/secret: QoS 1, packet id 7, 1 bytes",
    "sent: PUBACK: packet id 7: 0x87 not authorized: the access list does not allow it",
    "sent: PUBLISH t/x: QoS 0, 5 bytes",
    "received: PINGREQ",
    "sent: PINGRESP",
    expect.stringMatching(/^received: DISCONNECT: 0x00/),
  ]);
  expect(told).toContain(
    "connected: connected from ".concat(told.find((line) => line.startsWith("connected"))!.slice(26)),
  );
  const refused = await trace.until("refused", "line 2: pattern deny t/secret");
  expect(refused).toMatchObject({ client_id: "one", user: "anna", topic: "t/secret", broker: "test" });
  const sent = await trace.until("sent", "PUBLISH t/x");
  expect(Buffer.from(sent.payload_base64, "base64").toString()).toBe("hel");
  // No password, and nothing of the other client.
  expect(JSON.stringify(trace.rows)).not.toContain("hidden-word");
  expect(trace.rows.every(({ client_id }) => client_id === "one" || client_id === null)).toBe(true);
  other.abort();
  await leave(trace);
});

test("a topic: to whom a message goes, what becomes of it for each, and how its publisher is answered", async () => {
  const away = await connect("away", { clean: false, properties: { sessionExpiryInterval: 600 } });
  await away.subscribe("m/+", { qos: 1 });
  away.disconnect();
  await away.untilClosed();
  const here = await connect("here");
  await here.subscribe("m/#", { qos: 1 });
  const small = await connect("small", { properties: { maximumPacketSize: 40 } });
  await small.subscribe("m/#", { qos: 0 });
  const trace = await Traced.begin(api, `topic=${encodeURIComponent("m/+")}`);
  const from = await connect("from");
  from.publish("n/x", "not followed", { qos: 1, messageId: 1 });
  await from.take("puback");
  from.publish("m/x", "y".repeat(100), { qos: 2, messageId: 2 });
  await from.take("pubrec");
  const settled = await trace.until("settled", "PUBREC for packet id 2: 0x00 success");
  expect(settled).toMatchObject({ client_id: "from", topic: "m/x", reason_code: 0 });
  const { text } = await trace.until("routed", "goes to");
  for (const words of ["client away (away, QoS 1, lowered from 2)", "client here (connected, QoS 1"])
    expect(text).toContain(words);
  await trace.until("stored", "mailbox", { client_id: "away" });
  await trace.until("delivered", "at QoS 1", { client_id: "here" });
  await trace.until("dropped", "Maximum Packet Size", { client_id: "small" });
  // Neither another topic, nor what is about none, as that a client has come.
  expect(trace.rows.filter(({ kind, topic }) => kind !== "begun" && topic !== "m/x")).toEqual([]);
  for (const client of [here, small, from]) client.abort();
  await leave(trace);
});

test("QoS 0 that is passed on in one piece is told packet by packet, and goes on as before when nobody follows", async () => {
  const reader = await connect("run-reader");
  await reader.subscribe("run/x");
  const writer = await connect("run-writer");
  const burst = async (): Promise<void> => {
    for (let count = 0; count < 20; count++) writer.publish("run/x", String(count));
    for (let count = 0; count < 20; count++)
      expect((await reader.take("publish")).payload.toString()).toBe(String(count));
  };
  const trace = await Traced.begin(api, "topic=run/x");
  await burst();
  await eventually(() => trace.rows.filter(({ kind }) => kind === "delivered").length === 20, "each is told");
  expect(trace.rows.filter(({ kind }) => kind === "published").length).toBe(20);
  await leave(trace);
  await burst();
  expect(trace.rows.filter(({ kind }) => kind === "published").length).toBe(20);
  for (const client of [reader, writer]) client.abort();
});

test("an address and a user are followed, those who are connected before as well; nothing reads along afterwards", async () => {
  const before = await connect("before", { username: "carl" });
  const byUser = await Traced.begin(api, "user=carl");
  const byAddress = await Traced.begin(api, `address=${encodeURIComponent("127.0.0.0/8")}`);
  const elsewhere = await Traced.begin(api, "address=10.1.2.3");
  await before.ping();
  await byUser.until("received", "PINGREQ", { client_id: "before", user: "carl" });
  await byUser.until("sent", "PINGRESP");
  await byAddress.until("received", "PINGREQ", { address: "127.0.0.1" });
  expect(elsewhere.rows.map(({ kind }) => kind)).toEqual(["begun"]);
  const session = context().localSessions.get("before")!;
  expect(session.connection!.tap).toBeDefined();
  await leave(byUser, byAddress, elsewhere);
  expect([session.connection!.tap, session.connection!.writer.tap]).toEqual([undefined, undefined]);
  before.abort();
});

test("it is bounded in time, rate and number, and says so", async () => {
  const short = await Traced.begin(api, "topic=flood&seconds=1");
  expect(short.rows[0]).toMatchObject({
    kind: "begun",
    text: expect.stringContaining(`${traceRateMax} events a second`),
  });
  const writer = await connect("flooding");
  for (let count = 0; count < 3 * traceRateMax; count++) writer.publish("flood", "x");
  await writer.ping();
  await eventually(() => short.ended !== undefined, "its time is over");
  expect(short.ended).toBe("its 1 s are over");
  expect(short.rows.length).toBeLessThan(3 * traceRateMax);
  expect(short.rows.some(({ kind, text }) => kind === "skipped" && text.includes(`${traceRateMax} a second`))).toBe(
    true,
  );
  const many = await Promise.all(Array.from({ length: tracesMax }, () => Traced.begin(api, "topic=x")));
  const { status, body } = await api.ask("/trace?topic=x");
  expect([status, body.detail]).toEqual([503, `${tracesMax} traces are followed already`]);
  await leave(...many);
  for (const wrong of [
    "",
    "?seconds=5",
    "?topic=a%23",
    "?address=x",
    "?client_id=c&seconds=0",
    "?topic=a&payload_bytes=9999",
  ])
    expect([wrong, (await api.ask(`/trace${wrong}`)).status]).toEqual([wrong, 400]);
  writer.abort();
});

// biome-ignore lint/suspicious/noExplicitAny: lines of the audit log are compared whole.
const audited = (): any[] =>
  readFileSync(auditLog, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

test("the audit log has who has followed what, whether payloads were shown, and how long, also who was refused", async () => {
  const before = audited().length;
  const trace = await Traced.begin(api, "client_id=audited&payload_bytes=3&seconds=60");
  const [begun, ...none] = audited().slice(before);
  const who = { who: "(this machine)", from: "127.0.0.1", what: "followTrace", status: 200 };
  const following = { state: "following", seconds_at_most: 60, payload_bytes: 3 };
  expect(none).toEqual([]);
  expect(begun).toMatchObject({ ...who, before: null, after: following });
  expect(begun.on).toEqual({ client_id: "audited", payload_bytes: "3", seconds: "60" });
  await leave(trace);
  await eventually(() => audited().length === before + 2, "its end is noted");
  const ended = { state: "ended", seconds: expect.any(Number), events: 1 };
  expect(audited().at(-1)).toMatchObject({ ...who, on: begun.on, before: following, after: ended });
  // One that ends by itself has one end.
  const short = await Traced.begin(api, "topic=audited&seconds=1");
  await eventually(() => short.ended !== undefined, "its time is over");
  const { after } = audited().at(-1);
  expect(after).toEqual({ state: "ended", seconds: expect.any(Number), events: 1 });
  expect(after.seconds).toBeGreaterThanOrEqual(0.9);
  expect(audited().length).toBe(before + 4);
  expect((await api.ask("/trace?topic=a%23")).status).toBe(400);
  expect(audited().at(-1)).toMatchObject({ what: "followTrace", on: { topic: "a#" }, status: 400 });
  // Asking for its head alone follows nothing.
  await fetch(`http://127.0.0.1:${httpPort}/api/v1/trace?topic=x`, { method: "HEAD" });
  expect(audited().length).toBe(before + 5);
});

test("a trace that is collected without a stream, and the watch of a filter, are in the audit log as well", async () => {
  const before = audited().length;
  for (let time = 0; time < 3; time++) await api.get("/trace/events?topic=gathered/%23&trace=own&payload_bytes=9");
  expect(audited().slice(before)).toMatchObject([
    {
      what: "collectTrace",
      on: { topic: "gathered/#", trace: "own" },
      after: { state: "following", payload_bytes: 9 },
    },
  ]);
  const watch = await api.listen("/watch?filter=watched/%23");
  expect(audited().slice(before + 1)).toMatchObject([
    { what: "watchTopics", on: { filter: "watched/#" }, after: { state: "following" } },
  ]);
  watch.leave();
  await eventually(
    () => audited().some(({ what, after }) => what === "watchTopics" && after.state === "ended"),
    "ended",
  );
});
