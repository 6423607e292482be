/** MQTT 5.0, 3.1 and 3.2, statement by statement: CONNECT, its flags and payload, and the CONNACK that answers it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { bytesOf, packetOf, sectionHex, textHex } from "../support/packet-bytes.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import { lasting, stepsAt } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const { connect } = stepsAt(() => broker);

/** Sends bytes as the first of a connection; returns what comes until the broker closes it. */
async function refusalOf(bytes: Uint8Array, version: 4 | 5 = 5): Promise<AnyPacket[]> {
  const client = await RawClient.dial(broker.port, version);
  client.write(bytes);
  await client.untilClosed();
  return client.packets;
}

const connectBytes = (flags: string, ...payload: readonly string[]): Uint8Array =>
  packetOf(0x10, textHex("MQTT"), "05", flags, "0000", sectionHex(), ...payload);

describe("before CONNACK", () => {
  test("the first packet is CONNECT, or the connection is closed without a word [MQTT-3.1.0-1]", async () => {
    for (const hex of ["c0 00", "30 05 0001 74 00 78", "82 07 0001 00 0001 61 00", "e0 00", "f0 00", "40 02 0001"])
      expect(await refusalOf(bytesOf(hex))).toEqual([]);
  });

  test("a second CONNECT is a protocol error [MQTT-3.1.0-2]", async () => {
    const client = await connect();
    client.send(connectPacket({ protocolVersion: 5 }));
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
    await client.untilClosed();
    expect(client.packets).toEqual([]);
  });

  test("a protocol name that is not MQTT's is closed [MQTT-3.1.2-1]", async () => {
    for (const name of ["MQTX", "mqtt", "MQT", "MQTTT", ""])
      expect(await refusalOf(packetOf(0x10, textHex(name), "05 02 0000 00", textHex("")))).toEqual([]);
  });

  test("a version that is not spoken here is answered with 0x84, or 1, and closed [MQTT-3.1.2-2]", async () => {
    for (const version of [0, 2, 3, 6, 127]) {
      const hex = version.toString(16).padStart(2, "0");
      const bytes = packetOf(0x10, textHex("MQTT"), hex, "02 0000 00", textHex(""));
      const [answer, ...more] = await refusalOf(bytes, version < 5 ? 4 : 5);
      expect([answer.cmd, answer.reasonCode ?? answer.returnCode, more]).toEqual([
        "connack",
        version < 5 ? 1 : 0x84,
        [],
      ]);
    }
  });

  test("the reserved flag is malformed [MQTT-3.1.2-3] [MQTT-3.1.4-1]", async () => {
    expect((await refusalOf(connectBytes("03", textHex(""))))[0].reasonCode).toBe(0x81);
  });
});

/** Flags that do not go with the payload behind them. */
const mismatches: readonly [what: string, flags: string, payload: string][] = [
  ["no client identifier [MQTT-3.1.3-3]", "02", ""],
  ["a will flag without a will [MQTT-3.1.2-9]", "06", textHex("c")],
  ["a will without its payload [MQTT-3.1.2-9]", "06", `${textHex("c")}00${textHex("t")}`],
  ["will QoS without a will [MQTT-3.1.2-11]", "0a", textHex("c")],
  ["will QoS 3 [MQTT-3.1.2-12]", "1e", `${textHex("c")}00${textHex("t")}${textHex("x")}`],
  ["will retain without a will [MQTT-3.1.2-13]", "22", textHex("c")],
  ["a user name without its flag [MQTT-3.1.2-16]", "02", textHex("c") + textHex("user")],
  ["a user name's flag without one [MQTT-3.1.2-17]", "82", textHex("c")],
  ["a password without its flag [MQTT-3.1.2-18]", "82", textHex("c") + textHex("user") + textHex("pw")],
  ["a password's flag without one [MQTT-3.1.2-19]", "c2", textHex("c") + textHex("user")],
  ["a will behind the user name [MQTT-3.1.3-1]", "86", `${textHex("c")}${textHex("user")}00${textHex("t")}`],
];

describe("a payload is what the flags say, in its order, or CONNECT is malformed [MQTT-3.1.4-1]", () => {
  test.each(mismatches)("%s", async (_, flags, payload) => {
    const [answer, ...more] = await refusalOf(connectBytes(flags, payload));
    expect([answer.cmd, answer.reasonCode, answer.sessionPresent, more]).toEqual(["connack", 0x81, false, []]);
  });

  test("client identifier, will properties, will topic, will payload, user name, password [MQTT-3.1.3-1] [MQTT-3.1.2-12]", async () => {
    const watcher = await connect();
    await watcher.subscribe("payload/#", { qos: 2 });
    for (const qos of [0, 1, 2]) {
      const client = await RawClient.dial(broker.port, 5);
      const flags = (0xc6 | (qos << 3)).toString(16);
      const will = [sectionHex("03", textHex("type")), textHex("payload/will"), textHex("gone")];
      client.write(connectBytes(flags, textHex(`payload-${qos}`), ...will, textHex("user"), textHex("pw")));
      expect((await client.take("connack")).reasonCode).toBe(0);
      expect(broker.server.broker.context.localSessions.has(`payload-${qos}`)).toBe(true);
      client.abort();
      const message = await watcher.take("publish");
      expect([message.topic, message.payload.toString(), message.qos]).toEqual(["payload/will", "gone", qos]);
      expect(message.properties.contentType).toBe("type");
    }
  });
});

describe("client identifiers", () => {
  test("of 1 to 23 letters and digits, and longer and stranger ones [MQTT-3.1.3-5]", async () => {
    const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const ids = [...alphabet, ...[0, 20, 39].map((at) => alphabet.slice(at, at + 23)), "a/+#$ ä", "x".repeat(65_535)];
    for (const clientId of ids) {
      const client = await connect({ clientId });
      expect(client.connack.properties?.assignedClientIdentifier).toBeUndefined();
      client.disconnect();
    }
  });

  test("an empty one is given one that nobody has, and told [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]", async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect({ clientId: "" })));
    const ids = clients.map(({ connack }) => connack.properties.assignedClientIdentifier);
    expect(new Set(ids).size).toBe(20);
    for (const id of ids) expect(broker.server.broker.context.localSessions.has(id)).toBe(true);
    // As if the client had given it: with it, it finds its session.
    const first = await RawClient.dial(broker.port, 5);
    first.write(packetOf(0x10, textHex("MQTT"), "05 00 0000", sectionHex("11 00000100"), textHex("")));
    const id = (await first.take("connack")).properties.assignedClientIdentifier;
    await first.subscribe("assigned", { qos: 1 });
    first.disconnect();
    expect((await connect(lasting(id))).connack.sessionPresent).toBe(true);
  });

  test("an empty one with clean session 0 is refused before MQTT 5, and closed [MQTT-3.1.3-8] [MQTT-3.1.3-8 of 3.1.1]", async () => {
    const [answer] = await refusalOf(packetOf(0x10, textHex("MQTT"), "04 00 0000", textHex("")), 4);
    expect(answer).toMatchObject({ cmd: "connack", returnCode: 2, sessionPresent: false });
  });

  test("each has its own session [MQTT-3.1.3-2]", async () => {
    for (const clientId of ["own", "own ", "Own"]) {
      const client = await connect(lasting(clientId));
      expect(client.connack.sessionPresent).toBe(false);
      await client.subscribe(`own/${clientId}`);
      client.disconnect();
      await client.untilClosed();
    }
    const { localSessions } = broker.server.broker.context;
    const filters = ["own", "own ", "Own"].map((id) => [...localSessions.get(id)!.session.subscriptions.keys()]);
    expect(filters).toEqual([["own/own"], ["own/own "], ["own/Own"]]);
  });
});

describe("clean start", () => {
  test("1 discards the session [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]", async () => {
    const first = await connect(lasting("clean"));
    await first.subscribe("clean/old", { qos: 1 });
    first.publish("clean/old", "x", { qos: 1, messageId: 1 });
    first.abort();
    const second = await connect(lasting("clean", { clean: true }));
    expect(second.connack.sessionPresent).toBe(false);
    second.publish("clean/old", "y", { qos: 1, messageId: 1 });
    await second.take("puback");
    await second.ping();
    expect(second.packets).toEqual([]);
    // It is a session of its own from then on.
    second.disconnect();
    expect((await connect(lasting("clean"))).connack.sessionPresent).toBe(true);
  });

  test("0 goes on with the session, or makes one [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.2.2-3] [MQTT-3.1.2-23]", async () => {
    const first = await connect(lasting("resumed"));
    expect(first.connack.sessionPresent).toBe(false);
    await first.subscribe("resumed/#", { qos: 1 });
    first.disconnect();
    await first.untilClosed();
    const publisher = await connect();
    publisher.publish("resumed/x", "kept", { qos: 1, messageId: 1 });
    await publisher.take("puback");
    const second = await connect(lasting("resumed"));
    expect(second.connack.sessionPresent).toBe(true);
    expect((await second.take("publish")).payload.toString()).toBe("kept");
  });

  test("a session of no expiry ends with its connection [MQTT-4.1.0-2]", async () => {
    const client = await connect({ clientId: "brief" });
    await client.subscribe("brief");
    client.abort();
    await eventually(() => !broker.server.broker.context.localSessions.has("brief"), "its session has ended");
    expect((await connect({ clientId: "brief", clean: false })).connack.sessionPresent).toBe(false);
  });

  test("a session is not discarded while its connection is open, however short its expiry [MQTT-4.1.0-1]", async () => {
    const client = await connect(lasting("stays", { properties: { sessionExpiryInterval: 1 } }));
    await client.subscribe("stays", { qos: 1 });
    await Bun.sleep(1500); // Time itself is what is tested here.
    client.publish("stays", "x", { qos: 1, messageId: 1 });
    expect((await client.take("publish")).payload.toString()).toBe("x");
  });
});

describe("what the client says it takes", () => {
  test("silence of 1.5 times its keep alive ends it, where the broker names no other [MQTT-3.1.2-22] [MQTT-3.2.2-22]", async () => {
    const since = performance.now();
    const client = await connect({ keepalive: 1 });
    expect(client.connack.properties.serverKeepAlive).toBeUndefined();
    expect((await client.take("disconnect")).reasonCode).toBe(0x8d);
    await client.untilClosed();
    expect(performance.now() - since).toBeGreaterThan(1400);
  });

  test("no topic alias without a Topic Alias Maximum, and none above it [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]", async () => {
    for (const topicAliasMaximum of [undefined, 0, 2]) {
      const client = await connect(topicAliasMaximum === undefined ? {} : { properties: { topicAliasMaximum } });
      await client.subscribe(`alias/${topicAliasMaximum}/#`);
      const publisher = await connect();
      for (const name of ["a", "b", "c", "a", "b", "c"]) publisher.publish(`alias/${topicAliasMaximum}/${name}`, name);
      const aliases = (await client.takeMany("publish", 6)).map(({ properties }) => properties?.topicAlias ?? 0);
      expect(Math.max(...aliases)).toBe(topicAliasMaximum ?? 0);
      expect(aliases).not.toContain(3);
    }
  });

  test("no response information unless it is asked for [MQTT-3.1.2-28]", async () => {
    for (const [asked, told] of [
      [undefined, false],
      [false, false],
      [true, true],
    ] as const) {
      const client = await connect({ properties: asked === undefined ? {} : { requestResponseInformation: asked } });
      expect(client.connack.properties.responseInformation !== undefined).toBe(told);
    }
  });

  test("no reason string but in CONNACK and DISCONNECT where it wants no problem information [MQTT-3.1.2-29]", async () => {
    for (const wanted of [true, false]) {
      const client = await connect({ properties: { requestProblemInformation: wanted } });
      client.publish("$SYS/x", "x", { qos: 1, messageId: 1 });
      const puback = await client.take("puback");
      expect([puback.reasonCode, puback.properties?.reasonString !== undefined]).toEqual([0x87, wanted]);
      client.publish("$SYS/x", "x", { qos: 2, messageId: 2 });
      const pubrec = await client.take("pubrec");
      expect([pubrec.reasonCode, pubrec.properties?.reasonString !== undefined]).toEqual([0x87, wanted]);
    }
  });
});

describe("CONNACK", () => {
  test("comes before all else, once [MQTT-3.2.0-1] [MQTT-3.2.0-2] [MQTT-3.1.4-5]", async () => {
    const first = await connect(lasting("first-of-all"));
    await first.subscribe("first/of/all", { qos: 1 });
    first.disconnect();
    await first.untilClosed();
    const publisher = await connect();
    publisher.publish("first/of/all", "x", { qos: 1, messageId: 1 });
    await publisher.take("puback");
    // What waits for it, and what it asks for in the same chunk, come behind.
    const client = await RawClient.dial(broker.port, 5);
    client.send(connectPacket({ protocolVersion: 5, ...lasting("first-of-all") }));
    client.send({ cmd: "pingreq" });
    client.publish("first/of/all", "y", { qos: 1, messageId: 2 });
    await client.until(() => client.packets.length >= 5, "everything");
    expect(client.packets[0]).toMatchObject({ cmd: "connack", reasonCode: 0, sessionPresent: true });
    expect(client.packets.filter(({ cmd }) => cmd === "connack").length).toBe(1);
  });

  test.each([3, 4, 5] as const)(
    "version %i: bits 7 to 1 of its flags are 0 [MQTT-3.2.2-1]",
    async (protocolVersion) => {
      for (const clean of [true, false, false]) {
        const client = await RawClient.dial(broker.port, protocolVersion);
        client.tap = [];
        const expiry = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 9 } } : {};
        client.send(connectPacket({ protocolVersion, clientId: `flags-${protocolVersion}`, clean, ...expiry }));
        const { sessionPresent } = await client.take("connack");
        const [type, , flags, code] = Buffer.concat(client.tap);
        expect([type, flags, code]).toEqual([0x20, sessionPresent ? 1 : 0, 0]);
        client.disconnect();
        await client.untilClosed();
      }
    },
  );

  test("that refuses says session present 0, a code of its own, and is the last word [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8]", async () => {
    (await connect(lasting("refused"))).disconnect();
    const will = { topic: "a/#", payload: "", qos: 0 };
    for (const [options, code] of [
      [{ will }, 0x90],
      [{ properties: { authenticationMethod: "none" } }, 0x8c],
    ] as const) {
      const client = await RawClient.dial(broker.port, 5);
      client.send(connectPacket({ protocolVersion: 5, ...lasting("refused", options) }));
      client.send({ cmd: "pingreq" });
      await client.untilClosed();
      expect(client.packets).toMatchObject([{ cmd: "connack", reasonCode: code, sessionPresent: false }]);
    }
  });

  test("after a refusal nothing of what the client sends is done [MQTT-3.1.4-6]", async () => {
    const watcher = await connect();
    await watcher.subscribe("after/#");
    const client = await RawClient.dial(broker.port, 5);
    client.send(connectPacket({ protocolVersion: 5, properties: { authenticationMethod: "none" } }));
    client.publish("after/refusal", "x");
    client.publish("after/refusal", "x", { retain: true });
    await client.untilClosed();
    await watcher.ping();
    expect(watcher.packets).toEqual([]);
    await watcher.subscribe("after/refusal");
    await watcher.ping();
    expect(watcher.packets).toEqual([]);
  });

  test("QoS 2 and retained messages, wills too, are served: no property says otherwise [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12] [MQTT-3.2.2-13]", async () => {
    const client = await connect({ will: { topic: "served", payload: "x", qos: 2, retain: true } });
    const { maximumQoS, retainAvailable } = client.connack.properties;
    expect([maximumQoS, retainAvailable]).toEqual([undefined, undefined]);
    expect((await client.subscribe("served", { qos: 2 })).granted).toEqual([2]);
    client.publish("served", "x", { qos: 2, messageId: 1, retain: true });
    expect((await client.take("pubrec")).reasonCode ?? 0).toBe(0);
  });

  test("that refuses has a reason string only where the client takes so much [MQTT-3.2.2-19] [MQTT-3.2.2-20]", async () => {
    for (const [maximumPacketSize, isTold] of [
      [1000, true],
      [10, false],
    ] as const) {
      const client = await RawClient.dial(broker.port, 5);
      client.tap = [];
      const properties = { maximumPacketSize, authenticationMethod: "none" };
      client.send(connectPacket({ protocolVersion: 5, properties }));
      const { reasonCode, properties: told } = await client.take("connack");
      expect([reasonCode, told?.reasonString !== undefined]).toEqual([0x8c, isTold]);
      expect(Buffer.concat(client.tap).length).toBeLessThanOrEqual(maximumPacketSize);
    }
  });
});

test("the earlier connection of a client is told 0x8E and closed [MQTT-3.1.4-3]", async () => {
  const first = await connect({ clientId: "twice" });
  await connect({ clientId: "twice" });
  expect((await first.take("disconnect")).reasonCode).toBe(0x8e);
  await first.untilClosed();
});

test.each([3, 4] as const)(
  "version %i: it is closed without a word [MQTT-3.1.4-2 of 3.1.1]",
  async (protocolVersion) => {
    const first = await connect({ clientId: `older-${protocolVersion}`, protocolVersion });
    await connect({ clientId: `older-${protocolVersion}`, protocolVersion });
    await first.untilClosed();
    expect(first.packets).toEqual([]);
  },
);
