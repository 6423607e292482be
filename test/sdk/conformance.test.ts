/** MQTT 5.0 of a client, statement by statement: the client library at a broker that does what the test says. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ClientSession } from "../../src/client/client-session.ts";
import { type Client, type ClientOptions, connect, MqttError, SubscribeRefused } from "../../src/client/for-bun.ts";
import { eventually } from "../support/broker.ts";
import type { AnyPacket } from "../support/raw-client.ts";
import { ScriptedBroker, type ScriptedConnection } from "../support/scripted-broker.ts";

let broker: ScriptedBroker;
beforeEach(() => {
  broker = new ScriptedBroker();
});
afterEach(() => broker.stop());

const soon = { reconnect: { minMs: 1, maxMs: 10 } } as const;
const session = { clientId: "c", sessionExpiryMs: 600_000, ...soon };

async function begin(options: ClientOptions = soon, granted?: object): Promise<[Client, ScriptedConnection]> {
  const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, options);
  const connection = await broker.next();
  await connection.admit(granted);
  return [await connecting, connection];
}

/** The connection that the client begins when it has lost one. */
async function again(sessionPresent: boolean): Promise<ScriptedConnection> {
  const connection = await broker.next();
  await connection.admit({}, sessionPresent);
  return connection;
}

describe("packet identifiers", () => {
  test("are not 0, and none that is in use, by whatever it is [MQTT-2.2.1-3] [MQTT-4.3.2-1] [MQTT-4.3.3-1]", () => {
    const state = new ClientSession();
    const publish = { publish: undefined as never, released: false, reason: 0 };
    const slow = state.add({ ...publish });
    const asking = state.takeId();
    state.asking.add(asking);
    const seen = new Set<number>();
    for (let turn = 0; turn < 70_000; turn++) seen.add(state.takeId());
    expect(seen.size).toBe(65_533);
    for (const id of [0, slow, asking, 65_536]) expect(seen.has(id)).toBe(false);
  });

  test("of questions that are not answered are not given to messages [MQTT-2.2.1-3]", async () => {
    const [client, connection] = await begin();
    const messages = client.messages("in");
    const { messageId } = await connection.take("subscribe");
    const published = client.publish("t", "x", { qos: 1 });
    const sent = await connection.take("publish");
    expect(sent.messageId).not.toBe(messageId);
    connection.send({ cmd: "puback", messageId: sent.messageId });
    connection.send({ cmd: "suback", messageId, granted: [0] });
    await Promise.all([published, messages.ready]);
    await client.end();
  });

  test("of what is answered stand in the answer [MQTT-2.2.1-5]", async () => {
    const [client, connection] = await begin();
    const messages = client.messages("in", { qos: 2, ack: "manual" });
    const { properties } = await connection.grant();
    await messages.ready;
    for (const [messageId, qos] of [
      [1, 1],
      [65_535, 2],
    ]) {
      connection.send({ cmd: "publish", topic: "in", payload: "x", qos, messageId, properties });
      (await messages.next()).value!.ack();
      expect((await connection.take(qos === 1 ? "puback" : "pubrec")).messageId).toBe(messageId);
      if (qos === 1) continue;
      connection.send({ cmd: "pubrel", messageId });
      expect((await connection.take("pubcomp")).messageId).toBe(messageId);
    }
    await client.end();
  });
});

describe("connecting", () => {
  test("CONNECT comes first, once, and nothing else before CONNACK [MQTT-3.1.0-1] [MQTT-3.1.0-2] [MQTT-3.1.2-30]", async () => {
    const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, soon);
    const connection = await broker.next();
    await eventually(() => connection.packets.length > 0, "CONNECT");
    expect(connection.packets).toMatchObject([{ cmd: "connect" }]);
    await connection.admit();
    await (await connecting).end();
    await connection.take("disconnect");
    expect(connection.packets).toEqual([]);
  });

  test("what stands in CONNECT is what its flags say [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.3-3]", async () => {
    for (const options of [
      {},
      { username: "u" },
      { username: "u", password: "p" },
      { will: { topic: "w", payload: "gone", qos: 2, retain: true } },
      { will: { topic: "w", payload: "" } },
    ] as ClientOptions[]) {
      const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, { ...soon, ...options });
      const connection = await broker.next();
      const packet = await connection.admit();
      expect([packet.username, packet.password?.toString()]).toEqual([options.username, options.password as string]);
      const { will } = packet;
      expect(will && [will.topic, will.qos, will.retain]).toEqual(
        options.will && [options.will.topic, options.will.qos ?? 0, options.will.retain ?? false],
      );
      expect(packet.clientId).not.toBe("");
      await (await connecting).end();
    }
  });

  test("a session that was to begin anew and does not: the connection is closed [MQTT-3.2.2-4]", async () => {
    const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, { reconnect: false });
    const connection = await broker.next();
    expect((await connection.admit({}, true)).clean).toBe(true);
    await expect(connecting).rejects.toThrow("begin anew");
    await eventually(() => connection.isClosed, "it is closed");
  });

  test("a session that the broker has not is forgotten: what was under way is sent as new, and what was half received is new [MQTT-3.2.2-5]", async () => {
    const [client, first] = await begin(session);
    const messages = client.messages("in", { qos: 2, ack: "manual" });
    const { properties } = await first.grant();
    await messages.ready;
    const published = client.publish("t", "mine", { qos: 2 });
    await first.take("publish");
    const theirs = { cmd: "publish", topic: "in", payload: "theirs", qos: 2, messageId: 5, properties };
    first.send(theirs);
    (await messages.next()).value!.ack();
    await first.take("pubrec");
    first.cut();
    const second = await again(false);
    await second.grant();
    // As a new message; and the same identifier stands for another one.
    const sent = await second.take("publish");
    expect([sent.payload.toString(), sent.dup]).toEqual(["mine", false]);
    second.send(theirs);
    expect((await messages.next()).value?.text).toBe("theirs");
    second.send({ cmd: "pubrec", messageId: sent.messageId });
    second.send({ cmd: "pubcomp", messageId: (await second.take("pubrel")).messageId });
    await published;
    await client.end();
  });

  test("the broker's keep alive counts, and without one its own [MQTT-3.1.2-20] [MQTT-3.1.2-21] [MQTT-3.2.2-21]", async () => {
    for (const [keepAliveMs, granted] of [
      [1000, {}],
      [60_000, { serverKeepAlive: 1 }],
    ] as const) {
      const since = performance.now();
      const [client, connection] = await begin({ ...soon, keepAliveMs }, granted);
      await connection.take("pingreq");
      // Long before a minute is over, however busy the machine is.
      expect(performance.now() - since).toBeWithin(500, 30_000);
      connection.send({ cmd: "pingresp" });
      await client.end();
    }
  });
});

describe("within what the broker takes", () => {
  test("QoS, retained messages, and sizes are what CONNACK says [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15]", async () => {
    const [client, connection] = await begin(soon, { maximumQoS: 1, retainAvailable: false, maximumPacketSize: 60 });
    await expect(client.publish("t", "x", { qos: 2 })).rejects.toThrow("no more than QoS 1");
    await expect(client.publish("t", "x", { retain: true })).rejects.toThrow("retains no messages");
    await expect(client.publish("t", "x".repeat(60))).rejects.toBeInstanceOf(MqttError);
    // A question that was sent would never be answered here.
    const asked = Promise.race([client.subscribe("x".repeat(60)), Bun.sleep(5000)]);
    await expect(asked).rejects.toBeInstanceOf(SubscribeRefused);
    await client.publish("t", "x");
    expect((await connection.take("publish")).payload.toString()).toBe("x");
    expect(connection.packets).toEqual([]);
    await client.end();
  });

  test("UNSUBSCRIBE of many filters is as many packets as it takes [MQTT-3.2.2-15]", async () => {
    const [client, first] = await begin(session, { maximumPacketSize: 40 });
    const filters = Array.from({ length: 10 }, (_, index) => `filter/number/${index}`);
    const subscriptions = filters.map((filter) => client.messages(filter));
    for (const _ of filters) await first.grant();
    await Promise.all(subscriptions.map(({ ready }) => ready));
    first.cut();
    await eventually(() => client.status.state !== "connected", "the loss to be seen");
    const ended = subscriptions.map((subscription) => subscription.unsubscribe());
    const second = await broker.next();
    await second.admit({ maximumPacketSize: 40 }, true);
    const named: string[] = [];
    while (named.length < filters.length) {
      const packet = await second.take("unsubscribe");
      expect(packet.length).toBeLessThanOrEqual(38);
      named.push(...packet.unsubscriptions);
      second.send({ cmd: "unsuback", messageId: packet.messageId, granted: packet.unsubscriptions.map(() => 0) });
    }
    expect(named.sort()).toEqual(filters);
    await Promise.all(ended);
    await client.end();
  });

  test("there are no topic aliases, and no subscription identifiers in PUBLISH [MQTT-3.2.2-17] [MQTT-3.2.2-18] [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.3.4-6]", async () => {
    const [client, connection] = await begin(soon, { topicAliasMaximum: 10 });
    for (let time = 0; time < 3; time++) await client.publish("t", "x");
    for (let time = 0; time < 3; time++) {
      const { topic, properties } = await connection.take("publish");
      expect([topic, properties]).toEqual(["t", undefined]);
    }
    await client.end();
  });

  test("it asks for no aliases, so that it need take none [MQTT-3.3.2-10]", async () => {
    const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, soon);
    const connection = await broker.next();
    expect((await connection.admit()).properties?.topicAliasMaximum).toBeUndefined();
    await (await connecting).end();
  });

  test("no more than Receive Maximum is under way; all else goes on [MQTT-3.3.4-7] [MQTT-3.3.4-8] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3]", async () => {
    const [client, connection] = await begin(soon, { receiveMaximum: 2 });
    const published = [1, 2, 1].map((qos) => client.publish("t", String(qos), { qos: qos as 1 | 2 }));
    const [one, two] = [await connection.take("publish"), await connection.take("publish")];
    const messages = client.messages("in");
    await connection.grant();
    await messages.ready;
    await client.publish("t", "at QoS 0");
    expect((await connection.take("publish")).qos).toBe(0);
    // PUBREC makes no room; PUBCOMP does.
    connection.send({ cmd: "pubrec", messageId: two.messageId });
    await connection.take("pubrel");
    expect(connection.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    connection.send({ cmd: "pubcomp", messageId: two.messageId });
    const three = await connection.take("publish");
    for (const { messageId } of [one, three]) connection.send({ cmd: "puback", messageId });
    await Promise.all(published);
    await client.end();
  });
});

describe("flows", () => {
  test("DUP is 0 the first time, and 1 when it is sent again, in the order of the first time [MQTT-3.3.1-1] [MQTT-3.3.1-2] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-4.4.0-1] [MQTT-4.6.0-1]", async () => {
    const [client, first] = await begin(session);
    await client.publish("t", "at QoS 0");
    expect(await first.take("publish")).toMatchObject({ qos: 0, dup: false });
    const published = [1, 2, 1, 2].map((qos, at) => client.publish("t", String(at), { qos: qos as 1 | 2 }));
    const sent: AnyPacket[] = [];
    for (const _ of published) sent.push(await first.take("publish"));
    expect(sent.map(({ qos, dup }) => [qos, dup])).toEqual([1, 2, 1, 2].map((qos) => [qos, false]));
    first.cut();
    const second = await again(true);
    for (const { messageId, payload } of sent) {
      const repeated = await second.take("publish");
      expect([repeated.messageId, repeated.payload, repeated.dup]).toEqual([messageId, payload, true]);
      second.send({ cmd: repeated.qos === 1 ? "puback" : "pubrec", messageId });
      if (repeated.qos === 2) second.send({ cmd: "pubcomp", messageId: (await second.take("pubrel")).messageId });
    }
    await Promise.all(published);
    await client.end();
  });

  test("PUBREL follows PUBREC, in their order, is sent again, and the message is not [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.6.0-4]", async () => {
    const [client, first] = await begin(session);
    const published = ["a", "b", "c"].map((text) => client.publish("t", text, { qos: 2 }));
    const ids: number[] = [];
    for (const _ of published) ids.push((await first.take("publish")).messageId);
    const order = [ids[1]!, ids[0]!, ids[2]!];
    for (const messageId of order) first.send({ cmd: "pubrec", messageId });
    for (const messageId of order) expect((await first.take("pubrel")).messageId).toBe(messageId);
    first.cut();
    const second = await again(true);
    for (const _ of ids) second.send({ cmd: "pubcomp", messageId: (await second.take("pubrel")).messageId });
    await Promise.all(published);
    expect(second.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    await client.end();
  });

  test("what the broker refuses is settled, and not sent again [MQTT-4.4.0-2]", async () => {
    const [client, first] = await begin(session);
    for (const qos of [1, 2] as const) {
      const refused = client.publish("t", "x", { qos });
      const { messageId } = await first.take("publish");
      first.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId, reasonCode: 0x87 });
      await expect(refused).rejects.toMatchObject({ name: "PublishRefused", reasonCode: 0x87 });
    }
    first.cut();
    const second = await again(true);
    await client.flush().catch(() => {});
    expect(second.packets.filter(({ cmd }) => cmd === "publish" || cmd === "pubrel")).toEqual([]);
    await client.end();
  });

  test("messages are acknowledged by their QoS, in their order [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.5.0-2] [MQTT-4.6.0-2] [MQTT-4.6.0-3]", async () => {
    const [client, connection] = await begin();
    const messages = client.messages("in", { qos: 2, ack: "manual" });
    const { properties } = await connection.grant();
    await messages.ready;
    for (const [at, qos] of [1, 1, 2, 2, 1].entries())
      connection.send({ cmd: "publish", topic: "in", payload: "x", qos, messageId: at + 1, properties });
    for (let count = 0; count < 5; count++) (await messages.next()).value!.ack();
    const answers = (): AnyPacket[] => connection.packets.filter(({ cmd }) => cmd === "puback" || cmd === "pubrec");
    await eventually(() => answers().length === 5, "all answers");
    expect(answers().map(({ cmd, messageId }) => [cmd, messageId])).toEqual([
      ["puback", 1],
      ["puback", 2],
      ["pubrec", 3],
      ["pubrec", 4],
      ["puback", 5],
    ]);
    await client.end();
  });

  test("QoS 2 that comes again before PUBREL is the same message, after PUBCOMP another [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]", async () => {
    const [client, connection] = await begin();
    const messages = client.messages("in", { qos: 2, ack: "manual" });
    const { properties } = await connection.grant();
    await messages.ready;
    for (const payload of ["first", "second"]) {
      for (const dup of [false, true]) {
        connection.send({ cmd: "publish", topic: "in", payload, qos: 2, messageId: 3, dup, properties });
        if (dup) continue;
        const { value } = await messages.next();
        expect(value?.text).toBe(payload);
        value?.ack();
      }
      await eventually(() => connection.packets.length === 2, "both PUBRECs");
      expect(connection.packets.splice(0).map(({ cmd, messageId }) => [cmd, messageId])).toEqual(
        Array(2).fill(["pubrec", 3]),
      );
      connection.send({ cmd: "pubrel", messageId: 3 });
      expect((await connection.take("pubcomp")).messageId).toBe(3);
    }
    expect(messages.waiting).toBe(0);
    await client.end();
  });
});

test("DISCONNECT is the last that it says, and it closes; from the broker, too [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-3.14.2-1] [MQTT-4.13.2-1]", async () => {
  const [client, connection] = await begin();
  await client.end();
  await eventually(() => connection.isClosed, "it is closed");
  expect(connection.packets).toMatchObject([{ cmd: "disconnect", reasonCode: 0 }]);
  const [other, told] = await begin({ reconnect: false });
  told.send({ cmd: "disconnect", reasonCode: 0x8b });
  await eventually(() => told.isClosed && other.status.state === "closed", "it is closed");
  expect(told.packets).toEqual([]);
});

test("it is no AUTH that it sends, for it asks for none [MQTT-4.12.0-7]", async () => {
  const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, { ...soon, username: "u", password: "p" });
  const connection = await broker.next();
  expect((await connection.admit()).properties?.authenticationMethod).toBeUndefined();
  const client = await connecting;
  await client.publish("t", "x");
  await client.end();
  await connection.take("disconnect");
  expect(connection.packets.map(({ cmd }) => cmd)).toEqual(["publish"]);
});

test("over WebSocket it offers the subprotocol mqtt, and speaks in binary frames [MQTT-6.0.0-1] [MQTT-6.0.0-3]", async () => {
  const offered: (string | null)[] = [];
  const kinds: string[] = [];
  const server = Bun.serve<undefined>({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, here) {
      offered.push(request.headers.get("sec-websocket-protocol"));
      const headers = { "sec-websocket-protocol": "mqtt" };
      return here.upgrade(request, { headers, data: undefined }) ? undefined : new Response("no upgrade");
    },
    websocket: {
      message(socket, data) {
        kinds.push(typeof data === "string" ? "text" : "binary");
        socket.send(Uint8Array.of(0x20, 3, 0, 0, 0));
      },
    },
  });
  const client = await connect(`ws://127.0.0.1:${server.port}/mqtt`, { reconnect: false });
  await client.end();
  expect([offered, kinds[0], kinds.includes("text")]).toEqual([["mqtt"], "binary", false]);
  await server.stop(true);
});
