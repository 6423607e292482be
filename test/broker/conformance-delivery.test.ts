/** MQTT 5.0, 4.6 to 4.9, statement by statement: order, groups, the send quota; and sizes and expiry. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import type { RawClient } from "../support/raw-client.ts";
import { lasting, stepsAt, textsOf } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker({ maxInflight: 20 });
});
afterAll(() => broker.stop());

const { connect, publish, isAway } = stepsAt(() => broker);

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

describe("order", () => {
  test("acknowledgements leave in the order of the publishes, whichever is settled first [MQTT-4.6.0-2] [MQTT-4.6.0-3]", async () => {
    const away = await connect(lasting("order-away"));
    await away.subscribe("slow", { qos: 1 });
    away.disconnect();
    await eventually(isAway("order-away"), "it is away");
    const client = await connect();
    // The first of each pair waits for the store.
    for (let at = 1; at <= 10; at++)
      client.publish(at % 2 === 1 ? "slow" : "fast", "x", { qos: 1 + (at % 3 === 0 ? 1 : 0), messageId: at });
    await client.until(() => client.packets.length >= 10, "all answers");
    expect(client.packets.map(({ messageId }) => messageId)).toEqual(numbers(1, 10).map(Number));
    for (const { cmd, messageId } of client.packets.splice(0))
      if (cmd === "pubrec") client.send({ cmd: "pubrel", messageId });
    // PUBREL by PUBREL, too.
    expect((await client.takeMany("pubcomp", 3)).map(({ messageId }) => messageId)).toEqual([3, 6, 9]);
  });

  test.each([0, 1, 2] as const)(
    "QoS %i: messages of one client on a topic come in their order, also when they wait [MQTT-4.6.0-5] [MQTT-4.6.0-6]",
    async (qos) => {
      const topic = `order/${qos}`;
      const live = await connect({ properties: { receiveMaximum: 2 } });
      const waits = await connect(lasting(`order-${qos}`));
      for (const client of [live, waits]) await client.subscribe("order/#", { qos: 2 });
      const publisher = await connect();
      const send = async (from: number, to: number): Promise<void> => {
        for (let at = from; at <= to; at++) {
          publisher.publish(topic, String(at), { qos, messageId: at });
          if (qos === 1) await publisher.take("puback");
          if (qos < 2) continue;
          await publisher.take("pubrec");
          publisher.send({ cmd: "pubrel", messageId: at });
        }
        await publisher.ping();
      };
      const receive = async (client: RawClient, count: number): Promise<string[]> => {
        const seen: string[] = [];
        while (seen.length < count) {
          const { payload, messageId } = await client.take("publish");
          seen.push(payload.toString());
          if (qos > 0) client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
          if (qos < 2) continue;
          await client.take("pubrel");
          client.send({ cmd: "pubcomp", messageId });
        }
        return seen;
      };
      await send(1, 20);
      expect(await receive(waits, 20)).toEqual(numbers(1, 20));
      waits.disconnect();
      await waits.untilClosed();
      await send(21, 40);
      const back = await connect(lasting(`order-${qos}`));
      await send(41, 60);
      expect(await receive(live, 60)).toEqual(numbers(1, 60));
      expect(await receive(back, qos === 0 ? 20 : 40)).toEqual(numbers(qos === 0 ? 41 : 21, 60));
      for (const client of [live, back, publisher]) client.disconnect();
    },
  );

  test("what is sent again is sent in the order in which it was sent [MQTT-4.6.0-1]", async () => {
    const client = await connect(lasting("resent"));
    await client.subscribe("resent", { qos: 1 });
    for (const payload of numbers(1, 5)) await publish("resent", payload);
    const [, second] = await client.takeMany("publish", 5);
    client.send({ cmd: "puback", messageId: second.messageId });
    await client.ping();
    client.abort();
    const back = await connect(lasting("resent"));
    expect(textsOf(await back.takeMany("publish", 4))).toEqual(["1", "3", "4", "5"]);
  });
});

describe("shared subscriptions", () => {
  test("have a name of at least one character, without / + #, and a filter behind it [MQTT-4.8.2-1] [MQTT-4.8.2-2]", async () => {
    const client = await connect();
    for (const [filter, isGood] of [
      ["$share/g/a", true],
      ["$share/ä b/+/#", true],
      ["$share/g//", true],
      ["$SHARE/g/a", true],
      ["$share/", false],
      ["$share//a", false],
      ["$share/g", false],
      ["$share/g/", false],
      ["$share/+/a", false],
      ["$share/g#/a", false],
      ["$share/g+/a", false],
      ["$share/g/a/#/b", false],
    ] as const)
      expect([filter, (await client.subscribe(filter)).granted[0]]).toEqual([filter, isGood ? 0 : 0x8f]);
  });

  test("QoS 2 whose delivery has begun is finished with the same client, when it comes back [MQTT-4.8.2-4]", async () => {
    for (const step of ["publish", "pubrel"] as const) {
      const id = `finishes-${step}`;
      const client = await connect(lasting(id));
      await client.subscribe(`$share/g/${id}`, { qos: 2 });
      await publish(id, "x", { qos: 2 });
      const { messageId } = await client.take("publish");
      if (step === "pubrel") {
        client.send({ cmd: "pubrec", messageId });
        await client.take("pubrel");
      }
      const other = await connect();
      await other.subscribe(`$share/g/${id}`, { qos: 2 });
      client.abort();
      const back = await connect(lasting(id));
      expect((await back.take(step)).messageId).toBe(messageId);
      await other.ping();
      expect(other.packets).toEqual([]);
    }
  });

  test("QoS 2 that was sent to a session that ends goes to nobody else [MQTT-4.8.2-5]", async () => {
    const client = await connect(lasting("ends"));
    await client.subscribe("$share/g/ends", { qos: 2 });
    await publish("ends", "x", { qos: 2 });
    await client.take("publish");
    const other = await connect();
    await other.subscribe("$share/g/ends", { qos: 2 });
    client.abort();
    (await connect({ clientId: "ends" })).disconnect();
    await publish("ends", "y", { qos: 2 });
    expect((await other.take("publish")).payload.toString()).toBe("y");
  });
});

describe("the send quota", () => {
  test("is what the client takes, and then nothing of QoS 1 and 2 is sent; all else goes on [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3] [MQTT-3.3.4-9] [MQTT-3.3.4-10]", async () => {
    const client = await connect({ properties: { receiveMaximum: 3 } });
    await client.subscribe("quota/#", { qos: 2 });
    const publisher = await connect();
    for (let at = 1; at <= 6; at++) publisher.publish("quota/x", String(at), { qos: 1 + (at % 2), messageId: at });
    await publisher.until(() => publisher.packets.length >= 6, "all answers");
    await client.ping();
    const sent = client.packets.splice(0);
    expect(textsOf(sent)).toEqual(["1", "2", "3"]);
    // Other packets, and QoS 0, do not wait.
    publisher.publish("quota/x", "at QoS 0");
    expect((await client.take("publish")).payload.toString()).toBe("at QoS 0");
    expect((await client.subscribe("other", { qos: 1 })).granted).toEqual([1]);
    client.publish("other/one", "x", { qos: 1, messageId: 1 });
    await client.take("puback");
    client.publish("other/two", "x", { qos: 2, messageId: 2 });
    await client.take("pubrec");
    client.send({ cmd: "pubrel", messageId: 2 });
    await client.take("pubcomp");
    // PUBREC alone makes no room; PUBCOMP, PUBACK and a PUBREC that refuses do.
    const [first, second, third] = sent;
    client.send({ cmd: "pubrec", messageId: first.messageId });
    await client.take("pubrel");
    await client.ping();
    expect(client.packets).toEqual([]);
    client.send({ cmd: "pubcomp", messageId: first.messageId });
    expect((await client.take("publish")).payload.toString()).toBe("4");
    client.send({ cmd: "puback", messageId: second.messageId });
    expect((await client.take("publish")).payload.toString()).toBe("5");
    client.send({ cmd: "pubrec", messageId: third.messageId, reasonCode: 0x80 });
    expect((await client.take("publish")).payload.toString()).toBe("6");
    // An ack that comes twice makes no room twice.
    for (let time = 0; time < 3; time++) client.send({ cmd: "pubcomp", messageId: first.messageId });
    publisher.publish("quota/x", "7", { qos: 1, messageId: 7 });
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  test("of the broker is told in CONNACK, and a client that sends more is told 0x93 [MQTT-3.3.4-7]", async () => {
    const client = await connect();
    const { receiveMaximum } = client.connack.properties;
    expect(receiveMaximum).toBe(20);
    for (let messageId = 1; messageId <= receiveMaximum; messageId++)
      client.publish("more", "x", { qos: 2, messageId });
    await client.takeMany("pubrec", receiveMaximum);
    // One that is settled makes room for one.
    client.send({ cmd: "pubrel", messageId: 1 });
    await client.take("pubcomp");
    client.publish("more", "x", { qos: 2, messageId: 1 });
    await client.take("pubrec");
    client.publish("more", "x", { qos: 1, messageId: 99 });
    expect((await client.take("disconnect")).reasonCode).toBe(0x93);
  });

  test("begins anew with each connection [MQTT-4.9.0-1]", async () => {
    const client = await connect(lasting("quota-anew", { properties: { receiveMaximum: 1 } }));
    await client.subscribe("quota-anew", { qos: 1 });
    for (const payload of ["1", "2", "3"]) await publish("quota-anew", payload);
    await client.ping();
    expect(client.packets.length).toBe(1);
    client.abort();
    const back = await connect(lasting("quota-anew", { properties: { receiveMaximum: 2 } }));
    await back.takeMany("publish", 2);
    await back.ping();
    expect(back.packets).toEqual([]);
  });
});

describe("Maximum Packet Size", () => {
  test("a message that is larger is not sent, and counts as delivered [MQTT-3.1.2-24] [MQTT-3.1.2-25]", async () => {
    for (const qos of [0, 1, 2] as const) {
      const id = `size-${qos}`;
      const options = lasting(id, { properties: { maximumPacketSize: 60 } });
      const client = await connect(options);
      client.tap = [];
      await client.subscribe(id, { qos: 2 });
      const publisher = await connect();
      for (const [at, length] of [100, 1].entries())
        publisher.publish(id, "x".repeat(length), { qos, messageId: at + 1 });
      if (qos > 0) await publisher.takeMany(qos === 1 ? "puback" : "pubrec", 2);
      expect((await client.take("publish")).payload.length).toBe(1);
      expect(Math.max(...client.tap.map(({ length }) => length))).toBeLessThanOrEqual(60);
      client.abort();
      // It does not come after all, to a connection that takes all.
      await eventually(isAway(id), "it is away");
      const back = await connect(lasting(id));
      await back.ping();
      expect(back.packets.filter(({ payload }) => payload?.length > 1)).toEqual([]);
    }
  });
});

describe("expiry", () => {
  test("counts down while a message waits, and ends it: stored, retained, and in a window that is full [MQTT-3.3.2-5] [MQTT-3.3.2-6]", async () => {
    const away = await connect(lasting("counts"));
    await away.subscribe("counts/#", { qos: 1 });
    away.disconnect();
    await eventually(isAway("counts"), "it is away");
    const full = await connect({ properties: { receiveMaximum: 1 } });
    await full.subscribe("counts/#", { qos: 1 });
    const publisher = await connect();
    const send = async (name: string, messageExpiryInterval?: number): Promise<void> => {
      const properties = messageExpiryInterval === undefined ? {} : { messageExpiryInterval };
      publisher.publish(`counts/${name}`, name, { qos: 1, messageId: 1, retain: true, properties });
      await publisher.take("puback");
    };
    await send("first");
    await send("short", 1);
    const sentAt = performance.now();
    await send("long", 100);
    await Bun.sleep(2100); // Time itself is what is tested here.
    const { messageId } = await full.take("publish");
    full.send({ cmd: "puback", messageId });
    const back = await connect(lasting("counts"));
    const late = await connect();
    await late.subscribe("counts/+", { qos: 1 });
    const heard = [[await full.take("publish")], await back.takeMany("publish", 2), await late.takeMany("publish", 2)];
    for (const packets of heard) {
      expect(textsOf(packets)).not.toContain("short");
      const long = packets.find(({ payload }) => payload.toString() === "long");
      const secondsMax = Math.ceil((performance.now() - sentAt) / 1000);
      expect(long.properties.messageExpiryInterval).toBeWithin(100 - secondsMax, 98 + 1);
    }
    await late.ping();
    expect(late.packets).toEqual([]);
  });
});
