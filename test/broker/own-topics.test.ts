/** The broker's own topics: whichever way a client tries to say something there, it is refused in words. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const versions = [3, 4, 5] as const;
const own = ["$SYS", "$SYS/", "$SYS/broker/version", "$SYS/broker/hacked", "$share/g/t"];
/** Topics for clients: only whole levels `$SYS` and `$share` count, and mosquitto's bridges tell of themselves. */
const theirs = ["$SYSTEM/x", "$shared", "$other/x", "$SYS/broker/connection/a.b/state"];
const words = /\$SYS.*broker's own/;

const connect = (options: AnyPacket = {}) => RawClient.connect(broker.port, options);

/** Returns what a new subscriber is told of the topics, apart from what the broker says itself. */
async function saidOn(topics: readonly string[]): Promise<string[]> {
  const reader = await connect();
  for (const topic of topics) await reader.subscribe(topic.startsWith("$share") ? `$share/s/${topic}` : topic);
  await reader.ping();
  const said = reader.packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => String(payload));
  reader.disconnect();
  return said.filter((payload) => payload.startsWith("fake"));
}

describe.each(versions)("a client of version %i", (protocolVersion) => {
  const asked = { protocolVersion };
  const isFive = protocolVersion === 5;

  test.each(own)("publishes nothing on %p, at any QoS, retained or not", async (topic) => {
    const watcher = await connect();
    await watcher.subscribe("$SYS/broker/hacked");
    const client = await connect(asked);
    const { forbidden } = broker.server.broker.context.metrics;
    const before = forbidden.publish;
    for (const retain of [false, true]) {
      for (let count = 0; count < 3; count++) client.publish(topic, "fake", { retain });
      client.publish(topic, "fake", { qos: 1, messageId: 1, retain });
      client.publish(topic, "fake", { qos: 2, messageId: 2, retain });
      for (const answer of [await client.take("puback"), await client.take("pubrec")]) {
        // Before MQTT 5 there is no such answer [MQTT-3.3.5-2 of 3.1.1].
        expect(answer.reasonCode ?? 0).toBe(isFive ? 0x87 : 0);
        if (isFive) expect(answer.properties.reasonString).toMatch(words);
      }
      if (!isFive) {
        client.send({ cmd: "pubrel", messageId: 2 });
        await client.take("pubcomp");
      }
    }
    expect(forbidden.publish - before).toBe(10);
    await watcher.ping();
    expect(watcher.packets.filter(({ payload }) => String(payload) === "fake")).toEqual([]);
    expect(await saidOn([topic])).toEqual([]);
  });

  test.each(own)("is told at CONNECT that its will is not taken on %p", async (topic) => {
    const client = await RawClient.dial(broker.port, protocolVersion);
    client.send(connectPacket({ ...asked, will: { topic, payload: "fake", qos: 1, retain: true } }));
    const connack = await client.take("connack");
    expect(connack.reasonCode ?? connack.returnCode).toBe(isFive ? 0x87 : 5);
    if (isFive) expect(connack.properties.reasonString).toMatch(words);
    await client.untilClosed();
    expect(await saidOn([topic])).toEqual([]);
  });

  test.each(theirs)("may publish on %p, and have its will there", async (topic) => {
    const watcher = await connect();
    await watcher.subscribe(topic, { qos: 1 });
    watcher.packets.length = 0;
    const client = await connect({ ...asked, will: { topic, payload: "will", qos: 1, retain: true } });
    client.publish(topic, "said", { qos: 1, messageId: 1, retain: true });
    await client.take("puback");
    client.abort();
    expect((await watcher.takeMany("publish", 2)).map(({ payload }) => String(payload))).toEqual(["said", "will"]);
    const tidy = await connect();
    tidy.publish(topic, "", { qos: 1, messageId: 1, retain: true });
    await tidy.take("puback");
  });
});

test("a topic alias, or a topic that is followed by another one in the same chunk, opens no way", async () => {
  const client = await connect({ protocolVersion: 5 });
  await client.subscribe("open");
  const at = (topic: string, more: AnyPacket = {}): AnyPacket => ({
    cmd: "publish",
    qos: 0,
    topic,
    payload: "fake",
    ...more,
  });
  const topicAlias = { properties: { topicAlias: 1 } };
  client.send(at("open"));
  client.send(at("$SYS/broker/hacked", topicAlias));
  client.send(at("", topicAlias));
  client.send(at("", { ...topicAlias, retain: true }));
  client.send(at("", { ...topicAlias, qos: 1, messageId: 1 }));
  client.send(at("open"));
  expect((await client.take("puback")).reasonCode).toBe(0x87);
  await client.ping();
  expect(client.packets.map(({ topic }) => topic)).toEqual(["open", "open"]);
  expect(await saidOn(["$SYS/broker/hacked"])).toEqual([]);
});

test("a mail drop above it takes nothing in", async () => {
  const other = await startBroker({ mailDrop: ["$SYS/#"] });
  try {
    const client = await RawClient.connect(other.port, { protocolVersion: 5 });
    for (const qos of [0, 1] as const) client.publish("$SYS/broker/hacked", "fake", { qos, messageId: 1 });
    expect((await client.take("puback")).reasonCode).toBe(0x87);
    await client.subscribe("$SYS/broker/hacked", { qos: 1 });
    await client.ping();
    expect(client.packets).toEqual([]);
    await eventually(() => other.server.broker.context.mail.stored === 0, "nothing is stored");
  } finally {
    await other.stop();
  }
});
