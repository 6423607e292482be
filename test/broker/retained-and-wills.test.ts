/** Retained messages and wills. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const connect = (options: AnyPacket = {}) => RawClient.connect(broker.port, options);

test.each([0, 1, 2] as const)("retained at QoS %i: later subscribers get it, with the retain flag", async (qos) => {
  const publisher = await connect();
  publisher.publish(`kept/${qos}`, "v", { qos, retain: true, ...(qos > 0 ? { messageId: 1 } : {}) });
  await publisher.ping();
  const subscriber = await connect();
  await subscriber.subscribe(`kept/${qos}`, { qos: 2 });
  const message = await subscriber.take("publish");
  expect(message).toMatchObject({ retain: true, qos });
});

test("an empty payload clears, and is delivered live without the flag [MQTT-3.3.1-9 of 3.1.1]", async () => {
  const client = await connect();
  client.publish("clear", "x", { retain: true });
  await client.subscribe("clear");
  expect((await client.take("publish")).retain).toBe(true);
  client.publish("clear", "", { retain: true });
  const live = await client.take("publish");
  expect(live.retain).toBe(false);
  expect(live.payload.length).toBe(0);
  await client.subscribe("clear");
  await client.ping();
  expect(client.packets).toEqual([]);
});

test("retain handling and retain as published", async () => {
  const publisher = await connect();
  publisher.publish("rh/a", "x", { retain: true });
  await publisher.ping();
  const client = await connect({ protocolVersion: 5 });
  await client.subscribe("rh/#", { rh: 2 });
  await client.ping();
  expect(client.packets).toEqual([]);
  await client.subscribe("rh/#", { rh: 1 });
  await client.ping();
  expect(client.packets).toEqual([]);
  await client.subscribe("rh/#", { rh: 0, rap: true });
  expect((await client.take("publish")).retain).toBe(true);
  publisher.publish("rh/a", "y", { retain: true });
  expect((await client.take("publish")).retain).toBe(true);
});

test("a wildcard subscription gets all retained messages, whatever its window", async () => {
  const publisher = await connect();
  const count = 5000;
  for (let index = 0; index < count; index++) {
    publisher.publish(`many/${index % 70}/${index}`, `payload ${index}`, { retain: true });
  }
  await publisher.ping();
  const client = await connect({ protocolVersion: 5, properties: { receiveMaximum: 5 } });
  await client.subscribe("many/#", { qos: 1 });
  const seen = new Set<string>();
  while (seen.size < count) {
    const message = await client.take("publish");
    seen.add(message.topic);
    if (message.qos > 0) client.send({ cmd: "puback", messageId: message.messageId });
  }
  await client.ping();
  expect(client.packets).toEqual([]);
});

test("what comes while retained messages are being handed out comes once", async () => {
  const publisher = await connect();
  for (let at = 0; at < 20; at++) publisher.publish(`busy/${at}`, "old", { qos: 1, retain: true, messageId: at + 1 });
  await publisher.takeMany("puback", 20);
  const subscriber = await connect({ protocolVersion: 5, properties: { receiveMaximum: 1 } });
  // The one message that may be under way holds up all others.
  await subscriber.subscribe("busy/#", { qos: 1 });
  publisher.publish("busy/0", "new", { qos: 1, retain: true, messageId: 1 });
  publisher.publish("busy/19", "new", { qos: 1, retain: true, messageId: 2 });
  publisher.publish("busy/20", "new", { qos: 1, retain: true, messageId: 3 });
  await publisher.takeMany("puback", 3);
  const got: string[] = [];
  while (got.filter((one) => one.endsWith("new")).length < 3) {
    const { topic, payload, messageId } = await subscriber.take("publish");
    got.push(`${topic} ${payload}`);
    if (messageId !== undefined) subscriber.send({ cmd: "puback", messageId, reasonCode: 0 });
  }
  await subscriber.ping();
  for (const { topic, payload } of subscriber.packets) got.push(`${topic} ${payload}`);
  for (const topic of ["busy/0", "busy/19", "busy/20"])
    expect(got.filter((one) => one === `${topic} new`)).toEqual([`${topic} new`]);
});

test("what a client publishes before its SUBACK has come reaches it once", async () => {
  const client = await connect({ protocolVersion: 5, properties: { sessionExpiryInterval: 60 } });
  client.publish("early/before", "v", { qos: 1, retain: true, messageId: 1 });
  client.send({ cmd: "subscribe", messageId: 2, subscriptions: [{ topic: "early/#", qos: 1 }] });
  client.publish("early/after", "v", { qos: 1, retain: true, messageId: 3 });
  await client.take("suback");
  await client.takeMany("puback", 2);
  await client.ping();
  const got = client.packets.filter(({ cmd }) => cmd === "publish").map(({ topic, retain }) => `${topic} ${retain}`);
  expect(got.sort()).toEqual(["early/after false", "early/before true"]);
});

test("no local", async () => {
  const client = await connect({ protocolVersion: 5 });
  const other = await connect({ protocolVersion: 5 });
  await client.subscribe("echo", { nl: true });
  client.publish("echo", "mine");
  other.publish("echo", "theirs");
  expect((await client.take("publish")).payload.toString()).toBe("theirs");
});

const will = (topic: string, more: AnyPacket = {}): AnyPacket => ({
  topic,
  payload: Buffer.from("gone"),
  qos: 1,
  retain: false,
  ...more,
});

test("a will is published when the connection is lost, not when the client leaves", async () => {
  const watcher = await connect();
  await watcher.subscribe("will/#", { qos: 1 });
  (await connect({ will: will("will/left") })).disconnect();
  (await connect({ will: will("will/lost") })).abort();
  expect((await watcher.take("publish")).topic).toBe("will/lost");
  const client = await connect({ protocolVersion: 5, will: will("will/said") });
  client.send({ cmd: "disconnect", reasonCode: 4 });
  expect((await watcher.take("publish")).topic).toBe("will/said");
});

test("a will delay is cut short by the session's end and cancelled by a return", async () => {
  const watcher = await connect();
  await watcher.subscribe("delay/#", { qos: 1 });
  const delayed = (clientId: string, expiry: number) => ({
    protocolVersion: 5,
    clean: false,
    clientId,
    properties: { sessionExpiryInterval: expiry },
    will: will(`delay/${clientId}`, { properties: { willDelayInterval: 100 } }),
  });
  (await connect(delayed("short", 0))).abort();
  expect((await watcher.take("publish")).topic).toBe("delay/short");
  const { timers, clock, localSessions } = broker.server.broker.context;
  const lose = async (clientId: string): Promise<void> => {
    (await connect(delayed(clientId, 1000))).abort();
    await eventually(() => localSessions.get(clientId)?.connection === undefined, `${clientId} is lost`);
  };
  await lose("returns");
  const back = await connect(delayed("returns", 1000));
  await lose("late");
  // As if the delay was over.
  timers.tick(clock.now() + 101_000);
  expect((await watcher.take("publish")).topic).toBe("delay/late");
  back.disconnect();
  await watcher.ping();
  expect(watcher.packets).toEqual([]);
});

test("a will keeps its properties in their order", async () => {
  const watcher = await connect({ protocolVersion: 5 });
  await watcher.subscribe("props", { qos: 1 });
  const properties = {
    contentType: "text/plain",
    userProperties: { b: "1", a: ["2", "3"] },
    messageExpiryInterval: 60,
  };
  (await connect({ protocolVersion: 5, will: will("props", { properties }) })).abort();
  const message = await watcher.take("publish");
  expect(message.properties.contentType).toBe("text/plain");
  expect(Object.entries(message.properties.userProperties)).toEqual([
    ["b", "1"],
    ["a", ["2", "3"]],
  ]);
  expect(message.properties.messageExpiryInterval).toBe(60);
});
