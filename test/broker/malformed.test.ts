/** Violations of the protocol, byte by byte: with which reason code the offender is closed, and that nobody else is. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { liveBytes } from "../support/live-bytes.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
let bystander: RawClient;
beforeAll(async () => {
  broker = await startBroker({ maxPacketSize: 50_000 });
  bystander = await RawClient.connect(broker.port);
});
afterAll(async () => {
  await bystander.ping();
  await broker.stop();
});

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/[\s|]/g, ""), "hex"));
}

/** A packet after CONNECT in MQTT 5, and the reason code of the DISCONNECT that it earns. */
const afterConnect: readonly [what: string, hex: string, reason: number][] = [
  ["packet type 0", "00 00", 0x81],
  ["a second CONNECT", "10 10 0004 4d515454 05 02 0000 00 0003 616263", 0x82],
  ["CONNACK from a client", "20 03 00 00 00", 0x82],
  ["SUBACK from a client", "90 04 0001 00 00", 0x82],
  ["PINGRESP from a client", "d0 00", 0x82],
  ["PINGREQ with a body", "c0 01 00", 0x81],
  ["PINGREQ with flags", "c1 00", 0x81],
  ["remaining length of five bytes", "30 ff ff ff ff 01", 0x81],
  ["remaining length that is not the shortest", "c0 80 00", 0x81],
  ["a packet beyond the maximum", "30 d1 86 03", 0x95],
  ["PUBLISH with QoS 3", "36 07 0001 61 0001 00 78", 0x81],
  ["PUBLISH with DUP and QoS 0", "38 05 0001 61 00 78", 0x81],
  ["PUBLISH with packet identifier 0", "32 07 0001 61 0000 00 78", 0x82],
  ["PUBLISH cut off in its topic", "30 03 0005 61", 0x81],
  ["PUBLISH without properties", "30 03 0001 61", 0x81],
  ["PUBLISH with an empty topic and no alias", "30 04 0000 00 78", 0x82],
  ["PUBLISH to a wildcard", "30 06 0003 612f23 00", 0x90],
  ["PUBLISH with U+0000 in its topic", "30 06 0003 610062 00", 0x81],
  ["PUBLISH with malformed UTF-8", "30 05 0002 c328 00", 0x81],
  ["PUBLISH with a surrogate", "30 06 0003 eda080 00", 0x81],
  ["PUBLISH with topic alias 0", "30 07 0001 61 03 23 0000", 0x94],
  ["PUBLISH with too high a topic alias", "30 07 0001 61 03 23 0041", 0x94],
  ["PUBLISH with an alias that was not set", "30 06 0000 03 23 0001", 0x82],
  ["PUBLISH with a subscription identifier", "30 06 0001 61 02 0b 05", 0x82],
  ["PUBLISH with a property of CONNECT", "30 09 0001 61 05 11 00000001", 0x81],
  ["PUBLISH with an unknown property", "30 06 0001 61 02 7f 00", 0x81],
  ["PUBLISH with a property twice", "30 08 0001 61 04 01 00 01 00", 0x82],
  ["PUBLISH with payload format 2", "30 06 0001 61 02 01 02", 0x82],
  ["PUBLISH with a wildcard response topic", "30 08 0001 61 04 08 0001 23", 0x82],
  ["PUBLISH whose properties run over", "30 05 0001 61 09 01", 0x81],
  ["PUBACK without packet identifier", "40 01 00", 0x81],
  ["PUBACK with packet identifier 0", "40 02 0000", 0x82],
  ["PUBACK with flags", "42 02 0001", 0x81],
  ["PUBACK with an unknown reason", "40 03 0001 55", 0x81],
  ["PUBREL without its flags", "60 02 0001", 0x81],
  ["SUBSCRIBE without its flags", "80 07 0001 00 0001 61 00", 0x81],
  ["SUBSCRIBE without filters", "82 03 0001 00", 0x82],
  ["SUBSCRIBE with packet identifier 0", "82 07 0000 00 0001 61 00", 0x82],
  ["SUBSCRIBE with an empty filter", "82 06 0001 00 0000 00", 0x81],
  ["SUBSCRIBE with QoS 3", "82 07 0001 00 0001 61 03", 0x81],
  ["SUBSCRIBE with reserved options", "82 07 0001 00 0001 61 40", 0x81],
  ["SUBSCRIBE with retain handling 3", "82 07 0001 00 0001 61 30", 0x82],
  ["SUBSCRIBE with identifier 0", "82 09 0001 02 0b 00 0001 61 00", 0x82],
  ["SUBSCRIBE without options", "82 06 0001 00 0001 61", 0x81],
  ["SUBSCRIBE with no local on a shared one", "82 10 0001 00 000a 2473686172652f672f61 04", 0x82],
  ["UNSUBSCRIBE without filters", "a2 03 0001 00", 0x82],
  ["DISCONNECT with flags", "e1 00", 0x81],
  ["DISCONNECT with a will delay", "e0 07 00 05 18 00000001", 0x81],
  ["AUTH out of the blue", "f0 02 18 00", 0x82],
];

describe("after CONNECT, MQTT 5", () => {
  test.each(afterConnect)("%s", async (_, hex, reason) => {
    const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
    client.write(bytes(hex));
    const disconnect = await client.take("disconnect");
    expect(disconnect.reasonCode.toString(16)).toBe(reason.toString(16));
    await client.untilClosed();
  });

  test("the same bytes one by one earn the same", async () => {
    for (const [, hex, reason] of afterConnect) {
      const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
      for (const byte of bytes(hex)) client.write(new Uint8Array([byte]));
      expect((await client.take("disconnect")).reasonCode).toBe(reason);
    }
  });

  test("a bad filter is refused alone", async () => {
    const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
    const filters = [
      "good",
      "a/#/b",
      "a+",
      "$share/g",
      "$share//a",
      "$share/g+/a",
      "x".repeat(3).replaceAll("x", "y/"),
    ];
    client.send({
      cmd: "subscribe",
      messageId: 1,
      subscriptions: filters.map((topic) => ({ topic, qos: 1, nl: false, rap: false, rh: 0 })),
    });
    expect((await client.take("suback")).granted).toEqual([1, 0x8f, 0x8f, 0x8f, 0x8f, 0x8f, 1]);
  });

  test.each([
    ["PUBACK for QoS 2", 2, "puback"],
    ["PUBCOMP for QoS 1", 1, "pubcomp"],
    ["PUBREC for QoS 1", 1, "pubrec"],
    ["PUBCOMP before PUBREL", 2, "pubcomp"],
  ] as const)("%s", async (what, qos, cmd) => {
    const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
    const topic = `wrong/${what}`;
    await client.subscribe(topic, { qos });
    client.publish(topic, "x", { qos, messageId: 1 });
    const { messageId } = await client.take("publish");
    client.send({ cmd, messageId });
    expect((await client.take("disconnect")).reasonCode).toBe(0x82);
  });
});

describe("CONNECT", () => {
  test.each([
    ["no CONNECT first", "c0 00", undefined],
    ["a wrong protocol name", "10 0c 0004 58515454 04 02 0000 0000", undefined],
    ["an unknown level", "10 0c 0004 4d515454 07 02 0000 0000", { reasonCode: 0x84 }],
    [
      "MQTT 3.1.1 under the old name [MQTT-3.1.2-2 of 3.1.1]",
      "10 0e 0006 4d5149736470 04 02 0000 0000",
      { returnCode: 1 },
    ],
    ["the reserved flag", "10 0c 0004 4d515454 04 03 0000 0000", undefined],
    ["the reserved flag, MQTT 5", "10 0d 0004 4d515454 05 03 0000 00 0000", { reasonCode: 0x81 }],
    [
      "a password without a user name before MQTT 5 [MQTT-3.1.2-22 of 3.1.1]",
      "10 0f 0004 4d515454 04 42 0000 0000 0001 61",
      undefined,
    ],
    [
      "will QoS 3 [MQTT-3.1.4-1 of 3.1.1] [MQTT-3.2.2-6 of 3.1.1]",
      "10 14 0004 4d515454 04 1e 0000 0001 61 0001 61 0002 6161",
      undefined,
    ],
    ["will flags without a will", "10 0c 0004 4d515454 04 22 0000 0000", undefined],
    ["an empty client id with clean session 0", "10 0c 0004 4d515454 04 00 0000 0000", { returnCode: 2 }],
    ["bytes after the end", "10 0d 0004 4d515454 04 02 0000 0000 00", undefined],
    ["cut off", "10 0a 0004 4d515454 04 02 0000", undefined],
    ["receive maximum 0", "10 10 0004 4d515454 05 02 0000 03 21 0000 0000", { reasonCode: 0x82 }],
    [
      "a wildcard in the will's topic",
      "10 14 0004 4d515454 05 06 0000 00 0000 00 0001 23 0001 78",
      { reasonCode: 0x90 },
    ],
  ] as const)("%s", async (_, hex, answer) => {
    const isFive = answer !== undefined && "reasonCode" in answer;
    const client = await RawClient.dial(broker.port, isFive ? 5 : 4);
    client.write(bytes(hex));
    await client.untilClosed();
    expect(client.packets.length).toBe(answer === undefined ? 0 : 1);
    if (answer !== undefined) expect(client.packets[0]).toMatchObject(answer);
  });

  test("more connections than allowed are told so", async () => {
    const small = await startBroker({ maxConnections: 1 });
    await RawClient.connect(small.port);
    const five = await RawClient.dial(small.port, 5);
    five.send(connectPacket({ protocolVersion: 5 }));
    expect((await five.take("connack")).reasonCode).toBe(0x97);
    const four = await RawClient.dial(small.port, 4);
    four.send(connectPacket());
    expect((await four.take("connack")).returnCode).toBe(3);
    await small.stop();
  });

  test("a giant CONNECT is refused before it is sent", async () => {
    const client = await RawClient.dial(broker.port, 4);
    client.write(bytes("10 ff ff ff 7f 00 04"));
    await client.untilClosed();
  });
});

test("a giant packet that is announced and not sent costs no memory", async () => {
  const big = await startBroker({ maxPacketSize: 268_435_460 });
  const before = liveBytes();
  const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.connect(big.port)));
  for (const client of clients) client.write(bytes("30 ff ff ff 7f 00 01 61 78 78 78"));
  for (const client of clients) client.write(bytes("78 78"));
  await Bun.sleep(100);
  expect(liveBytes() - before).toBeLessThan(100e6);
  await big.stop();
});

test("deep topics and long filters are bounded", async () => {
  const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
  const deep = "a/".repeat(10_000);
  expect((await client.subscribe(deep)).granted).toEqual([0x8f]);
  expect((await client.subscribe("x".repeat(49_000))).granted).toEqual([0]);
  client.publish(deep, "x", { qos: 1, messageId: 1 });
  expect((await client.take("puback")).reasonCode).toBe(0x90);
});
