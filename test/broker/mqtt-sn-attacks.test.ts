/** Attacks by datagrams: nobody can be flooded through the broker, and nothing that strangers fill is boundless. */
import { expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { snTopicIdsMax } from "../../src/base/sn-limits.ts";
import { connect } from "../../src/client/for-bun.ts";
import { encodeMessage } from "../../src/mqttsn/messages.ts";
import { challengeBytes } from "../../src/mqttsn/peer.ts";
import { seeded } from "../simulation/world.ts";
import { eventually, withBroker } from "../support/broker.ts";
import { SnClient } from "../support/sn-client.ts";

const options = { snPort: 0, snRetry: 50 };

test("a forged address is not sent more than it has sent, but for the question that it must answer", async () => {
  await withBroker(options, async (broker) => {
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    await client.publish("large/topic/with/a/long/name", "x".repeat(1000), { qos: 1, retain: true });
    const { port, gateway } = broker.server.sn!;
    const victim = await SnClient.open(port);
    victim.answersRegister = false;
    victim.send({ kind: "connect", will: false, clean: true, protocolId: 1, duration: 600, clientId: "forged" });
    await victim.take("connack");
    victim.send({ kind: "subscribe", dup: false, qos: 1, messageId: 1, topicKind: 0, topic: "#" });
    await eventually(() => gateway.metrics.lost === 1, "the client is given up");
    expect(victim.inbox.some(({ kind }) => kind === "publish")).toBe(false);
    const asked = victim.inbox.filter((message) => message.kind === "register");
    const questions = asked.length;
    expect(questions).toBeGreaterThan(0);
    // No reserved ids: clients may refuse those.
    expect(asked.every(({ topicId }) => topicId > 0 && topicId < 0xffff)).toBe(true);
    expect(victim.bytesReceived).toBeLessThanOrEqual(victim.bytesSent + questions * challengeBytes);
    // Who answers is sent it.
    const owner = await SnClient.connect(port, "the-owner");
    await owner.subscribe("#");
    expect((await owner.takeQoS1()).length).toBe(1000);
    for (const one of [victim, owner]) one.close();
    await client.end();
  });
});

test("a sleeper's mail cannot be taken away by a forged address", async () => {
  await withBroker(options, async (broker) => {
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    const { port, gateway } = broker.server.sn!;
    const device = await SnClient.connect(port, "sleeper");
    await device.subscribe("mail/for/the/sleeper");
    device.send({ kind: "disconnect", duration: 600 });
    await device.take("disconnect");
    await client.publish("mail/for/the/sleeper", "x".repeat(500), { qos: 1 });
    const thief = await SnClient.open(port);
    thief.answersRegister = false;
    thief.send({ kind: "pingreq", clientId: "sleeper" });
    await thief.take("register");
    // It does not answer: the device is asleep again, and nothing is lost.
    await eventually(() => gateway.sleeping === 1 && gateway.metrics.retransmitted >= 4, "it sleeps again");
    expect(thief.inbox.some(({ kind }) => kind === "publish")).toBe(false);
    device.send({ kind: "pingreq", clientId: "sleeper" });
    expect((await device.takeQoS1()).length).toBe(500);
    await device.take("pingresp");
    // Nor can a client that is awake be moved.
    const awake = await SnClient.connect(port, "awake");
    thief.send({ kind: "pingreq", clientId: "awake" });
    await thief.take("disconnect");
    awake.send({ kind: "pingreq", clientId: "" });
    await awake.take("pingresp");
    for (const one of [device, thief, awake]) one.close();
    await client.end();
  });
});

test("a client has so many topic ids; what it used last stays", async () => {
  await withBroker(options, async (broker) => {
    const device = await SnClient.connect(broker.server.sn!.port, "greedy");
    const first = await device.register("topic/first");
    let last = 0;
    for (let index = 0; index < snTopicIdsMax; index++) last = await device.register(`topic/${index}`);
    device.publish(last, "x");
    expect(await device.take("puback")).toMatchObject({ code: 0 });
    device.publish(first, "x");
    expect(await device.take("puback")).toMatchObject({ topicId: first, code: 2 });
    expect(await device.register("topic/first")).not.toBe(first);
    device.close();
  });
});

test("CONNECTs from more addresses than may wait cost a client that is there nothing", async () => {
  await withBroker(options, async (broker) => {
    const { port, gateway } = broker.server.sn!;
    const healthy = await SnClient.connect(port, "healthy");
    const topicId = await healthy.register("healthy/topic");
    // As a forwarder has them: one socket is thousands of addresses, and none of them ever answers.
    const flood = await SnClient.open(port);
    const connectOf = (index: number): Uint8Array =>
      encodeMessage({ kind: "connect", will: false, clean: true, protocolId: 1, duration: 600, clientId: `f${index}` });
    const sent = 3_000;
    for (let index = 0; index < sent; index++) {
      const node = Uint8Array.of(index >> 8, index & 0xff);
      flood.send({ kind: "encapsulated", radius: 0, node, inner: connectOf(index) });
      if (index % 100 === 99) await eventually(() => gateway.metrics.received >= index, "they have come");
    }
    await eventually(() => gateway.clients === sent + 1, "all are let in");
    healthy.publish(topicId, "still here");
    expect(await healthy.take("puback")).toMatchObject({ topicId, code: 0 });
    // Nobody was sent more than it has sent: CONNACK is shorter than CONNECT.
    expect(flood.bytesReceived).toBeLessThan(flood.bytesSent);
    for (const one of [healthy, flood]) one.close();
  });
});

test("a client that says it sleeps for ever, again and again, is one client, and is lost in the end", async () => {
  await withBroker({ ...options, sn2: true }, async (broker) => {
    const { port, gateway } = broker.server.sn!;
    const sleeper = await SnClient.connect(port, "sleeper");
    await sleeper.subscribe("mail");
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    await client.publish("mail", "x", { qos: 1 });
    for (let count = 0; count < 200; count++) {
      sleeper.send({ kind: "disconnect", duration: 0xffff });
      await sleeper.take("disconnect");
    }
    expect([gateway.clients, gateway.sleeping]).toEqual([1, 1]);
    // Its timer is one, and its silence is bounded, whatever it says.
    const longest = 1.1 * 0xffff * 1000;
    expect(gateway.nextDeadline() - systemClock.now()).toBeLessThanOrEqual(longest);
    sleeper.send({ kind: "pingreq", clientId: "sleeper" });
    expect(await sleeper.takeQoS1()).toBe("x");
    sleeper.close();
    await client.end();
  });
});

test("two gateways do not answer each other for ever", async () => {
  await withBroker(options, async (broker) => {
    const stranger = await SnClient.open(broker.server.sn!.port);
    for (const hex of ["0218", "0217", "030200", "03 0500", "070b0001000100", "070d0001000100", "0500010384"])
      stranger.sendBytes(Uint8Array.fromHex(hex.replace(" ", "")));
    // All of those came before this one, which is answered.
    stranger.send({ kind: "searchgw", radius: 0 });
    await stranger.take("gwinfo");
    expect(stranger.inbox).toEqual([]);
    stranger.close();
  });
});

/** Messages of 1.2. */
function wholeOf1(): Uint8Array[] {
  return [
    encodeMessage({ kind: "connect", will: true, clean: false, protocolId: 1, duration: 1, clientId: "bent" }),
    encodeMessage({ kind: "connect", will: false, clean: true, protocolId: 1, duration: 9, clientId: "bent" }),
    encodeMessage({ kind: "willtopic", topic: "w", qos: 1, retain: false }),
    encodeMessage({ kind: "willmsg", data: new Uint8Array(5) }),
    encodeMessage({ kind: "willtopicupd", topic: "w", qos: 1, retain: false }),
    encodeMessage({ kind: "willmsgupd", data: new Uint8Array(5) }),
    encodeMessage({ kind: "register", topicId: 0, messageId: 3, topic: "bent/topic" }),
    encodeMessage({ kind: "subscribe", dup: false, qos: 2, messageId: 4, topicKind: 0, topic: "bent/#" }),
    encodeMessage({ kind: "unsubscribe", messageId: 4, topicKind: 0, topic: "bent/#" }),
    Uint8Array.fromHex("090c400001000161ff"),
    Uint8Array.fromHex("080c226162000561"),
    Uint8Array.fromHex("080c426162000661"),
    Uint8Array.fromHex("080c626162000061"),
    Uint8Array.fromHex("04100006"),
    Uint8Array.fromHex("070d0001000100"),
    Uint8Array.fromHex("040f0001"),
    Uint8Array.fromHex("040e0001"),
    encodeMessage({ kind: "pingreq", clientId: "bent" }),
    encodeMessage({ kind: "disconnect", duration: 1 }),
    encodeMessage({ kind: "disconnect", duration: undefined }),
  ];
}

/** Packets of 2.0, each as short as it may be, and CONNECT with all that it may have. */
const wholeOf2 = `
  0a010101020200010000 0d0100010202000100006c6f6e67 0810000102622f63 08080b0006622f23 090320000100016869
  0a0313000300612f6278 0903130002786968 07034000090009 04060009 04040001 05040001f0 0505000183 04070001
  040c000a 0913010b0000000001 030e00 080e060000003c04 080f000118024142 091213000261626869 0217
  0afe00026131040c0001 1bff120000112233445566770000000000000001040c0001000000 06fc01aa030e00
  2c013e1b010202003c040005000000010003612f620004676f6e6505504c41494e00006465766963652d3031
`
  .trim()
  .split(/\s+/)
  .map((hex) => Uint8Array.fromHex(hex));

/** A rogue does not listen to what it is told. */
const deaf = { encode: encodeMessage, decode: () => ({ kind: "pingresp" }) as const };

test("bent datagrams of strangers and of clients harm nobody, in either version", async () => {
  await withBroker({ ...options, sn2: true }, async (broker) => {
    const { port, gateway } = broker.server.sn!;
    const healthy = await SnClient.connect(port, "healthy");
    const topicId = await healthy.register("healthy/topic");
    const random = seeded(7).next;
    const below = (count: number): number => Math.floor(random() * count);
    const whole = [...wholeOf1(), ...wholeOf2];
    const rogues = await Promise.all([1, 2, 3].map(() => SnClient.open(port, undefined, deaf)));
    for (const one of rogues) one.answersRegister = false;
    const sent = 9_000;
    const before = gateway.metrics.received;
    let out = 0;
    for (let index = 0; index < sent; index++) {
      let bytes = Uint8Array.from(whole[below(whole.length)]!);
      if (random() < 0.4) bytes[below(bytes.length)] = below(256);
      if (random() < 0.1) bytes = bytes.subarray(0, below(bytes.length));
      if (random() < 0.1) bytes = Uint8Array.of(4, 0xfe, 0, below(3), ...bytes);
      if (bytes.length === 0) continue;
      rogues[below(rogues.length)]!.sendBytes(bytes);
      out++;
      if (index % 100 === 99) await eventually(() => gateway.metrics.received - before >= out, "they have come");
    }
    for (const qos of [1, 2] as const) {
      const messageId = healthy.publish(topicId, "still here", { qos });
      expect(await healthy.take(qos === 1 ? "puback" : "pubrec")).toMatchObject({ messageId });
    }
    for (const one of [...rogues, healthy]) one.close();
  });
});

test("devices count among connections, of their address and of all; who is silent goes with all that it took", async () => {
  const count = 40;
  const connectAll = async (port: number): Promise<{ codes: number[]; devices: SnClient[] }> => {
    const devices = await Promise.all(Array.from({ length: count }, () => SnClient.open(port)));
    for (const [number, device] of devices.entries())
      device.send({ kind: "connect", will: false, clean: true, protocolId: 1, duration: 1, clientId: `d-${number}` });
    const codes = await Promise.all(devices.map(async (device) => (await device.take("connack")).code));
    return { codes, devices };
  };
  for (const limit of [{ maxConnectionsPerAddress: 30 }, { maxConnections: 30 }])
    await withBroker({ ...options, ...limit }, async ({ server }) => {
      const { port, gateway } = server.sn!;
      const { metrics } = server.broker.context;
      const { codes, devices } = await connectAll(port);
      expect(codes.filter((code) => code === 0).length).toBe(30);
      expect([metrics.connections, gateway.clients]).toEqual([30, 30]);
      await eventually(() => metrics.connections === 0 && gateway.clients === 0, "who is silent is lost");
      for (const device of devices) device.close();
    });
}, 60_000);
