/**
 * A full mailbox harms its own session only: the session ends, and its client is told so when it comes back. Nobody
 * else notices. (With `--mailbox-full refuse` publishes are refused instead: `session.test.ts`.)
 */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { mailPath, sessionPath, subscriberPath } from "../../src/coordinator/paths.ts";
import { hasStat } from "../../src/coordinator/read-results.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const maxQueued = 20;
const quotaExceeded = 0x97;
const start = (options = {}) => startBroker({ maxQueued, ...options });

/** The CONNECT of a client whose session stays: of MQTT 5, or of 3.1.1. */
const durable = (clientId: string, protocolVersion = 5): AnyPacket => ({
  ...{ clientId, clean: false, protocolVersion },
  ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 1000 } } : {}),
});

/** Has a client subscribe, and leaves its session behind. */
async function forget(broker: TestBroker, { clientId, filter = "plant/#", version = 5 }: AnyPacket): Promise<void> {
  const reader = await RawClient.connect(broker.port, durable(clientId, version));
  await reader.subscribe(filter, { qos: 2 });
  reader.disconnect();
  await eventually(
    () => broker.server.broker.context.localSessions.get(clientId)?.connection === undefined,
    "it left",
    60_000,
  );
}

/** Publishes one after the other, and returns how each was answered. */
async function publishMany(
  publisher: RawClient,
  count: number,
  { topic = "plant/a", qos = 1 } = {},
): Promise<number[]> {
  const answers: number[] = [];
  for (let id = 1; id <= count; id++) {
    publisher.publish(topic, String(id), { qos, messageId: id });
    const answer = await publisher.take(qos === 1 ? "puback" : "pubrec");
    answers.push(answer.reasonCode ?? 0);
    if (qos === 1 || answers.at(-1)! >= 0x80) continue;
    publisher.send({ cmd: "pubrel", messageId: id });
    await publisher.take("pubcomp");
  }
  return answers;
}

/** Waits until a session has been ended, and returns what is left of it in the store, and of what was stored for it. */
async function untilEnded({ server }: TestBroker, clientId: string, filter = "plant/#"): Promise<void> {
  const { context } = server.broker;
  const left = (): Promise<boolean> =>
    new Promise((resolve) => {
      const paths = [sessionPath(clientId), mailPath(clientId), subscriberPath(filter, clientId)];
      const reads = paths.map((path) => ({ kind: "exists", path }) as const);
      context.coordinator.read(reads, (_, results) => resolve(results.some((result) => hasStat(result))));
    });
  await eventually(async () => !context.localSessions.has(clientId) && !(await left()), `${clientId} is gone`, 60_000);
}

for (const [version, qos] of [
  [5, 1],
  [5, 2],
  [4, 1],
] as const)
  test(`a forgotten reader's session ends, and its publishers notice nothing (MQTT ${version}, QoS ${qos})`, async () => {
    const broker = await start();
    const { metrics, bankAccount } = broker.server.broker.context;
    await forget(broker, { clientId: "gone", version });
    const live = await RawClient.connect(broker.port);
    await live.subscribe("plant/#");
    const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
    const answers = await publishMany(publisher, 3 * maxQueued, { qos });
    expect(answers.filter((reason) => reason >= 0x80)).toEqual([]);
    await live.takeMany("publish", 3 * maxQueued);
    await untilEnded(broker, "gone");
    expect([metrics.sessionsEnded, metrics.refused, metrics.protocolErrors.size]).toEqual([1, 0, 0]);
    // Its credits are free again.
    await eventually(() => bankAccount.account.messages === 0, "no message is paid for", 60_000);
    const back = await RawClient.connect(broker.port, durable("gone", version));
    expect(back.connack.sessionPresent).toBe(false);
    if (version === 5) expect(back.connack.properties.reasonString).toContain("its mailbox was full");
    await back.ping();
    expect(back.packets).toEqual([]);
    back.disconnect();
    // It is told once.
    const again = await RawClient.connect(broker.port, durable("gone", version));
    expect([again.connack.sessionPresent, again.connack.properties?.reasonString]).toEqual([true, undefined]);
    await broker.stop();
  }, 120_000);

test("a reader that does not acknowledge is disconnected with the reason, and its session ends", async () => {
  const broker = await start();
  const readers = await Promise.all(
    [5, 4].map((version) => RawClient.connect(broker.port, { ...durable(`stuck ${version}`, version), ...narrow })),
  );
  for (const reader of readers) await reader.subscribe("plant/#", { qos: 1 });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  // Their windows are as large as the broker's; what is beyond them waits in their mailboxes.
  const answers = await publishMany(publisher, 3 * maxQueued);
  expect(answers.filter((reason) => reason >= 0x80)).toEqual([]);
  const told = await readers[0]!.take("disconnect");
  expect([told.reasonCode, told.properties.reasonString]).toEqual([quotaExceeded, expect.stringContaining("was full")]);
  for (const reader of readers) await reader.untilClosed();
  for (const version of [5, 4]) await untilEnded(broker, `stuck ${version}`);
  const back = await RawClient.connect(broker.port, durable("stuck 5"));
  expect([back.connack.sessionPresent, back.connack.properties.reasonString]).toEqual([
    false,
    expect.stringContaining("was full"),
  ]);
  await broker.stop();
}, 120_000);

const narrow = { properties: { sessionExpiryInterval: 1000, receiveMaximum: 2 } };

test("many forgotten readers end, each for itself, beside one that reads", async () => {
  const broker = await start();
  const forgotten = Array.from({ length: 12 }, (_, number) => `gone ${number}`);
  for (const clientId of forgotten) await forget(broker, { clientId });
  const reader = await RawClient.connect(broker.port, durable("reader"));
  await reader.subscribe("plant/+", { qos: 1 });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  const seen: string[] = [];
  for (let id = 1; id <= 3 * maxQueued; id++) {
    publisher.publish("plant/a", String(id), { qos: 1, messageId: id });
    const { messageId, payload } = await reader.take("publish");
    reader.send({ cmd: "puback", messageId });
    seen.push(payload.toString());
    expect((await publisher.take("puback")).reasonCode ?? 0).toBe(0);
  }
  expect(seen).toEqual(Array.from({ length: 3 * maxQueued }, (_, index) => String(index + 1)));
  for (const clientId of forgotten) await untilEnded(broker, clientId);
  for (const clientId of forgotten) {
    const { connack } = await RawClient.connect(broker.port, durable(clientId));
    expect([connack.sessionPresent, connack.properties.reasonString]).toEqual([false, expect.stringContaining("full")]);
  }
  await broker.stop();
}, 120_000);

test("who is told is told after a restart, too, but not somebody whose packets have no room for it", async () => {
  let broker = await start();
  for (const clientId of ["gone", "tiny"]) await forget(broker, { clientId });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, 2 * maxQueued);
  for (const clientId of ["gone", "tiny"]) await untilEnded(broker, clientId);
  broker = await broker.restart();
  const tiny = { ...durable("tiny"), properties: { sessionExpiryInterval: 1000, maximumPacketSize: 60 } };
  expect((await RawClient.connect(broker.port, tiny)).connack.properties.reasonString).toBeUndefined();
  const back = await RawClient.connect(broker.port, durable("gone"));
  expect(back.connack.properties.reasonString).toContain("its mailbox was full");
  await broker.stop();
}, 120_000);

test("a will is published beside a full mailbox, and the will of a client whose session is ended", async () => {
  const broker = await start();
  const will = { topic: "wills/x", payload: Buffer.from("gone"), qos: 1, retain: false, properties: {} };
  const stuck = await RawClient.connect(broker.port, {
    ...durable("stuck"),
    properties: { sessionExpiryInterval: 1000, receiveMaximum: 1 },
    will: { ...will, properties: { willDelayInterval: 600 } },
  });
  await stuck.subscribe("plant/#", { qos: 1 });
  await forget(broker, { clientId: "watcher", filter: "+/+" });
  const live = await RawClient.connect(broker.port);
  await live.subscribe("wills/#", { qos: 1 });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, maxQueued, { topic: "other/a" });
  const mortal = await RawClient.connect(broker.port, { will: { ...will, topic: "wills/mortal" } });
  mortal.abort();
  expect((await live.take("publish")).topic).toBe("wills/mortal");
  // The session ends before the delay is over [MQTT-3.1.3-9].
  await publishMany(publisher, 3 * maxQueued);
  await stuck.untilClosed();
  expect((await live.take("publish")).topic).toBe("wills/x");
  await broker.stop();
}, 120_000);

test("messages whose time is over do not end a session", async () => {
  const broker = await start();
  const { context } = broker.server.broker;
  await forget(broker, { clientId: "patient" });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, maxQueued - 1);
  // As the teller does, which does not tell the session.
  const listed = await new Promise<readonly string[]>((resolve) =>
    context.coordinator.read([{ kind: "children", path: mailPath("patient") }], (_, [result]) =>
      resolve((result as { children: readonly string[] }).children),
    ),
  );
  const slips = context.slips.named("patient", listed.slice(0, maxQueued - 5));
  await new Promise<void>((resolve) => context.slips.readRecords(slips, resolve));
  for (const slip of slips) context.slips.discard(slip);
  await publishMany(publisher, 10);
  const back = await RawClient.connect(broker.port, durable("patient"));
  expect(back.connack.sessionPresent).toBe(true);
  await back.takeMany("publish", 14);
  await broker.stop();
}, 120_000);

test("members of a group end only when no member has room", async () => {
  const broker = await start();
  for (const clientId of ["one", "other"]) await forget(broker, { clientId, filter: "$share/g/plant/#" });
  const { metrics, localSessions } = broker.server.broker.context;
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, 2 * maxQueued - 2);
  expect([localSessions.size - 1, metrics.sessionsEnded]).toEqual([2, 0]);
  const answers = await publishMany(publisher, maxQueued);
  expect(answers.filter((reason) => reason >= 0x80)).toEqual([]);
  await eventually(() => metrics.sessionsEnded > 0, "one of them has ended", 60_000);
  await broker.stop();
}, 120_000);

test("what lies in mail drops does not fill a mailbox", async () => {
  const broker = await start({ mailDrop: ["plant/#"] });
  await forget(broker, { clientId: "away" });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, 3 * maxQueued);
  const back = await RawClient.connect(broker.port, durable("away"));
  expect(back.connack.sessionPresent).toBe(true);
  const seen: string[] = [];
  while (seen.length < 3 * maxQueued) {
    const { messageId, payload, qos } = await back.take("publish");
    expect(broker.server.broker.context.localSessions.get("away")!.mailbox!.count).toBeLessThanOrEqual(maxQueued);
    seen.push(payload.toString());
    if (qos === 1) back.send({ cmd: "puback", messageId });
  }
  expect(broker.server.broker.context.metrics.sessionsEnded).toBe(0);
  await broker.stop();
}, 120_000);

test("a mailbox that is nearly full is counted until it has been emptied", async () => {
  const broker = await start();
  const { metrics, retained } = broker.server.broker.context;
  await forget(broker, { clientId: "slow" });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, maxQueued - 5);
  expect(metrics.mailboxesHigh).toBe(0);
  await publishMany(publisher, 2);
  await eventually(() => metrics.mailboxesHigh === 1, "it is nearly full", 60_000);
  expect(retained.get("$SYS/broker/mailboxes/nearly full")).toBeDefined();
  const back = await RawClient.connect(broker.port, durable("slow"));
  for (const { messageId } of await back.takeMany("publish", maxQueued - 3)) back.send({ cmd: "puback", messageId });
  await eventually(() => metrics.mailboxesHigh === 0, "it has been emptied", 60_000);
  await broker.stop();
}, 120_000);

test("a session that was ended while it was being stored leaves nothing behind, whoever finds it", async () => {
  const broker = await start();
  const { context } = broker.server.broker;
  // What another broker leaves that dies in the middle: the record is empty, the rest is there.
  await forget(broker, { clientId: "half" });
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await publishMany(publisher, 5);
  const path = sessionPath("half");
  await new Promise<void>((resolve) =>
    context.journal.commit([{ kind: "set", path, data: encodeUtf8("") }], () => resolve()),
  );
  const again = await broker.restart();
  await untilEnded(again, "half");
  await eventually(
    () => again.server.broker.context.bankAccount.account.messages === 0,
    "no message is paid for",
    60_000,
  );
  const back = await RawClient.connect(again.port, durable("half"));
  expect(back.connack.sessionPresent).toBe(false);
  await again.stop();
}, 120_000);
