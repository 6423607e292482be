/** Publish and subscribe, one broker, packet by packet. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const connect = (options = {}) => RawClient.connect(broker.port, options);

describe.each([3, 4, 5] as const)("protocol version %i", (protocolVersion) => {
  test.each([0, 1, 2] as const)("QoS %i from publisher to subscriber", async (qos) => {
    const subscriber = await connect({ protocolVersion });
    const publisher = await connect({ protocolVersion });
    const topic = `qos/${protocolVersion}/${qos}`;
    const suback = await subscriber.subscribe(topic, { qos });
    expect(suback.granted).toEqual([qos]);
    publisher.publish(topic, "hello", qos === 0 ? {} : { qos, messageId: 7 });
    if (qos === 1) expect((await publisher.take("puback")).messageId).toBe(7);
    if (qos === 2) {
      expect((await publisher.take("pubrec")).messageId).toBe(7);
      publisher.send({ cmd: "pubrel", messageId: 7 });
      expect((await publisher.take("pubcomp")).messageId).toBe(7);
    }
    const message = await subscriber.take("publish");
    expect(message).toMatchObject({ topic, qos, retain: false, dup: false });
    expect(message.payload.toString()).toBe("hello");
    if (qos === 2) {
      subscriber.send({ cmd: "pubrec", messageId: message.messageId });
      expect((await subscriber.take("pubrel")).messageId).toBe(message.messageId);
      subscriber.send({ cmd: "pubcomp", messageId: message.messageId });
    }
    if (qos === 1) subscriber.send({ cmd: "puback", messageId: message.messageId });
    await subscriber.ping();
    expect(subscriber.packets).toEqual([]);
  });
});

test("a subscriber gets the lower of both QoS", async () => {
  const subscriber = await connect();
  const publisher = await connect();
  await subscriber.subscribe("lower", { qos: 1 });
  publisher.publish("lower", "two", { qos: 2, messageId: 1 });
  expect((await subscriber.take("publish")).qos).toBe(1);
  publisher.publish("lower", "zero");
  expect((await subscriber.take("publish")).qos).toBe(0);
});

test("a QoS 2 publish that is repeated is delivered once", async () => {
  const subscriber = await connect();
  const publisher = await connect();
  await subscriber.subscribe("once", { qos: 0 });
  publisher.publish("once", "x", { qos: 2, messageId: 3 });
  publisher.publish("once", "x", { qos: 2, messageId: 3, dup: true });
  await publisher.takeMany("pubrec", 2);
  publisher.send({ cmd: "pubrel", messageId: 3 });
  await publisher.take("pubcomp");
  publisher.publish("once", "y", { qos: 2, messageId: 3 });
  await publisher.take("pubrec");
  const payloads = (await subscriber.takeMany("publish", 2)).map((packet) => packet.payload.toString());
  expect(payloads).toEqual(["x", "y"]);
});

test("wildcards, levels and topics that begin with $", async () => {
  const subscriber = await connect();
  const publisher = await connect();
  for (const filter of ["a/+/c", "b/#", "+/empty", "#/never"].slice(0, 3)) await subscriber.subscribe(filter);
  for (const topic of ["a/x/c", "a/x/d", "b", "b/1/2", "/empty", "a//c", "$x/empty"]) publisher.publish(topic, topic);
  await publisher.ping();
  await subscriber.ping();
  expect(subscriber.packets.map((packet) => packet.topic)).toEqual(["a/x/c", "b", "b/1/2", "/empty", "a//c"]);
});

test("overlapping subscriptions give one message at the highest QoS", async () => {
  const subscriber = await connect({ protocolVersion: 5 });
  const publisher = await connect();
  await subscriber.subscribe("over/#", { qos: 2, properties: { subscriptionIdentifier: 2 } });
  await subscriber.subscribe("over/+", { qos: 1, properties: { subscriptionIdentifier: 3 } });
  publisher.publish("over/lap", "x", { qos: 2, messageId: 1 });
  const message = await subscriber.take("publish");
  expect(message.qos).toBe(2);
  expect(new Set(message.properties.subscriptionIdentifier)).toEqual(new Set([2, 3]));
  await subscriber.ping();
  expect(subscriber.packets).toEqual([]);
});

test("unsubscribed means no more messages", async () => {
  const client = await connect({ protocolVersion: 5 });
  await client.subscribe("gone");
  client.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["gone", "never"] });
  expect((await client.take("unsuback")).granted).toEqual([0, 0x11]);
  client.publish("gone", "x");
  await client.ping();
  expect(client.packets).toEqual([]);
});

test("MQTT 5 is told when nobody subscribes", async () => {
  const client = await connect({ protocolVersion: 5 });
  client.publish("nobody/here", "x", { qos: 1, messageId: 1 });
  expect((await client.take("puback")).reasonCode).toBe(0x10);
  client.publish("nobody/here", "x", { qos: 2, messageId: 2 });
  expect((await client.take("pubrec")).reasonCode).toBe(0x10);
});

test("messages keep their order through a window that is too small", async () => {
  const subscriber = await connect({ protocolVersion: 5, properties: { receiveMaximum: 3 } });
  const publisher = await connect();
  await subscriber.subscribe("order", { qos: 1 });
  for (let index = 1; index <= 20; index++) publisher.publish("order", String(index), { qos: 1, messageId: index });
  await publisher.takeMany("puback", 20);
  await subscriber.ping();
  expect(subscriber.packets.length).toBe(3);
  const seen: string[] = [];
  while (seen.length < 20) {
    const message = await subscriber.take("publish");
    seen.push(message.payload.toString());
    subscriber.send({ cmd: "puback", messageId: message.messageId });
  }
  expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => String(index + 1)));
});

test("a large message in many pieces", async () => {
  const subscriber = await connect();
  const publisher = await connect();
  await subscriber.subscribe("large", { qos: 1 });
  const payload = "0123456789".repeat(200_000);
  publisher.publish("large", payload, { qos: 1, messageId: 1 });
  const message = await subscriber.take("publish");
  expect(message.payload.toString() === payload).toBe(true);
});

test("twenty thousand small messages in one stream arrive whole and in order", async () => {
  const subscriber = await connect();
  const publisher = await connect();
  await subscriber.subscribe("stream/+");
  const count = 20_000;
  for (let index = 0; index < count; index++) publisher.publish(`stream/${index % 3}`, String(index));
  const messages = await subscriber.takeMany("publish", count);
  expect(messages.every((message, index) => message.payload.toString() === String(index))).toBe(true);
});
