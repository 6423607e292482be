/** MQTT 5.0, 3.3 to 3.7, statement by statement: PUBLISH, its flags and properties, and the packets that answer it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { packetOf, sectionHex, textHex } from "../support/packet-bytes.ts";
import type { AnyPacket } from "../support/raw-client.ts";
import { stepsAt } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const { connect, publish } = stepsAt(() => broker);

/** The retained messages that a new subscription is handed. */
async function retainedOn(filter: string, options: AnyPacket = {}): Promise<string[]> {
  const client = await connect();
  await client.subscribe(filter, options);
  await client.ping();
  client.disconnect();
  return client.packets.map(({ topic, payload, retain }) => `${topic} ${payload} ${retain}`);
}

describe("DUP", () => {
  test("says whether it is sent again to this client, whatever the publisher's said [MQTT-3.3.1-1] [MQTT-3.3.1-3]", async () => {
    const lasting = { clientId: "dup", clean: false, properties: { sessionExpiryInterval: 100 } };
    const client = await connect(lasting);
    await client.subscribe("dup", { qos: 1 });
    await publish("dup", "x", { dup: true });
    expect((await client.take("publish")).dup).toBe(false);
    client.abort();
    expect((await (await connect(lasting)).take("publish")).dup).toBe(true);
  });

  test("is 0 at QoS 0, of a message that was published again, too [MQTT-3.3.1-2] [MQTT-4.3.1-1]", async () => {
    const client = await connect();
    await client.subscribe("dup/0", { qos: 0 });
    await publish("dup/0", "x", { dup: true });
    client.publish("dup/0", "y");
    const both = await client.takeMany("publish", 2);
    expect(both.map(({ dup, qos }) => [dup, qos])).toEqual([
      [false, 0],
      [false, 0],
    ]);
    client.write(packetOf(0x38, textHex("dup/0"), sectionHex(), "78"));
    expect((await client.take("disconnect")).reasonCode).toBe(0x81);
  });
});

test("both QoS bits are malformed [MQTT-3.3.1-4]", async () => {
  const client = await connect();
  client.write(packetOf(0x36, textHex("t"), "0001", sectionHex(), "78"));
  expect((await client.take("disconnect")).reasonCode).toBe(0x81);
});

describe("retained messages", () => {
  test.each([0, 1, 2])("QoS %i replaces what is retained on the topic [MQTT-3.3.1-5]", async (qos) => {
    const client = await connect();
    for (const payload of ["first", "second"])
      client.publish(`replaced/${qos}`, payload, {
        qos,
        retain: true,
        ...(qos > 0 ? { messageId: payload.length } : {}),
      });
    await client.ping();
    expect(await retainedOn(`replaced/${qos}`)).toEqual([`replaced/${qos} second true`]);
  });

  test("one without a payload removes, and is not retained itself [MQTT-3.3.1-6] [MQTT-3.3.1-7]", async () => {
    const client = await connect();
    await client.subscribe("removed", { rap: true });
    await publish("removed", "x", { retain: true });
    await publish("removed", "", { retain: true });
    // It is a message all the same.
    expect((await client.takeMany("publish", 2)).map(({ payload }) => payload.toString())).toEqual(["x", ""]);
    expect(await retainedOn("removed")).toEqual([]);
  });

  test("without the flag nothing is retained, and what is stays [MQTT-3.3.1-8]", async () => {
    await publish("kept", "x", { retain: true });
    await publish("kept", "y");
    await publish("kept", "");
    await publish("never", "z");
    expect([await retainedOn("kept"), await retainedOn("never")]).toEqual([["kept x true"], []]);
  });

  test("retain handling 0, 1, 2: always, where the subscription is new, never [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]", async () => {
    await publish("handling/x", "x", { retain: true });
    for (const [rh, first, again] of [
      [0, 1, 1],
      [1, 1, 0],
      [2, 0, 0],
    ] as const) {
      const client = await connect();
      for (const count of [first, again]) {
        await client.subscribe("handling/+", { rh });
        await client.ping();
        expect(client.packets.splice(0).length).toBe(count);
      }
      // A subscription that was ended is new.
      client.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["handling/+"] });
      await client.take("unsuback");
      await client.subscribe("handling/+", { rh });
      await client.ping();
      expect(client.packets.length).toBe(first);
    }
  });

  test("retain as published 0 and 1: the flag is 0, and as it came [MQTT-3.3.1-12] [MQTT-3.3.1-13]", async () => {
    for (const rap of [false, true]) {
      const client = await connect();
      await client.subscribe("as/published", { rap, rh: 2 });
      for (const retain of [true, false]) {
        await publish("as/published", "x", { retain });
        expect((await client.take("publish")).retain).toBe(rap && retain);
      }
    }
  });
});

describe("topic names", () => {
  test("hold no wildcard [MQTT-3.3.2-2] [MQTT-4.7.0-1]", async () => {
    for (const topic of ["#", "a/#", "+", "a/+/b", "a+", "a#b"]) {
      const client = await connect();
      client.publish(topic, "x");
      expect((await client.take("disconnect")).reasonCode).toBe(0x90);
    }
  });

  test("that are sent match the subscription's filter, and are the publisher's [MQTT-3.3.2-3]", async () => {
    const client = await connect({ properties: { topicAliasMaximum: 10 } });
    for (const filter of ["n/+/x", "$share/g/n/#"]) await client.subscribe(filter);
    await publish("n/1/x", "x");
    expect(
      (await client.takeMany("publish", 2)).map(({ topic, properties }) => topic || properties.topicAlias),
    ).toEqual(["n/1/x", 1]);
  });
});

test("what the publisher says of its payload is handed on as it is [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]", async () => {
  const section = sectionHex(
    "26",
    textHex("z"),
    textHex("1"),
    "01 01",
    "03",
    textHex("text/plain"),
    "26",
    textHex("a"),
    textHex("2"),
    "08",
    textHex("answer/to"),
    "09 0003 00ff01",
    "26",
    textHex("z"),
    textHex("3"),
  );
  const expected = {
    payloadFormatIndicator: true,
    contentType: "text/plain",
    responseTopic: "answer/to",
    correlationData: Buffer.from([0, 255, 1]),
    userProperties: { z: ["1", "3"], a: "2" },
  };
  const [live, shared, publisher] = [await connect(), await connect(), await connect()];
  const away = { clientId: "props-away", clean: false, properties: { sessionExpiryInterval: 100 } };
  const first = await connect(away);
  await first.subscribe("handed/on", { qos: 1 });
  first.disconnect();
  await live.subscribe("handed/on", { qos: 1 });
  await shared.subscribe("$share/g/handed/on");
  // At QoS 0, as it came; at QoS 1, written anew, stored, and retained.
  publisher.write(packetOf(0x30, textHex("handed/on"), section, "78"));
  publisher.write(packetOf(0x33, textHex("handed/on"), "0001", section, "78"));
  await publisher.take("puback");
  const late = await connect();
  await late.subscribe("handed/on");
  const back = await connect(away);
  for (const client of [live, live, shared, shared, late, back]) {
    client.tap = [];
    const { properties } = await client.take("publish");
    expect(properties).toEqual(expect.objectContaining(expected));
    expect(Object.keys(properties.userProperties)).toEqual(["z", "a"]);
  }
});

describe("topic aliases", () => {
  test("of every number up to the maximum are taken, the lowest and the highest too [MQTT-3.3.2-12]", async () => {
    const client = await connect();
    const { topicAliasMaximum } = client.connack.properties;
    await client.subscribe("numbers/#");
    for (let topicAlias = 1; topicAlias <= topicAliasMaximum; topicAlias++)
      client.publish(`numbers/${topicAlias}`, "", { properties: { topicAlias } });
    for (let topicAlias = topicAliasMaximum; topicAlias >= 1; topicAlias--)
      client.publish("", "", { properties: { topicAlias } });
    const topics = (await client.takeMany("publish", 2 * topicAliasMaximum)).map(({ topic }) => topic);
    const named = Array.from({ length: topicAliasMaximum }, (_, index) => `numbers/${index + 1}`);
    expect(topics).toEqual([...named, ...named.toReversed()]);
  });

  test("0, and one above the maximum, are refused [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.2.2-17]", async () => {
    for (const alias of ["0000", "0041", "ffff"]) {
      const client = await connect();
      client.write(packetOf(0x30, textHex("t"), sectionHex("23", alias), "78"));
      expect((await client.take("disconnect")).reasonCode).toBe(0x94);
    }
  });

  test("of an earlier connection mean nothing, in either direction [MQTT-3.3.2-7]", async () => {
    const properties = { sessionExpiryInterval: 100, topicAliasMaximum: 5 };
    const lasting = { clientId: "aliases", clean: false, properties };
    const first = await connect(lasting);
    await first.subscribe("earlier", { qos: 0 });
    first.publish("earlier", "1", { properties: { topicAlias: 3 } });
    first.publish("", "2", { properties: { topicAlias: 3 } });
    const [whole, short] = await first.takeMany("publish", 2);
    expect([whole.topic, short.topic]).toEqual(["earlier", ""]);
    first.disconnect();
    await first.untilClosed();
    const second = await connect(lasting);
    second.publish("earlier", "3");
    expect((await second.take("publish")).topic).toBe("earlier");
    second.publish("", "4", { properties: { topicAlias: 3 } });
    expect((await second.take("disconnect")).reasonCode).toBe(0x82);
  });
});

describe("subscription identifiers", () => {
  test("of all that match are in the one copy, which has the highest QoS [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]", async () => {
    const client = await connect();
    for (const [filter, qos, subscriptionIdentifier] of [
      ["over/lap", 0, 7],
      ["over/+", 2, 268_435_455],
      ["over/#", 1, undefined],
      ["+/lap", 1, 9],
    ] as const)
      await client.subscribe(filter, {
        qos,
        ...(subscriptionIdentifier === undefined ? {} : { properties: { subscriptionIdentifier } }),
      });
    const publisher = await connect();
    publisher.publish("over/lap", "x", { qos: 2, messageId: 1 });
    const { qos, properties } = await client.take("publish");
    expect([qos, [...properties.subscriptionIdentifier].sort((a, b) => a - b)]).toEqual([2, [7, 9, 268_435_455]]);
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  test("of each of several copies, for itself and a group, is its own [MQTT-3.3.4-5]", async () => {
    const client = await connect();
    await client.subscribe("copies", { properties: { subscriptionIdentifier: 1 } });
    await client.subscribe("$share/g/copies", { properties: { subscriptionIdentifier: 2 } });
    await client.subscribe("$share/h/copies");
    await publish("copies", "x");
    const ids = (await client.takeMany("publish", 3)).map(({ properties }) => properties?.subscriptionIdentifier ?? 0);
    expect(ids.sort()).toEqual([0, 1, 2]);
  });

  test("from a client are a protocol error [MQTT-3.3.4-6]", async () => {
    const client = await connect();
    client.write(packetOf(0x30, textHex("t"), sectionHex("0b 05"), "78"));
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
  });
});

test.each([
  ["no wildcard", "answers/1", true],
  ["#", "answers/#", false],
  ["+", "+/1", false],
])("a response topic with %s [MQTT-3.3.2-14]", async (_, responseTopic, isTaken) => {
  const client = await connect();
  await client.subscribe("question");
  client.publish("question", "x", { properties: { responseTopic } });
  const answer = await client.take(isTaken ? "publish" : "disconnect");
  expect(isTaken ? answer.properties.responseTopic : answer.reasonCode).toBe(isTaken ? responseTopic : 0x82);
});

describe("acknowledgements", () => {
  /** The reasons that PUBACK and PUBREC may give. */
  const reasons = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

  test("each QoS has its own answer [MQTT-3.3.4-1]", async () => {
    const client = await connect();
    client.publish("answers", "x");
    client.publish("answers", "x", { qos: 1, messageId: 1 });
    client.publish("answers", "x", { qos: 2, messageId: 2 });
    await client.ping();
    expect(client.packets.map(({ cmd, messageId }) => [cmd, messageId])).toEqual([
      ["puback", 1],
      ["pubrec", 2],
    ]);
  });

  test("their reasons are ones that the standard has [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]", async () => {
    const client = await connect();
    for (const [topic, reason] of [
      ["nobody/hears", 0x10],
      ["$SYS/mine", 0x87],
    ] as const) {
      client.publish(topic, "x", { qos: 1, messageId: 1 });
      client.publish(topic, "x", { qos: 2, messageId: reason });
      expect((await client.take("puback")).reasonCode).toBe(reason);
      expect((await client.take("pubrec")).reasonCode).toBe(reason);
      expect(reasons).toContain(reason);
    }
    client.send({ cmd: "pubrel", messageId: 0x87 });
    client.send({ cmd: "pubrel", messageId: 3 });
    expect((await client.takeMany("pubcomp", 2)).map(({ reasonCode }) => reasonCode)).toEqual([0x92, 0x92]);
    client.publish("nobody/hears", "x", { qos: 2, messageId: 3 });
    client.send({ cmd: "pubrel", messageId: 3 });
    expect((await client.take("pubcomp")).reasonCode ?? 0).toBe(0);
    client.send({ cmd: "pubrec", messageId: 9 });
    expect((await client.take("pubrel")).reasonCode).toBe(0x92);
  });

  test("a reason string is left out where the packet would be too large for the client [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]", async () => {
    for (const [maximumPacketSize, isTold] of [
      [100, true],
      [20, false],
    ] as const) {
      const client = await connect({ properties: { maximumPacketSize } });
      client.tap = [];
      client.publish("$SYS/mine", "x", { qos: 1, messageId: 1 });
      client.publish("$SYS/mine", "x", { qos: 2, messageId: 2 });
      for (const answer of [await client.take("puback"), await client.take("pubrec")]) {
        expect([answer.reasonCode, answer.properties?.reasonString !== undefined]).toEqual([0x87, isTold]);
        expect(answer.length).toBeLessThanOrEqual(maximumPacketSize - 2);
      }
    }
  });

  test("PUBREL and PUBCOMP say nothing but their reason, so that they fit [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]", async () => {
    const client = await connect();
    await client.subscribe("bare", { qos: 2 });
    client.publish("bare", "x", { qos: 2, messageId: 1 });
    const { messageId } = await client.take("publish");
    client.tap = [];
    client.send({ cmd: "pubrec", messageId });
    await client.take("pubrel");
    client.send({ cmd: "pubrel", messageId: 1 });
    await client.take("pubcomp");
    client.send({ cmd: "pubrel", messageId: 7 });
    await client.take("pubcomp");
    const id = messageId.toString(16).padStart(4, "0");
    expect(Buffer.concat(client.tap).toString("hex")).toEndWith(`6202${id}700200017003000792`);
  });

  test.each(reasons)(
    "PUBACK and PUBREC 0x%x of a client are taken [MQTT-3.4.2-1] [MQTT-3.5.2-1]",
    async (reasonCode) => {
      const client = await connect();
      await client.subscribe(`taken/${reasonCode}`, { qos: 2 });
      for (const qos of [1, 2]) {
        client.publish(`taken/${reasonCode}`, "x", { qos, messageId: qos });
        const { messageId } = await client.take("publish");
        client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId, reasonCode });
        if (qos === 2 && reasonCode < 0x80) expect((await client.take("pubrel")).messageId).toBe(messageId);
      }
      await client.ping();
      expect(client.packets.filter(({ cmd }) => cmd === "pubrel" || cmd === "disconnect")).toEqual([]);
    },
  );
});
