/** Sessions: what outlives a connection, and a restart of the broker. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { pageOperationsMax } from "../../src/base/limits.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const connect = (options = {}) => RawClient.connect(broker.port, options);
const durable = (clientId: string): AnyPacket => ({
  clientId,
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: 1000 },
});

async function receive(client: RawClient): Promise<string> {
  const message = await client.take("publish");
  if (message.qos === 1) client.send({ cmd: "puback", messageId: message.messageId });
  if (message.qos === 2) {
    client.send({ cmd: "pubrec", messageId: message.messageId });
    await client.take("pubrel");
    client.send({ cmd: "pubcomp", messageId: message.messageId });
  }
  return message.payload.toString();
}

async function publish(topic: string, payload: string, qos: 1 | 2): Promise<void> {
  const publisher = await connect();
  publisher.publish(topic, payload, { qos, messageId: 1 });
  await publisher.take(qos === 1 ? "puback" : "pubrec");
  if (qos === 2) {
    publisher.send({ cmd: "pubrel", messageId: 1 });
    await publisher.take("pubcomp");
  }
  publisher.disconnect();
}

test.each([4, 5] as const)(
  "version %i: a session waits for its client [MQTT-3.1.2-5 of 3.1.1] [MQTT-3.1.2-6 of 3.1.1]",
  async (protocolVersion) => {
    const options = protocolVersion === 5 ? durable("waits5") : { clientId: "waits4", clean: false };
    const first = await connect(options);
    expect(first.connack.sessionPresent).toBe(false);
    await first.subscribe(`waits/${protocolVersion}`, { qos: 2 });
    first.disconnect();
    await publish(`waits/${protocolVersion}`, "one", 1);
    await publish(`waits/${protocolVersion}`, "two", 2);
    const second = await connect(options);
    expect(second.connack.sessionPresent).toBe(true);
    expect([await receive(second), await receive(second)]).toEqual(["one", "two"]);
    await publish(`waits/${protocolVersion}`, "three", 1);
    expect(await receive(second)).toBe("three");
    second.disconnect();
    const third = await connect({ ...options, clean: true });
    expect(third.connack.sessionPresent).toBe(false);
    await publish(`waits/${protocolVersion}`, "four", 1);
    await third.ping();
    expect(third.packets).toEqual([]);
  },
);

test("what is not acknowledged is sent again, with DUP and its packet id, before anything newer", async () => {
  const first = await connect(durable("again"));
  await first.subscribe("again", { qos: 1 });
  await publish("again", "a", 1);
  const sent = await first.take("publish");
  expect(sent.dup).toBe(false);
  first.abort();
  await publish("again", "b", 1);
  const second = await connect(durable("again"));
  const repeated = await second.take("publish");
  expect(repeated).toMatchObject({ dup: true, messageId: sent.messageId });
  expect(repeated.payload.toString()).toBe("a");
  expect((await second.take("publish")).payload.toString()).toBe("b");
});

test("QoS 2 goes on where it was broken off", async () => {
  const first = await connect(durable("half"));
  await first.subscribe("half", { qos: 2 });
  await publish("half", "a", 2);
  const sent = await first.take("publish");
  first.send({ cmd: "pubrec", messageId: sent.messageId });
  await first.take("pubrel");
  first.abort();
  const second = await connect(durable("half"));
  expect((await second.take("pubrel")).messageId).toBe(sent.messageId);
  second.send({ cmd: "pubcomp", messageId: sent.messageId });
  await second.ping();
  expect(second.packets).toEqual([]);
});

test("a QoS 2 publish is known again after the publisher has come back", async () => {
  const subscriber = await connect();
  await subscriber.subscribe("known", { qos: 0 });
  const first = await connect(durable("known-publisher"));
  first.publish("known", "x", { qos: 2, messageId: 5 });
  await first.take("pubrec");
  first.abort();
  const second = await connect(durable("known-publisher"));
  second.publish("known", "x", { qos: 2, messageId: 5, dup: true });
  await second.take("pubrec");
  second.send({ cmd: "pubrel", messageId: 5 });
  expect((await second.take("pubcomp")).reasonCode ?? 0).toBe(0);
  await subscriber.take("publish");
  await subscriber.ping();
  expect(subscriber.packets).toEqual([]);
});

test("a connected session that acknowledges costs the store nothing", async () => {
  // However busy the machine is, nothing is stored since its acknowledgement is late.
  const patient = await startBroker({ settleAfter: 60_000 });
  const client = await RawClient.connect(patient.port, durable("at-home"));
  await client.subscribe("at/home", { qos: 1 });
  const publisher = await RawClient.connect(patient.port);
  for (let index = 1; index <= 50; index++) {
    publisher.publish("at/home", String(index), { qos: 1, messageId: index });
    expect(await receive(client)).toBe(String(index));
    await publisher.take("puback");
  }
  expect(patient.server.broker.context.mail.stored).toBe(0);
  await patient.stop();
});

test("the publisher's ack waits for the mailbox when a connected session does not acknowledge", async () => {
  const client = await connect(durable("silent"));
  await client.subscribe("silent", { qos: 1 });
  const publisher = await connect();
  publisher.publish("silent", "x", { qos: 1, messageId: 1 });
  await client.take("publish");
  await publisher.take("puback");
  expect(broker.server.broker.context.localSessions.get("silent")?.mailbox?.count).toBe(1);
});

test("take-over: the older connection is told and closed", async () => {
  const first = await connect(durable("taken"));
  await first.subscribe("taken", { qos: 1 });
  const second = await connect(durable("taken"));
  expect((await first.take("disconnect")).reasonCode).toBe(0x8e);
  await first.untilClosed();
  expect(second.connack.sessionPresent).toBe(true);
  await publish("taken", "x", 1);
  expect(await receive(second)).toBe("x");
});

test("twenty connections with one client id at once: one lives", async () => {
  const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.dial(broker.port, 5)));
  for (const client of clients) client.send(connectPacket(durable("race")));
  await Promise.all(
    clients.map((client) => client.until(() => client.closed || client.packets.length > 0, "an answer")),
  );
  const alive = (): number => clients.filter((client) => !client.closed).length;
  await clients[0]!.until(() => true, "");
  await eventually(() => alive() <= 1, "one is left");
  expect(alive()).toBe(1);
});

test("sessions expire, and their subscriptions with them", async () => {
  const client = await connect({ ...durable("mortal"), properties: { sessionExpiryInterval: 1 } });
  await client.subscribe("mortal", { qos: 1 });
  client.disconnect();
  const { localSessions } = broker.server.broker.context;
  await eventually(() => !localSessions.has("mortal"), "it has expired");
  const again = await connect(durable("mortal"));
  expect(again.connack.sessionPresent).toBe(false);
});

test("a session of many subscriptions ends in as many commits as it takes, and nothing of it comes back", async () => {
  let mine = await startBroker();
  const client = await RawClient.connect(mine.port, durable("many"));
  const topics = Array.from({ length: 3 * pageOperationsMax }, (_, at) => `many/${at}`);
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: topics.map((topic) => ({ topic, qos: 1 })) });
  await client.take("suback");
  client.disconnect();
  const fresh = await RawClient.connect(mine.port, { ...durable("many"), clean: true });
  expect(fresh.connack.sessionPresent).toBe(false);
  fresh.disconnect();
  mine = await mine.restart();
  expect(mine.server.broker.context.router.subscriptions).toBe(0);
  await mine.stop();
});

test("DISCONNECT may change the session's expiry, but not from nothing", async () => {
  const client = await connect(durable("changed"));
  client.disconnect({ properties: { sessionExpiryInterval: 0 } });
  await client.untilClosed();
  expect((await connect(durable("changed"))).connack.sessionPresent).toBe(false);
  const plain = await connect({ protocolVersion: 5 });
  plain.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 9 } });
  expect((await plain.take("disconnect")).reasonCode).toBe(0x82);
});

test("sessions, mail, half-received ids and retained messages survive a restart", async () => {
  let mine = await startBroker();
  const dial = (options: AnyPacket) => RawClient.connect(mine.port, options);
  const subscriber = await dial(durable("survivor"));
  await subscriber.subscribe("keep/+/x", { qos: 2 });
  subscriber.disconnect();
  const publisher = await dial(durable("writer"));
  for (let index = 1; index <= 300; index++)
    publisher.publish("keep/1/x", String(index), { qos: index % 2 === 0 ? 1 : 2, messageId: index });
  await publisher.takeMany("puback", 150);
  await publisher.takeMany("pubrec", 150);
  publisher.publish("keep/retained", "r", { qos: 1, messageId: 500, retain: true });
  await publisher.take("puback");
  publisher.abort();
  mine = await mine.restart();
  const writer = await dial(durable("writer"));
  expect(writer.connack.sessionPresent).toBe(true);
  writer.publish("keep/1/x", "1", { qos: 2, messageId: 1, dup: true });
  await writer.take("pubrec");
  const back = await dial(durable("survivor"));
  expect(back.connack.sessionPresent).toBe(true);
  const seen: string[] = [];
  for (let index = 1; index <= 300; index++) seen.push(await receive(back));
  expect(seen).toEqual(Array.from({ length: 300 }, (_, index) => String(index + 1)));
  await back.ping();
  expect(back.packets).toEqual([]);
  const reader = await dial({});
  await reader.subscribe("keep/#");
  expect((await reader.take("publish")).payload.toString()).toBe("r");
  await mine.stop();
});

test("where a full mailbox refuses MQTT 5 is told, and nobody gets the message", async () => {
  const small = await startBroker({ maxQueued: 3, mailboxFull: "refuse" });
  const away = await RawClient.connect(small.port, durable("full"));
  await away.subscribe("full", { qos: 1 });
  away.disconnect();
  const other = await RawClient.connect(small.port, {});
  await other.subscribe("full");
  const publisher = await RawClient.connect(small.port, { protocolVersion: 5 });
  for (let index = 1; index <= 4; index++) publisher.publish("full", String(index), { qos: 1, messageId: index });
  const acks = await publisher.takeMany("puback", 4);
  expect(acks.map((ack) => ack.reasonCode)).toEqual([0, 0, 0, 0x97]);
  expect(acks[3].properties.reasonString).toContain("full");
  await other.ping();
  expect(other.packets.length).toBe(3);
  const old = await RawClient.connect(small.port, {});
  old.publish("full", "5", { qos: 1, messageId: 9 });
  const back = await RawClient.connect(small.port, durable("full"));
  expect(await receive(back)).toBe("1");
  // A client before MQTT 5 is held until there is room.
  await old.take("puback");
  await small.stop();
});

test("a session without persistence drops beyond its queue, and the broker counts", async () => {
  const small = await startBroker({ maxQueued: 5, maxInflight: 1024 });
  const slow = await RawClient.connect(small.port, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
  await slow.subscribe("drop", { qos: 1 });
  const publisher = await RawClient.connect(small.port, {});
  for (let index = 1; index <= 10; index++) publisher.publish("drop", String(index), { qos: 1, messageId: index });
  await publisher.takeMany("puback", 10);
  expect(small.server.broker.context.metrics.droppedQueue).toBe(4);
  const seen: string[] = [];
  for (let index = 0; index < 6; index++) seen.push(await receive(slow));
  expect(seen).toEqual(["1", "2", "3", "4", "5", "6"]);
  await small.stop();
});

test("of several connections at once under a new client id one is let in, and later ones are", async () => {
  for (const count of [2, 3, 10]) {
    const options = durable(`at-once-${count}`);
    const all = await Promise.all([...Array(count)].map(() => RawClient.dial(broker.port, 5)));
    for (const each of all) each.send(connectPacket(options));
    const codes = (): number[] =>
      all.flatMap(({ packets }) => packets.flatMap(({ cmd, reasonCode }) => (cmd === "connack" ? reasonCode : [])));
    await eventually(() => codes().length === count, "each is answered");
    expect(codes().filter((code) => code === 0).length).toBeGreaterThan(0);
    const later = await connect(options);
    expect(later.connack.sessionPresent).toBe(true);
    later.disconnect();
  }
});
