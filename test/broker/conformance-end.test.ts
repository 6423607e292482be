/** MQTT 5.0, 3.12 to 3.15, 4.12 and 4.13, statement by statement: PINGREQ, DISCONNECT, AUTH, and errors. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { bytesOf, packetOf, sectionHex, textHex } from "../support/packet-bytes.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import { scramClient } from "../support/scram-client.ts";
import { stepsAt } from "../support/steps.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-conformance-"));
let broker: TestBroker;
/** A broker that knows one user, bob, by SCRAM. */
let guarded: TestBroker;
beforeAll(async () => {
  const passwordFile = join(folder, "users");
  writeFileSync(passwordFile, `bob:${await hashForScram("bob-pw")}\n`);
  [broker, guarded] = await Promise.all([startBroker(), startBroker({ passwordFile, allowAnonymous: true })]);
});
afterAll(async () => {
  await Promise.all([broker.stop(), guarded.stop()]);
  rmSync(folder, { recursive: true });
});

const { connect } = stepsAt(() => broker);
const will = (topic: string): AnyPacket => ({ will: { topic, payload: "gone", qos: 0, retain: false } });

test.each([3, 4, 5] as const)("version %i: PINGREQ is answered [MQTT-3.12.4-1]", async (protocolVersion) => {
  const client = await connect({ protocolVersion });
  client.tap = [];
  client.write(bytesOf("c000 c000"));
  await client.takeMany("pingresp", 2);
  expect(Buffer.concat(client.tap).toString("hex")).toBe("d000d000");
});

describe("DISCONNECT from a client", () => {
  test("0x00 discards the will; every other reason, and none, leaves it [MQTT-3.14.4-3]", async () => {
    const watcher = await connect();
    await watcher.subscribe("left/#");
    for (const reasonCode of [0, 4, 0x80]) {
      const client = await connect(will(`left/${reasonCode}`));
      client.send({ cmd: "disconnect", reasonCode });
      await client.untilClosed();
    }
    (await connect(will("left/lost"))).abort();
    expect((await watcher.takeMany("publish", 3)).map(({ topic }) => topic).sort()).toEqual([
      "left/128",
      "left/4",
      "left/lost",
    ]);
    await watcher.ping();
    expect(watcher.packets).toEqual([]);
  });

  test("is its last word: what follows is not looked at, and the connection is closed [MQTT-3.14.4-1] [MQTT-3.14.4-2]", async () => {
    const watcher = await connect();
    await watcher.subscribe("after/#");
    const client = await connect();
    const publish = packetOf(0x30, textHex("after/it"), sectionHex(), "78");
    client.write(Buffer.concat([bytesOf("e000"), publish, bytesOf("c000")]));
    await client.untilClosed();
    expect(client.packets).toEqual([]);
    await watcher.ping();
    expect(watcher.packets).toEqual([]);
  });

  test("with a reason that is not for a client to give is malformed, and no farewell [MQTT-3.14.2-1]", async () => {
    const watcher = await connect();
    await watcher.subscribe("odd/#");
    for (const reason of [0x01, 0x03, 0x10, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x9c, 0xa2, 0xff]) {
      const client = await connect(will(`odd/${reason}`));
      client.write(packetOf(0xe0, reason.toString(16).padStart(2, "0")));
      expect((await client.take("disconnect")).reasonCode).toBe(0x81);
      await client.untilClosed();
      expect((await watcher.take("publish")).topic).toBe(`odd/${reason}`);
    }
  });
});

describe("DISCONNECT from the broker", () => {
  /** Violations of the protocol, and the reason that the standard has for each. */
  const breaches: readonly [what: string, packet: Uint8Array, reason: number][] = [
    ["packet type 0", bytesOf("0000"), 0x81],
    ["a second CONNECT", bytesOf("100d 0004 4d515454 05 02 0000 00 0000"), 0x82],
    ["a wildcard in a topic", packetOf(0x30, textHex("#"), "00"), 0x90],
    ["topic alias 0", packetOf(0x30, textHex("a"), sectionHex("23 0000")), 0x94],
    ["a session that is to last after all", packetOf(0xe0, "00", sectionHex("11 00000009")), 0x82],
    ["AUTH that was not agreed upon", packetOf(0xf0, "18", sectionHex("15", textHex("SCRAM-SHA-256"))), 0x82],
  ];

  test.each(breaches)(
    "%s: says why, says no more, and the connection is closed [MQTT-3.14.2-1] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1]",
    async (_, packet, reason) => {
      const bystander = await connect();
      const client = await connect();
      client.tap = [];
      client.write(Buffer.concat([packet, bytesOf("c000 c000")]));
      await client.untilClosed();
      expect(client.packets).toMatchObject([{ cmd: "disconnect", reasonCode: reason }]);
      // It has no session expiry [MQTT-3.14.2-2], and nobody else notices.
      expect(client.packets[0].properties?.sessionExpiryInterval).toBeUndefined();
      await bystander.ping();
    },
  );

  test("before MQTT 5 there is none: the connection is closed [MQTT-4.8.0-1 of 3.1.1]", async () => {
    for (const protocolVersion of [3, 4] as const) {
      const client = await connect({ protocolVersion });
      client.publish("#", "x");
      await client.untilClosed();
      expect(client.packets).toEqual([]);
    }
  });

  test("has no session expiry, whatever the session's is [MQTT-3.14.2-2]", async () => {
    const lasting = { clientId: "lasting", properties: { sessionExpiryInterval: 100 } };
    const first = await connect(lasting);
    await connect(lasting);
    const { reasonCode, properties } = await first.take("disconnect");
    expect([reasonCode, properties?.sessionExpiryInterval]).toEqual([0x8e, undefined]);
  });

  test("does not come before CONNACK, however many connections fight for a client [MQTT-3.14.0-1]", async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.dial(broker.port, 5)));
    for (const client of clients)
      client.send(connectPacket({ protocolVersion: 5, clientId: "fought", properties: { sessionExpiryInterval: 9 } }));
    await eventually(() => clients.filter(({ closed }) => closed).length === clients.length - 1, "one is left");
    for (const client of clients) {
      const { packets } = client;
      await client.until(() => packets.length > 0, "an answer");
      expect(packets[0].cmd).toBe("connack");
      if (packets[0].reasonCode >= 0x80) expect(packets.length).toBe(1);
    }
  });

  test("leaves out its reason string where it would be too large for the client, or is not wanted [MQTT-3.14.2-3] [MQTT-3.14.2-4]", async () => {
    for (const [properties, isTold] of [
      [{}, true],
      [{ maximumPacketSize: 200 }, true],
      [{ maximumPacketSize: 20 }, false],
      [{ requestProblemInformation: false }, false],
    ] as const) {
      const client = await connect({ properties });
      client.tap = [];
      client.publish("#", "x");
      const said = await client.take("disconnect");
      expect([said.reasonCode, said.properties?.reasonString !== undefined]).toEqual([0x90, isTold]);
      expect(Buffer.concat(client.tap).length).toBeLessThanOrEqual(properties.maximumPacketSize ?? Infinity);
    }
  });
});

const method = "SCRAM-SHA-256";

async function begin(options: AnyPacket = {}, scram = scramClient("bob", "bob-pw")): Promise<RawClient> {
  const client = await RawClient.dial(guarded.port, 5);
  const { properties, ...rest } = options;
  const authentication = { authenticationMethod: method, authenticationData: scram.first };
  client.send(connectPacket({ protocolVersion: 5, properties: { ...authentication, ...properties }, ...rest }));
  return client;
}

async function answerChallenge(client: RawClient, scram: ReturnType<typeof scramClient>, reasonCode = 0x18) {
  const challenge = await client.take("auth");
  const authenticationData = scram.final(challenge.properties.authenticationData);
  client.send({ cmd: "auth", reasonCode, properties: { authenticationMethod: method, authenticationData } });
  return challenge;
}

/** Bob, let in. */
async function bob(): Promise<RawClient> {
  const scram = scramClient("bob", "bob-pw");
  const client = await begin({}, scram);
  await answerChallenge(client, scram);
  expect((await client.take("connack")).reasonCode).toBe(0);
  return client;
}

test.each([
  [4, 5],
  [5, 0x87],
] as const)("version %i: a login that fails is told so, and closed [MQTT-3.1.4-2]", async (protocolVersion, code) => {
  const client = await RawClient.dial(guarded.port, protocolVersion);
  client.send(connectPacket({ protocolVersion, username: "bob", password: Buffer.from("guess") }));
  await client.untilClosed();
  expect(client.packets).toMatchObject([{ cmd: "connack" }]);
  expect(client.packets[0].reasonCode ?? client.packets[0].returnCode).toBe(code);
});

describe("enhanced authentication", () => {
  test("AUTH says 0x18 and the method, CONNACK the method, too [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.15.2-1] [MQTT-3.2.0-1]", async () => {
    const scram = scramClient("bob", "bob-pw");
    const client = await begin({}, scram);
    const { reasonCode, properties } = await answerChallenge(client, scram);
    expect([reasonCode, properties.authenticationMethod]).toEqual([0x18, method]);
    const connack = await client.take("connack");
    expect([connack.reasonCode, connack.properties.authenticationMethod]).toEqual([0, method]);
    expect(scram.proves(connack.properties.authenticationData)).toBe(true);
  });

  test("by a method that is not known here is refused with 0x8C and closed [MQTT-4.12.0-1]", async () => {
    for (const authenticationMethod of ["GS2-KRB5", "scram-sha-256", ""]) {
      const client = await begin({ properties: { authenticationMethod } });
      await client.untilClosed();
      expect(client.packets).toMatchObject([{ cmd: "connack", reasonCode: 0x8c }]);
    }
  });

  test("that fails is refused and closed [MQTT-4.12.0-4]", async () => {
    const wrong = scramClient("bob", "guess");
    const client = await begin({}, wrong);
    await answerChallenge(client, wrong);
    await client.untilClosed();
    expect(client.packets).toMatchObject([{ cmd: "connack", reasonCode: 0x87 }]);
  });

  test("goes on with 0x18 and the same method, or ends [MQTT-4.12.0-3] [MQTT-3.15.2-1]", async () => {
    for (const [reasonCode, authenticationMethod, refusal] of [
      [0x19, method, 0x82],
      [0x00, method, 0x82],
      [0x18, "PLAIN", 0x82],
    ] as const) {
      const client = await begin();
      await client.take("auth");
      client.send({
        cmd: "auth",
        reasonCode,
        properties: { authenticationMethod, authenticationData: Buffer.from("x") },
      });
      await client.untilClosed();
      expect(client.packets).toMatchObject([{ cmd: "connack", reasonCode: refusal }]);
    }
    const odd = await begin();
    await odd.take("auth");
    odd.write(packetOf(0xf0, "55", sectionHex("15", textHex(method))));
    expect((await odd.take("connack")).reasonCode).toBe(0x81);
  });

  test("until it is over the client may say nothing else, but leave [MQTT-3.1.2-30]", async () => {
    const watcher = await RawClient.connect(guarded.port, { protocolVersion: 5 });
    await watcher.subscribe("early/#");
    for (const packet of [
      packetOf(0x30, textHex("early/x"), sectionHex(), "78"),
      packetOf(0x82, "0001", sectionHex(), textHex("a"), "00"),
      bytesOf("c000"),
      bytesOf("4002 0001"),
    ]) {
      const client = await begin();
      await client.take("auth");
      client.write(packet);
      await client.untilClosed();
      expect(client.packets).toMatchObject([{ cmd: "connack", reasonCode: 0x82 }]);
    }
    const leaving = await begin();
    await leaving.take("auth");
    leaving.write(bytesOf("e000"));
    await leaving.untilClosed();
    expect(leaving.packets).toEqual([]);
    await watcher.ping();
    expect(watcher.packets).toEqual([]);
  });

  test("is not spoken of to a client that did not ask for it [MQTT-4.12.0-6] [MQTT-4.12.0-7]", async () => {
    const client = await RawClient.connect(guarded.port, { protocolVersion: 5 });
    expect(client.connack.properties.authenticationMethod).toBeUndefined();
    client.send({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod: method } });
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
    expect(client.packets).toEqual([]);
  });

  test("its AUTH says no more than the exchange needs, and is not sent to a client that could not take it [MQTT-3.15.2-2] [MQTT-3.15.2-3] [MQTT-3.1.2-24]", async () => {
    const client = await begin();
    const { properties } = await client.take("auth");
    expect(Object.keys(properties).sort()).toEqual(["authenticationData", "authenticationMethod"]);
    const small = await begin({ properties: { maximumPacketSize: 50 } });
    await small.untilClosed();
    expect(small.packets).toMatchObject([{ cmd: "connack", reasonCode: 0x95 }]);
  });
});

describe("authentication anew", () => {
  const anew = (client: RawClient, data: Buffer, authenticationMethod = method): void =>
    client.send({
      cmd: "auth",
      reasonCode: 0x19,
      properties: { authenticationMethod, authenticationData: data },
    });

  test("goes on beside everything else, and ends with AUTH 0x00 and the method [MQTT-4.12.0-5] [MQTT-3.15.2-1]", async () => {
    const client = await bob();
    const scram = scramClient("bob", "bob-pw");
    anew(client, scram.first);
    const challenge = await answerChallenge(client, scram);
    client.publish("beside", "x", { qos: 1, messageId: 1 });
    const done = await client.take("auth");
    expect(
      [challenge, done].map(({ reasonCode, properties }) => [reasonCode, properties.authenticationMethod]),
    ).toEqual([
      [0x18, method],
      [0x00, method],
    ]);
    await client.take("puback");
  });

  test("by another method is refused [MQTT-4.12.1-1]", async () => {
    const client = await bob();
    anew(client, scramClient("bob", "bob-pw").first, "PLAIN");
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
    await client.untilClosed();
  });

  test("that fails ends the connection with its reason [MQTT-4.12.1-2]", async () => {
    const client = await bob();
    const wrong = scramClient("bob", "guess");
    anew(client, wrong.first);
    await answerChallenge(client, wrong);
    expect((await client.take("disconnect")).reasonCode).toBe(0x87);
    await client.untilClosed();
  });
});
