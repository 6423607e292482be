/** MQTT 5.0, 3.8 to 3.11 and 4.7, statement by statement: SUBSCRIBE, UNSUBSCRIBE, and which topics match. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { bytesOf, packetOf, sectionHex, textHex } from "../support/packet-bytes.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import { stepsAt } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const { connect, publish } = stepsAt(() => broker);
const plain = { qos: 0, nl: false, rap: false, rh: 0 };

/** The topics that a filter matches, as messages tell. */
async function matched(filter: string, topics: readonly string[]): Promise<string[]> {
  const client = await connect();
  await client.subscribe(filter, { rh: 2 });
  for (const topic of topics) client.publish(topic, "");
  await client.ping();
  client.disconnect();
  return client.packets.filter(({ cmd }) => cmd === "publish").map(({ topic }) => topic);
}

describe("SUBSCRIBE", () => {
  test.each([
    ["no filter [MQTT-3.8.3-2]", "0001 00", 0x82],
    ["no local on a shared subscription [MQTT-3.8.3-4]", `0001 00 ${textHex("$share/g/a")} 04`, 0x82],
    ["the reserved bit 6 of the options [MQTT-3.8.3-5]", "0001 00 0001 61 40", 0x81],
    ["the reserved bit 7 of the options [MQTT-3.8.3-5]", "0001 00 0001 61 80", 0x81],
    ["QoS 3", "0001 00 0001 61 03", 0x81],
    ["retain handling 3", "0001 00 0001 61 30", 0x82],
    ["an empty filter [MQTT-4.7.3-1]", "0001 00 0000 00", 0x81],
  ])("with %s ends the connection", async (_, body, reason) => {
    const client = await connect();
    client.write(packetOf(0x82, body));
    expect((await client.take("disconnect")).reasonCode).toBe(reason);
    await client.untilClosed();
  });

  test("no local: what a client publishes does not come back to it, whichever connection it came by [MQTT-3.8.3-3]", async () => {
    const lasting = { clientId: "no-local", clean: false, properties: { sessionExpiryInterval: 100 } };
    const first = await connect(lasting);
    await first.subscribe("local/#", { qos: 1, nl: true });
    first.publish("local/mine", "x", { qos: 1, messageId: 1 });
    await first.take("puback");
    first.abort();
    const again = await connect(lasting);
    again.publish("local/mine", "y");
    await publish("local/theirs", "z");
    expect((await again.take("publish")).topic).toBe("local/theirs");
  });

  test.each([3, 4, 5] as const)(
    "version %i: is answered with SUBACK, under its identifier, one code a filter in their order [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2]",
    async (protocolVersion) => {
      const client = await connect({ protocolVersion });
      const filters = [
        ["s/2", 2],
        ["s/#/bad", 1],
        ["s/0", 0],
        ["+bad", 2],
        ["s/1", 1],
        ["$share/no-filter", 1],
      ] as const;
      client.send({
        cmd: "subscribe",
        messageId: 4711,
        subscriptions: filters.map(([topic, qos]) => ({ ...plain, topic, qos })),
      });
      const suback = await client.take("suback");
      const bad = protocolVersion === 5 ? 0x8f : 0x80;
      const group = protocolVersion === 5 ? 0x8f : bad;
      expect([suback.messageId, suback.granted]).toEqual([4711, [2, bad, 0, bad, 1, group]]);
      await client.ping();
      expect(client.packets).toEqual([]);
    },
  );

  test("with several filters is as several in their order, answered once [MQTT-3.8.4-5]", async () => {
    await publish("several/x", "x", { retain: true });
    const client = await connect();
    const topic = "several/x";
    client.send({
      cmd: "subscribe",
      messageId: 1,
      subscriptions: [
        { ...plain, topic, qos: 2 },
        { ...plain, topic: "several/+", rh: 2 },
        { ...plain, topic, qos: 1, rap: true },
      ],
    });
    expect((await client.take("suback")).granted).toEqual([2, 0, 1]);
    await client.ping();
    expect(client.packets.filter(({ cmd }) => cmd === "suback")).toEqual([]);
    client.packets.splice(0);
    // The later of two on one filter is the one that holds.
    await publish(topic, "y", { qos: 2, retain: true });
    expect(await client.take("publish")).toMatchObject({ qos: 1, retain: true });
  });

  test("on the same filter replaces the subscription: options, identifier, and one copy [MQTT-3.8.4-3]", async () => {
    const client = await connect();
    await client.subscribe("same", { qos: 2, properties: { subscriptionIdentifier: 1 } });
    await client.subscribe("same", { qos: 0, properties: { subscriptionIdentifier: 2 } });
    await publish("same", "x");
    const message = await client.take("publish");
    expect([message.qos, message.properties.subscriptionIdentifier]).toEqual([0, 2]);
    await client.subscribe("same", { qos: 1 });
    await publish("same", "y");
    const last = await client.take("publish");
    expect([last.qos, last.properties?.subscriptionIdentifier]).toEqual([1, undefined]);
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  test("on the same filter sends what is retained again, and loses nothing that is published meanwhile [MQTT-3.8.4-4]", async () => {
    await publish("stream/kept", "r", { retain: true });
    const lasting = { clientId: "stream", clean: false, properties: { sessionExpiryInterval: 100 } };
    for (const options of [{}, lasting]) {
      const client = await connect(options);
      await client.subscribe("stream/#", { qos: 1 });
      expect((await client.take("publish")).retain).toBe(true);
      const publisher = await connect();
      const count = 200;
      for (let at = 1; at <= count; at++) {
        publisher.publish("stream/live", String(at), { qos: 1, messageId: at });
        if (at % 20 === 0) await client.subscribe("stream/#", { qos: 1 });
      }
      const live: string[] = [];
      let retained = 0;
      while (live.length < count || retained < 10) {
        const { topic, payload, messageId } = await client.take("publish");
        if (topic === "stream/kept") retained++;
        else live.push(payload.toString());
        client.send({ cmd: "puback", messageId });
      }
      expect(live).toEqual(Array.from({ length: count }, (_, index) => String(index + 1)));
      client.disconnect();
      publisher.disconnect();
    }
  });

  test("is granted a QoS, and each message comes at the lower of that and its own [MQTT-3.8.4-8] [MQTT-4.8.2-3]", async () => {
    for (const prefix of ["", "$share/g/"]) {
      for (const granted of [0, 1, 2]) {
        const client = await connect();
        const topic = `lower/${prefix.length}/${granted}`;
        expect((await client.subscribe(prefix + topic, { qos: granted })).granted).toEqual([granted]);
        const publisher = await connect();
        for (const qos of [0, 1, 2]) {
          publisher.publish(topic, "x", { qos, ...(qos === 0 ? {} : { messageId: qos }) });
          expect((await client.take("publish")).qos).toBe(Math.min(qos, granted));
        }
      }
    }
  });

  test("before MQTT 5 is granted 0, 1, 2 or 0x80, and nothing else [MQTT-3.9.3-2 of 3.1.1]", async () => {
    const client = await RawClient.connect(broker.port);
    client.tap = [];
    client.write(packetOf(0x82, "0001", textHex("a/#/b"), "01", textHex("ok"), "02"));
    await client.take("suback");
    expect(Buffer.concat(client.tap).toString("hex")).toBe("900400018002");
  });
});

describe("UNSUBSCRIBE", () => {
  test("with no filter is a protocol error [MQTT-3.10.3-2]", async () => {
    const client = await connect();
    client.write(bytesOf("a2 03 0001 00"));
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
  });

  test("ends the subscription whose filter it names, character by character, and no other [MQTT-3.10.4-1]", async () => {
    const client = await connect();
    for (const filter of ["ends/+", "ends/#", "ends/x", "Ends/x"]) await client.subscribe(filter);
    client.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["ends/x/", "ends/+/", "ends/X", "+/x", "#"] });
    expect((await client.take("unsuback")).granted).toEqual([0x11, 0x11, 0x11, 0x11, 0x11]);
    const { subscriptions } =
      broker.server.broker.context.localSessions.get(client.connack.clientId ?? "")?.session ?? {};
    expect(subscriptions).toBeUndefined();
    client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["ends/+", "ends/x"] });
    expect((await client.take("unsuback")).granted).toEqual([0, 0]);
    await publish("ends/x", "x");
    expect((await client.take("publish")).topic).toBe("ends/x");
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  test("lets no more messages be added, of those that wait for nothing [MQTT-3.10.4-2]", async () => {
    const client = await connect();
    await client.subscribe("added", { qos: 1 });
    client.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["added"] });
    await client.take("unsuback");
    await publish("added", "x");
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  test("leaves what has begun to be sent, to be finished in this connection and the next [MQTT-3.10.4-3]", async () => {
    const lasting = { clientId: "begun", clean: false, properties: { sessionExpiryInterval: 100 } };
    const client = await connect(lasting);
    await client.subscribe("begun", { qos: 2 });
    await publish("begun", "one", { qos: 1 });
    await publish("begun", "two", { qos: 2 });
    const [one, two] = await client.takeMany("publish", 2);
    client.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["begun"] });
    expect((await client.take("unsuback")).granted).toEqual([0]);
    client.send({ cmd: "pubrec", messageId: two.messageId });
    expect((await client.take("pubrel")).messageId).toBe(two.messageId);
    client.abort();
    const back = await connect(lasting);
    expect(await back.take("publish")).toMatchObject({ dup: true, messageId: one.messageId });
    expect((await back.take("pubrel")).messageId).toBe(two.messageId);
  });

  test.each([3, 4, 5] as const)(
    "version %i: is answered once, under its identifier, though nothing was subscribed; MQTT 5 has a code a filter, in their order [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2]",
    async (protocolVersion) => {
      const client = await connect({ protocolVersion });
      await client.subscribe("there");
      client.tap = [];
      client.send({
        cmd: "unsubscribe",
        messageId: 0x1234,
        unsubscriptions: ["not/there", "there", "there", "bad/#/x"],
      });
      await client.take("unsuback");
      await client.ping();
      const codes = protocolVersion === 5 ? "b0071234001100118f" : "b0021234";
      expect(Buffer.concat(client.tap).toString("hex")).toBe(`${codes}d000`);
    },
  );
});

describe("answers to a client that takes small packets only", () => {
  /** SUBACK and UNSUBACK say no more than their codes, unless the disk is full. */
  test("SUBACK and UNSUBACK have no properties [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2]", async () => {
    const client = await connect();
    client.tap = [];
    await client.subscribe("a/#/b");
    client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["a/#/b"] });
    await client.take("unsuback");
    expect(Buffer.concat(client.tap).toString("hex")).toBe("90040001008fb0040002008f");
  });

  test("what could not be answered within Maximum Packet Size is not done [MQTT-3.1.2-24]", async () => {
    const maximumPacketSize = 20;
    const filters = Array.from({ length: 16 }, (_, index) => `small/${index}`);
    const subscribe = (count: number): AnyPacket => ({
      cmd: "subscribe",
      messageId: 1,
      subscriptions: filters.slice(0, count).map((topic) => ({ ...plain, topic })),
    });
    const options = { clientId: "small", properties: { maximumPacketSize, sessionExpiryInterval: 100 } };
    const fits = await connect(options);
    fits.tap = [];
    fits.send(subscribe(15));
    await fits.take("suback");
    expect(Buffer.concat(fits.tap).length).toBe(maximumPacketSize);
    fits.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: filters });
    expect((await fits.take("disconnect")).reasonCode).toBe(0x95);
    expect(broker.server.broker.context.localSessions.get("small")!.session.subscriptions.size).toBe(15);
    const larger = await connect(options);
    larger.send(subscribe(16));
    expect((await larger.take("disconnect")).reasonCode).toBe(0x95);
    expect(broker.server.broker.context.localSessions.get("small")!.session.subscriptions.size).toBe(0);
  });

  test("a CONNACK that would be too large is a refusal, or says less [MQTT-3.1.2-24]", async () => {
    const asked = { requestResponseInformation: true };
    for (const [maximumPacketSize, clientId, code] of [
      [5, "c", 0x95],
      [15, "c", 0x95],
      [16, "c", 0],
      [55, "", 0x95],
      [56, "", 0],
    ] as const) {
      const client = await RawClient.dial(broker.port, 5);
      client.tap = [];
      client.send(connectPacket({ protocolVersion: 5, clientId, properties: { ...asked, maximumPacketSize } }));
      const connack = await client.take("connack");
      expect([maximumPacketSize, connack.reasonCode]).toEqual([maximumPacketSize, code]);
      expect(connack.properties?.responseInformation).toBeUndefined();
      expect(Buffer.concat(client.tap).length).toBeLessThanOrEqual(maximumPacketSize);
      client.abort();
    }
    // Not even the refusal fits.
    const tiny = await RawClient.dial(broker.port, 5);
    tiny.send(connectPacket({ protocolVersion: 5, properties: { maximumPacketSize: 4 } }));
    await tiny.untilClosed();
    expect(tiny.packets).toEqual([]);
  });
});

describe("filters and topics", () => {
  test("# stands alone or after a separator, and last; + fills a level [MQTT-4.7.1-1] [MQTT-4.7.1-2]", async () => {
    const client = await connect();
    for (const [filter, isGood] of [
      ["#", true],
      ["a/#", true],
      ["/#", true],
      ["+/#", true],
      ["+", true],
      ["+/a/+", true],
      ["/+", true],
      ["a#", false],
      ["a/#/b", false],
      ["#/", false],
      ["a/b#", false],
      ["a+", false],
      ["+a", false],
      ["a/+b/c", false],
      ["++", false],
    ] as const)
      expect([filter, (await client.subscribe(filter, { rh: 2 })).granted]).toEqual([filter, [isGood ? 0 : 0x8f]]);
  });

  test("a wildcard at the beginning matches no topic that begins with $ [MQTT-4.7.2-1]", async () => {
    const topics = ["$own/x", "own/x", "$own"];
    expect(await matched("#", topics)).toEqual(["own/x"]);
    expect(await matched("+/x", topics)).toEqual(["own/x"]);
    expect(await matched("+", topics)).toEqual([]);
    expect(await matched("$own/#", topics)).toEqual(["$own/x", "$own"]);
    expect(await matched("$own/+", topics)).toEqual(["$own/x"]);
    await publish("$own/known", "x", { retain: true });
    const client = await connect();
    await client.subscribe("+/known");
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  test("have at least one character [MQTT-4.7.3-1]", async () => {
    const client = await connect();
    client.write(packetOf(0x30, textHex(""), sectionHex(), "78"));
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
    expect(await matched("/", ["/", "//", "a"])).toEqual(["/"]);
  });

  test("hold no U+0000 [MQTT-4.7.3-2]", async () => {
    for (const packet of [
      packetOf(0x30, textHex("a\0b"), sectionHex(), "78"),
      packetOf(0x82, "0001", sectionHex(), textHex("a\0b"), "00"),
      packetOf(0xa2, "0001", sectionHex(), textHex("a\0b")),
    ]) {
      const client = await connect();
      client.write(packet);
      expect((await client.take("disconnect")).reasonCode).toBe(0x81);
    }
  });

  test("are as long as a text can be, 65535 bytes [MQTT-4.7.3-3]", async () => {
    const topic = `${"ä".repeat(32_767)}x`;
    expect(Buffer.from(topic).length).toBe(65_535);
    expect(await matched(topic, [topic, topic.slice(1), "x"])).toEqual([topic]);
  });

  test("are compared as they are: no case, no form, no trimming [MQTT-4.7.3-4]", async () => {
    const topics = ["Å", "A\u030a", "\u212b", "å", "a b", "a b ", " a b", "a/", "a", "a//", "%61", "\ufeffa"];
    for (const topic of topics) expect(await matched(topic, topics)).toEqual([topic]);
    const client = await connect({ clientId: "as-they-are", properties: { sessionExpiryInterval: 100 } });
    for (const topic of topics) await client.subscribe(topic, { qos: 1 });
    await eventually(
      () => broker.server.broker.context.localSessions.get("as-they-are")?.session.subscriptions.size === topics.length,
      "each is a subscription of its own",
    );
  });
});
