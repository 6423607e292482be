/** MQTT 5.0, 4.3 to 4.5, statement by statement: the flows of QoS 1 and 2, and what is sent again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { lasting, stepsAt, textsOf } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker({ maxInflight: 20 });
});
afterAll(() => broker.stop());

const { connect, publish, isAway } = stepsAt(() => broker);

describe("QoS 1", () => {
  test("is sent with DUP 0, and is unacknowledged until PUBACK [MQTT-4.3.2-2] [MQTT-4.3.2-3]", async () => {
    const client = await connect(lasting("one"));
    await client.subscribe("one", { qos: 1 });
    for (const payload of ["a", "b"]) await publish("one", payload);
    const [a, b] = await client.takeMany("publish", 2);
    expect([a.dup, a.qos, b.dup, b.qos]).toEqual([false, 1, false, 1]);
    client.send({ cmd: "puback", messageId: a.messageId });
    await client.ping();
    client.abort();
    const back = await connect(lasting("one"));
    expect(await back.take("publish")).toMatchObject({ dup: true, messageId: b.messageId });
    await back.ping();
    expect(back.packets).toEqual([]);
  });

  test("is answered under its identifier, and what comes under that again is another message, whatever its DUP says [MQTT-4.3.2-4] [MQTT-4.3.2-5]", async () => {
    const [client, subscriber] = [await connect(), await connect()];
    await subscriber.subscribe("anew");
    for (const dup of [false, true]) {
      client.publish("anew", String(dup), { qos: 1, messageId: 7, dup });
      expect((await client.take("puback")).messageId).toBe(7);
    }
    expect(textsOf(await subscriber.takeMany("publish", 2))).toEqual(["false", "true"]);
  });
});

describe("QoS 2, sent", () => {
  test("with DUP 0, unacknowledged until PUBREC [MQTT-4.3.3-2] [MQTT-4.3.3-3]", async () => {
    const client = await connect(lasting("two"));
    await client.subscribe("two", { qos: 2 });
    await publish("two", "x", { qos: 2 });
    const sent = await client.take("publish");
    expect([sent.dup, sent.qos]).toEqual([false, 2]);
    client.abort();
    const back = await connect(lasting("two"));
    expect(await back.take("publish")).toMatchObject({ dup: true, qos: 2, messageId: sent.messageId });
  });

  test("PUBREL follows PUBREC, is unacknowledged until PUBCOMP, and the message is not sent again [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6]", async () => {
    let client = await connect(lasting("released"));
    await client.subscribe("released", { qos: 2 });
    await publish("released", "x", { qos: 2 });
    const { messageId } = await client.take("publish");
    client.send({ cmd: "pubrec", messageId });
    expect((await client.take("pubrel")).messageId).toBe(messageId);
    for (let time = 0; time < 2; time++) {
      client.abort();
      client = await connect(lasting("released"));
      expect((await client.take("pubrel")).messageId).toBe(messageId);
      await client.ping();
      expect(client.packets).toEqual([]);
    }
    client.send({ cmd: "pubcomp", messageId });
    await client.ping();
    client.abort();
    const last = await connect(lasting("released"));
    await last.ping();
    expect(last.packets).toEqual([]);
  });

  test("its expiry counts until it is sent for the first time [MQTT-4.3.3-7]", async () => {
    const client = await connect(lasting("expires"));
    await client.subscribe("expires", { qos: 2 });
    await publish("expires", "x", { qos: 2, properties: { messageExpiryInterval: 1 } });
    const { messageId } = await client.take("publish");
    client.abort();
    await Bun.sleep(1100); // Time itself is what is tested here.
    expect(await (await connect(lasting("expires"))).take("publish")).toMatchObject({ messageId, dup: true });
  });
});

describe("QoS 2, received", () => {
  test("PUBREC has its identifier; until PUBREL it is the same message, after PUBCOMP another [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]", async () => {
    const [client, subscriber] = [await connect(), await connect()];
    await subscriber.subscribe("same");
    for (const payload of ["first", "second"]) {
      for (const dup of [false, true, false]) {
        client.publish("same", payload, { qos: 2, messageId: 9, dup });
        expect((await client.take("pubrec")).messageId).toBe(9);
      }
      client.send({ cmd: "pubrel", messageId: 9 });
      expect(await client.take("pubcomp")).toMatchObject({ messageId: 9 });
    }
    await client.ping();
    await subscriber.ping();
    expect(textsOf(subscriber.packets)).toEqual(["first", "second"]);
  });

  test("that was refused is another message the next time [MQTT-4.3.3-9]", async () => {
    const [client, subscriber] = [await connect(), await connect()];
    await subscriber.subscribe("taken");
    client.publish("$SYS/mine", "x", { qos: 2, messageId: 3 });
    expect((await client.take("pubrec")).reasonCode).toBe(0x87);
    client.publish("taken", "y", { qos: 2, messageId: 3 });
    expect((await client.take("pubrec")).reasonCode ?? 0).toBe(0);
    expect((await subscriber.take("publish")).payload.toString()).toBe("y");
  });

  test("the sequence goes on though the message has expired [MQTT-4.3.3-13]", async () => {
    const client = await connect();
    const waiting = await connect(lasting("expired"));
    await waiting.subscribe("expired", { qos: 2 });
    waiting.disconnect();
    await eventually(isAway("expired"), "it is away");
    client.publish("expired", "x", { qos: 2, messageId: 4, properties: { messageExpiryInterval: 1 } });
    await client.take("pubrec");
    await Bun.sleep(1100); // Time itself is what is tested here.
    client.publish("expired", "x", { qos: 2, messageId: 4, dup: true, properties: { messageExpiryInterval: 1 } });
    expect((await client.take("pubrec")).reasonCode ?? 0).toBe(0);
    client.send({ cmd: "pubrel", messageId: 4 });
    expect((await client.take("pubcomp")).reasonCode ?? 0).toBe(0);
  });
});

test("PUBLISH and PUBREL are sent again when a session resumes, in their order, and at no other time [MQTT-4.4.0-1]", async () => {
  const client = await connect(lasting("again"));
  await client.subscribe("again", { qos: 2 });
  for (const [at, qos] of [1, 2, 1, 2].entries()) await publish("again", String(at), { qos });
  const sent = await client.takeMany("publish", 4);
  client.send({ cmd: "pubrec", messageId: sent[3].messageId });
  await client.take("pubrel");
  await Bun.sleep(300); // Nothing comes of waiting.
  await client.ping();
  expect(client.packets).toEqual([]);
  client.abort();
  const back = await connect(lasting("again"));
  await back.until(() => back.packets.length >= 4, "all of them");
  const ids = back.packets.filter(({ cmd }) => cmd === "publish").map(({ messageId, dup }) => [messageId, dup]);
  expect(ids).toEqual(sent.slice(0, 3).map(({ messageId }) => [messageId, true]));
  expect((await back.take("pubrel")).messageId).toBe(sent[3].messageId);
});

test.each([1, 2] as const)(
  "QoS %i that the client refuses is not sent again, to it or to others [MQTT-4.4.0-2] [MQTT-4.8.2-6]",
  async (qos) => {
    const id = `refuses-${qos}`;
    const client = await connect(lasting(id));
    await client.subscribe(`$share/g/${id}`, { qos });
    await publish(id, "x", { qos });
    const { messageId } = await client.take("publish");
    const other = await connect();
    await other.subscribe(`$share/g/${id}`, { qos });
    client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId, reasonCode: 0x83 });
    await client.ping();
    expect(client.packets).toEqual([]);
    client.abort();
    const back = await connect(lasting(id));
    await back.ping();
    expect(back.packets).toEqual([]);
    (await connect({ clientId: id })).disconnect();
    await other.ping();
    expect(other.packets).toEqual([]);
  },
);

test("what a publisher was answered for is in every session that matches, connected or not [MQTT-4.5.0-1]", async () => {
  const ids = ["held-1", "held-2", "held-3"];
  for (const id of ids) {
    const client = await connect(lasting(id));
    await client.subscribe("held/+", { qos: 1 });
    if (id === "held-1") continue;
    client.disconnect();
    await client.untilClosed();
  }
  await publish("held/x", "x");
  for (const id of ids) expect((await (await connect(lasting(id))).take("publish")).payload.toString()).toBe("x");
});
