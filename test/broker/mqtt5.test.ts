/** MQTT 5's own: properties, aliases, expiry, limits, shared subscriptions, request and response. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker({ keepaliveMax: 60, sessionExpiryMax: 500, maxPacketSize: 100_000 });
});
afterAll(() => broker.stop());

const connect = (options: AnyPacket = {}) => RawClient.connect(broker.port, { protocolVersion: 5, ...options });

test("CONNACK says what the broker can do", async () => {
  const client = await connect({
    clientId: "",
    keepalive: 120,
    properties: { sessionExpiryInterval: 1000, requestResponseInformation: true },
  });
  expect(client.connack.properties).toMatchObject({
    serverKeepAlive: 60,
    sessionExpiryInterval: 500,
    receiveMaximum: 1024,
    topicAliasMaximum: 64,
    maximumPacketSize: 100_000,
  });
  const id = client.connack.properties.assignedClientIdentifier;
  expect(id).toMatch(/^auto-[0-9a-f]{32}$/);
  expect(client.connack.properties.responseInformation).toBe(`response/${id}/`);
});

test("properties travel unchanged and in order, to MQTT 5; others never see them", async () => {
  const five = await connect();
  const four = await RawClient.connect(broker.port);
  await five.subscribe("props", { properties: { subscriptionIdentifier: 268_435_455 } });
  await four.subscribe("props");
  const properties = {
    payloadFormatIndicator: true,
    contentType: "text/plain",
    responseTopic: "answer/here",
    correlationData: Buffer.from([1, 2, 3]),
    userProperties: { z: "1", a: ["2", "3"] },
  };
  five.publish("props", "x", { properties });
  const message = await five.take("publish");
  expect(message.properties).toMatchObject({ ...properties, subscriptionIdentifier: 268_435_455 });
  expect(Object.keys(message.properties.userProperties)).toEqual(["z", "a"]);
  const plain = await four.take("publish");
  expect(plain.properties).toBeUndefined();
  expect(plain.payload.toString()).toBe("x");
});

test("topic aliases from the client", async () => {
  const client = await connect();
  await client.subscribe("alias/#", { qos: 1 });
  client.publish("alias/one", "1", { properties: { topicAlias: 64 } });
  client.publish("", "2", { properties: { topicAlias: 64 } });
  client.publish("alias/two", "3", { properties: { topicAlias: 64 } });
  client.publish("", "4", { qos: 1, messageId: 1, properties: { topicAlias: 64 } });
  const messages = await client.takeMany("publish", 4);
  expect(messages.map(({ topic, payload }) => `${topic} ${payload}`)).toEqual([
    "alias/one 1",
    "alias/one 2",
    "alias/two 3",
    "alias/two 4",
  ]);
});

test("topic aliases to the client, as many as it allows", async () => {
  const client = await connect({ properties: { topicAliasMaximum: 1 } });
  await client.subscribe("to/#", { qos: 2 });
  const publisher = await connect();
  for (const topic of ["to/a", "to/a", "to/b", "to/a"]) publisher.publish(topic, topic);
  const messages = await client.takeMany("publish", 4);
  expect(messages.map(({ topic, properties }) => [topic, properties?.topicAlias])).toEqual([
    ["to/a", 1],
    ["", 1],
    ["to/b", undefined],
    ["", 1],
  ]);
});

test("message expiry counts down while a message waits, and ends it", async () => {
  const away = { clientId: "expiry", clean: false, properties: { sessionExpiryInterval: 100 } };
  const first = await connect(away);
  await first.subscribe("expiry", { qos: 1 });
  first.disconnect();
  const publisher = await connect();
  publisher.publish("expiry", "short", { qos: 1, messageId: 1, properties: { messageExpiryInterval: 1 } });
  publisher.publish("expiry", "long", { qos: 1, messageId: 2, properties: { messageExpiryInterval: 100 } });
  await publisher.takeMany("puback", 2);
  await Bun.sleep(1100); // Time itself is what is tested here.
  const back = await connect(away);
  const message = await back.take("publish");
  expect(message.payload.toString()).toBe("long");
  expect(message.properties.messageExpiryInterval).toBeLessThan(100);
  expect(message.properties.messageExpiryInterval).toBeGreaterThan(90);
});

test("an expired retained message is not sent", async () => {
  const client = await connect();
  client.publish("expiry/kept", "x", { retain: true, properties: { messageExpiryInterval: 1 } });
  await client.ping();
  await Bun.sleep(1100); // Time itself is what is tested here.
  await client.subscribe("expiry/kept");
  await client.ping();
  expect(client.packets).toEqual([]);
});

test("a client's Maximum Packet Size is kept to: the message counts as delivered", async () => {
  const client = await connect({ properties: { maximumPacketSize: 40 } });
  await client.subscribe("size", { qos: 1 });
  const publisher = await connect();
  publisher.publish("size", "x".repeat(50), { qos: 1, messageId: 1 });
  publisher.publish("size", "small", { qos: 1, messageId: 2 });
  await publisher.takeMany("puback", 2);
  expect((await client.take("publish")).payload.toString()).toBe("small");
});

test("a shared subscription takes turns", async () => {
  const members = await Promise.all([1, 2, 3].map(() => connect()));
  for (const member of members) await member.subscribe("$share/g/shared/+", { qos: 1 });
  const publisher = await connect();
  for (let index = 1; index <= 30; index++) publisher.publish("shared/x", String(index), { qos: 1, messageId: index });
  await publisher.takeMany("puback", 30);
  for (const member of members) await member.ping();
  expect(members.map((member) => member.packets.length)).toEqual([10, 10, 10]);
});

test("a member that leaves has its unacknowledged messages move on", async () => {
  const leaver = await connect();
  const stayer = await connect();
  await leaver.subscribe("$share/g/move", { qos: 1 });
  await stayer.subscribe("$share/g/move", { qos: 1 });
  const publisher = await connect();
  for (let index = 1; index <= 10; index++) publisher.publish("move", String(index), { qos: 1, messageId: index });
  await publisher.takeMany("puback", 10);
  await leaver.takeMany("publish", 5);
  leaver.abort();
  const payloads = (await stayer.takeMany("publish", 10)).map((packet) => Number(packet.payload.toString()));
  expect(new Set(payloads).size).toBe(10);
});

test("a persistent member that leaves has its unacknowledged messages move on too", async () => {
  // However slow the machine is: it is not in the leaver's mailbox yet.
  const patient = await startBroker({ settleAfter: 60_000 });
  const connect = (options: AnyPacket = {}) => RawClient.connect(patient.port, { protocolVersion: 5, ...options });
  const durable = { clientId: "leaver", clean: false, properties: { sessionExpiryInterval: 100 } };
  const leaver = await connect(durable);
  const stayer = await connect();
  await leaver.subscribe("$share/g/move2", { qos: 1 });
  const publisher = await connect();
  publisher.publish("move2", "x", { qos: 1, messageId: 1 });
  await leaver.take("publish");
  await stayer.subscribe("$share/g/move2", { qos: 1 });
  leaver.abort();
  const { payload, messageId } = await stayer.take("publish");
  expect(payload.toString()).toBe("x");
  stayer.send({ cmd: "puback", messageId });
  await publisher.take("puback");
  await patient.stop();
});

test("two groups, and a plain subscriber beside them, each get a copy", async () => {
  const [a, b, c] = await Promise.all([connect(), connect(), connect()]);
  await a!.subscribe("$share/one/copy");
  await b!.subscribe("$share/two/copy");
  await c!.subscribe("copy");
  const publisher = await connect();
  publisher.publish("copy", "x");
  await Promise.all([a!.take("publish"), b!.take("publish"), c!.take("publish")]);
});

test("shared subscriptions are sent no retained messages", async () => {
  const client = await connect();
  client.publish("kept", "x", { retain: true });
  await client.subscribe("$share/g/kept");
  await client.ping();
  expect(client.packets).toEqual([]);
});

test("more unacknowledged publishes than Receive Maximum end the connection with 0x93", async () => {
  const client = await connect();
  for (let index = 1; index <= 1025; index++) client.publish("flow", "x", { qos: 2, messageId: index });
  expect((await client.take("disconnect")).reasonCode).toBe(0x93);
});

test("enhanced authentication is refused with 0x8C", async () => {
  const client = await RawClient.dial(broker.port, 5);
  client.send(connectPacket({ protocolVersion: 5, properties: { authenticationMethod: "SCRAM-SHA-256" } }));
  expect((await client.take("connack")).reasonCode).toBe(0x8c);
  await client.untilClosed();
});

test("$SYS is there to read, and only the broker writes it", async () => {
  const client = await connect();
  await client.subscribe("$SYS/broker/version");
  expect((await client.take("publish")).payload.toString()).toMatch(/^mqttzoo \d/);
  client.publish("$SYS/broker/version", "fake", { qos: 1, messageId: 1 });
  expect((await client.take("puback")).reasonCode).toBe(0x87);
  // At QoS 0 nobody can be told; nobody gets it either.
  await client.subscribe("$SYS/broker/version", { rh: 2 });
  for (let index = 0; index < 3; index++) client.publish("$SYS/broker/version", "fake");
  await client.ping();
  expect(client.packets).toEqual([]);
  await client.subscribe("#");
  await client.ping();
  expect(client.packets.filter(({ topic }) => topic?.startsWith("$"))).toEqual([]);
});

test("keep alive: silence of one and a half times ends the connection with 0x8D", async () => {
  const startedAt = performance.now();
  const client = await connect({ keepalive: 1 });
  expect((await client.take("disconnect")).reasonCode).toBe(0x8d);
  expect(performance.now() - startedAt).toBeGreaterThan(1400);
});
