/** MQTT 5.0, chapters 1 and 2, statement by statement: texts, integers, flags, packet identifiers, properties. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { binaryHex, bytesOf, packetOf, sectionHex, textHex } from "../support/packet-bytes.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";
import { stepsAt } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const { connect } = stepsAt(() => broker);

/** Everything that has come since the tap was set, in hex. */
const tapped = ({ tap }: RawClient): string => Buffer.concat(tap!).toString("hex");

/** Texts that no UTF-8 Encoded String may hold. */
const badTexts: Record<string, string> = {
  "an overlong form": "c080",
  "a lone continuation byte": "61 80",
  "a cut-off character": "61 e282",
  "a high surrogate": "eda080",
  "a low surrogate": "edbfbf",
  "a code point above U+10FFFF": "f4908080",
  "U+0000": "61 00 62",
};

/** CONNECT of MQTT 5 with flags, properties and a payload of its own. */
const connectBytes = (flags: string, properties: string, ...payload: readonly string[]): Uint8Array =>
  packetOf(0x10, textHex("MQTT"), "05", flags, "0000", properties, ...payload);
const noProperties = sectionHex();

/** Where a client says a text: the packet with `bad` there. */
const places: Record<string, (bad: string) => Uint8Array> = {
  "the client identifier [MQTT-3.1.3-4]": (bad) => connectBytes("02", noProperties, bad),
  "the will's topic [MQTT-3.1.3-11]": (bad) =>
    connectBytes("06", noProperties, textHex("c"), noProperties, bad, textHex("x")),
  "the user name [MQTT-3.1.3-12]": (bad) => connectBytes("82", noProperties, textHex("c"), bad),
  "a user property's name in CONNECT [MQTT-1.5.7-1]": (bad) =>
    connectBytes("02", sectionHex("26", bad, textHex("v")), textHex("c")),
  "the authentication method": (bad) => connectBytes("02", sectionHex("15", bad), textHex("c")),
  "the will's content type": (bad) =>
    connectBytes("06", noProperties, textHex("c"), sectionHex("03", bad), textHex("t"), textHex("x")),
  "the topic name [MQTT-3.3.2-1]": (bad) => packetOf(0x30, bad, noProperties, "78"),
  "the response topic [MQTT-3.3.2-13]": (bad) => packetOf(0x30, textHex("t"), sectionHex("08", bad), "78"),
  "the content type [MQTT-3.3.2-19]": (bad) => packetOf(0x30, textHex("t"), sectionHex("03", bad), "78"),
  "a user property's value in PUBLISH [MQTT-1.5.7-1]": (bad) =>
    packetOf(0x32, textHex("t"), "0001", sectionHex("26", textHex("k"), bad), "78"),
  "a filter of SUBSCRIBE [MQTT-3.8.3-1]": (bad) => packetOf(0x82, "0001", noProperties, bad, "00"),
  "a filter of UNSUBSCRIBE [MQTT-3.10.3-1]": (bad) => packetOf(0xa2, "0001", noProperties, bad),
  "the reason string of an ack": (bad) => packetOf(0x40, "0001 10", sectionHex("1f", bad)),
  "the reason string of DISCONNECT": (bad) => packetOf(0xe0, "00", sectionHex("1f", bad)),
};

describe("a text that is not well-formed UTF-8 without U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2]", () => {
  test.each(Object.entries(places))("in %s", async (_, packetWith) => {
    for (const bad of Object.values(badTexts)) {
      const packet = packetWith(binaryHex(bad));
      const isConnect = packet[0] === 0x10;
      const client = isConnect ? await RawClient.dial(broker.port, 5) : await connect();
      client.write(packet);
      const answer = await client.take(isConnect ? "connack" : "disconnect");
      expect(answer.reasonCode).toBe(0x81);
      await client.untilClosed();
    }
  });

  test("the same places take a text that is all right, so it is the text that is refused", async () => {
    for (const [place, packetWith] of Object.entries(places)) {
      const packet = packetWith(textHex("\u{10ffff}ä"));
      const isConnect = packet[0] === 0x10;
      const client = isConnect ? await RawClient.dial(broker.port, 5) : await connect();
      client.write(packet);
      if (!isConnect) client.send({ cmd: "pingreq" });
      await client.until(() => client.packets.length > 0 || client.closed, place);
      const said = client.packets.map(({ reasonCode }) => reasonCode);
      expect([place, said.includes(0x81)]).toEqual([place, false]);
      client.abort();
    }
  });
});

test("U+FEFF stays where it is, in every text [MQTT-1.5.4-3]", async () => {
  const mark = "\ufeff";
  const session = { clientId: `${mark}id`, clean: false, properties: { sessionExpiryInterval: 100 } };
  const client = await connect(session);
  await client.subscribe(`${mark}t/#`, { qos: 1 });
  client.tap = [];
  const properties = {
    contentType: `${mark}c`,
    responseTopic: `${mark}r`,
    userProperties: { [`${mark}k`]: `${mark}v` },
  };
  client.publish(`${mark}t/${mark}`, "x", { qos: 1, messageId: 1, properties });
  const message = await client.take("publish");
  expect([message.topic, message.properties]).toEqual([`${mark}t/${mark}`, expect.objectContaining(properties)]);
  // Without it, it is another topic, and another client.
  client.publish("t/x", "x");
  await client.ping();
  expect(client.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  expect((await connect({ ...session, clientId: "id" })).connack.sessionPresent).toBe(false);
  client.abort();
  const back = await connect(session);
  expect(back.connack.sessionPresent).toBe(true);
  expect((await back.take("publish")).topic).toBe(`${mark}t/${mark}`);
});

test.each([
  ["the remaining length", "c0 80 00"],
  ["the property length", "82 08 0001 80 00 0001 61 00"],
  ["a subscription identifier", "82 0a 0001 03 0b 81 00 0001 61 00"],
])("%s that is not in its shortest form is malformed [MQTT-1.5.5-1]", async (_, hex) => {
  const client = await connect();
  client.write(bytesOf(hex));
  expect((await client.take("disconnect")).reasonCode).toBe(0x81);
});

test("lengths and identifiers that are sent are in their shortest form [MQTT-1.5.5-1]", async () => {
  const client = await connect();
  for (const [id, form] of [
    [127, "7f"],
    [128, "8001"],
    [16_383, "ff7f"],
    [16_384, "808001"],
  ] as const) {
    await client.subscribe("short", { properties: { subscriptionIdentifier: id } });
    client.tap = [];
    client.publish("short", "x");
    await client.take("publish");
    const section = sectionHex("0b", form);
    expect(tapped(client)).toBe(Buffer.from(packetOf(0x30, textHex("short"), section, "78")).toString("hex"));
  }
});

/** The flags that the standard has in the header of each packet that a client may send, PUBLISH apart. */
const reserved: readonly [what: string, type: number, flags: number, body: string][] = [
  ["PUBACK", 4, 0, "0001"],
  ["PUBREC", 5, 0, "0001"],
  ["PUBREL [MQTT-3.6.1-1]", 6, 2, "0001"],
  ["PUBCOMP", 7, 0, "0001"],
  ["SUBSCRIBE [MQTT-3.8.1-1]", 8, 2, "0001 00 0001 61 00"],
  ["UNSUBSCRIBE [MQTT-3.10.1-1]", 10, 2, "0001 00 0001 61"],
  ["PINGREQ", 12, 0, ""],
  ["DISCONNECT [MQTT-3.14.1-1]", 14, 0, ""],
];

describe("reserved header flags are as the standard has them, or the packet is malformed [MQTT-2.1.3-1]", () => {
  test.each(reserved)("%s", async (_, type, flags, body) => {
    for (let other = 0; other < 16; other++) {
      const client = await connect();
      client.write(packetOf((type << 4) | other, body));
      if (other !== flags) expect((await client.take("disconnect")).reasonCode).toBe(0x81);
      else if (type === 14) await client.untilClosed();
      else await client.ping();
      client.abort();
    }
  });

  test("CONNECT", async () => {
    for (let flags = 1; flags < 16; flags++) {
      const client = await RawClient.dial(broker.port, 5);
      client.write(packetOf(0x10 | flags, textHex("MQTT"), "05 02 0000", noProperties, textHex("")));
      expect((await client.take("connack")).reasonCode).toBe(0x81);
      await client.untilClosed();
    }
  });

  test("AUTH [MQTT-3.15.1-1]", async () => {
    for (let flags = 1; flags < 16; flags++) {
      const client = await connect();
      client.write(packetOf(0xf0 | flags, "18", sectionHex("15", textHex("SCRAM-SHA-256"))));
      expect((await client.take("disconnect")).reasonCode).toBe(0x81);
    }
  });
});

describe("packet identifiers", () => {
  test("QoS 0 has none: what follows the topic is read, and sent, as the rest [MQTT-2.2.1-2]", async () => {
    const client = await RawClient.connect(broker.port);
    await client.subscribe("none");
    client.tap = [];
    const packet = packetOf(0x30, textHex("none"), "0001 78");
    client.write(packet);
    expect((await client.take("publish")).payload).toEqual(Buffer.from([0, 1, 0x78]));
    expect(tapped(client)).toBe(Buffer.from(packet).toString("hex"));
  });

  test("0 is refused wherever there is one", async () => {
    for (const hex of [
      "32 07 0001 74 0000 00 78",
      "82 07 0000 00 0001 61 00",
      "a2 06 0000 00 0001 61",
      "40 02 0000",
      "50 02 0000",
      "62 02 0000",
      "70 02 0000",
    ]) {
      const client = await connect();
      client.write(bytesOf(hex));
      expect((await client.take("disconnect")).reasonCode).toBe(0x82);
    }
  });

  test("a message of QoS 1 or 2 is sent under one that is not 0 and not in use [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]", async () => {
    const client = await connect({ properties: { receiveMaximum: 65_535 } });
    await client.subscribe("ids", { qos: 2 });
    const publisher = await connect();
    const inUse = new Set<number>();
    for (let round = 0; round < 5; round++) {
      for (let at = 1; at <= 100; at++)
        publisher.publish("ids", "x", { qos: 1 + (at % 2), messageId: round * 100 + at });
      await publisher.takeMany("puback", 50);
      for (const { messageId } of await publisher.takeMany("pubrec", 50)) publisher.send({ cmd: "pubrel", messageId });
      for (const { messageId, qos, dup } of await client.takeMany("publish", 100)) {
        expect([messageId > 0, inUse.has(messageId), dup]).toEqual([true, false, false]);
        inUse.add(messageId);
        // Every other one is free again; some stay in use for ever.
        if (messageId % 2 === 0) continue;
        client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
        if (qos === 1) inUse.delete(messageId);
      }
      await client.ping();
    }
  });

  test.each([3, 4, 5] as const)(
    "version %i: each answer has that of what it answers [MQTT-2.2.1-5] [MQTT-2.2.1-6]",
    async (protocolVersion) => {
      const client = await connect({ protocolVersion });
      for (const messageId of [1, 255, 256, 65_535]) {
        client.publish("answer", "x", { qos: 1, messageId });
        expect((await client.take("puback")).messageId).toBe(messageId);
        client.publish("answer", "x", { qos: 2, messageId });
        expect((await client.take("pubrec")).messageId).toBe(messageId);
        client.send({ cmd: "pubrel", messageId });
        expect((await client.take("pubcomp")).messageId).toBe(messageId);
        client.send({ cmd: "subscribe", messageId, subscriptions: [{ topic: "s", qos: 0 }] });
        expect((await client.take("suback")).messageId).toBe(messageId);
        client.send({ cmd: "unsubscribe", messageId, unsubscriptions: ["s"] });
        expect((await client.take("unsuback")).messageId).toBe(messageId);
      }
    },
  );
});

test("no properties are a property length of 0 [MQTT-2.2.2-1]", async () => {
  const client = await connect();
  client.tap = [];
  client.write(bytesOf("82 08 0007 00 0002 6e70 00"));
  await client.take("suback");
  client.write(bytesOf("30 06 0002 6e70 00 78"));
  await client.take("publish");
  client.write(bytesOf("a2 07 0008 00 0002 6e70"));
  await client.take("unsuback");
  expect(tapped(client)).toBe("9004000700003006" + "00026e700078" + "b00400080000");
  for (const hex of ["30 03 0001 61", "82 02 0001", "a2 02 0001"]) {
    const cut = await connect();
    cut.write(bytesOf(hex));
    expect((await cut.take("disconnect")).reasonCode).toBe(0x81);
  }
  const bare = await RawClient.dial(broker.port, 5);
  bare.send(connectPacket({ protocolVersion: 5 }));
  expect((await bare.take("connack")).reasonCode).toBe(0);
});
