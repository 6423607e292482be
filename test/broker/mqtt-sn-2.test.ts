/** MQTT-SN 2.0 at the port of 1.2: the same broker, sessions and rights, and devices whose packets are protected. */

import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { type Client, connect } from "../../src/client/for-bun.ts";
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import type { ConnectOf2, SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { eventually, startBroker, type TestBroker, withBroker } from "../support/broker.ts";
import { SnClient, type SnCodec } from "../support/sn-client.ts";
import { deviceKey, deviceSender, protectedBy } from "../support/sn-protected.ts";

const options = { snPort: 0, snRetry: 10_000, sn2: true };
const codec: SnCodec = { encode: encodeMessage2, decode: decodeMessage2 };
const sn = (broker: TestBroker): number => broker.server.sn!.port;
const open = (broker: TestBroker): Promise<SnClient> => SnClient.open(sn(broker), undefined, codec);

function connectOf(clientId: string, clean = true, more: Partial<ConnectOf2> = {}): SnMessage {
  const none = { will: undefined, expiry: 0, packetBytesMax: 0, allowsMoves: false, method: undefined, awakeMax: 0 };
  const of2 = { messageId: 77, ...none, ...more };
  return { kind: "connect", will: false, clean, protocolId: 2, duration: 60, clientId, of2 };
}

async function enter(broker: TestBroker, clientId: string, clean = true, more: Partial<ConnectOf2> = {}) {
  const device = await open(broker);
  device.send(connectOf(clientId, clean, more));
  expect(await device.take("connack")).toMatchObject({ code: 0, messageId: more.messageId ?? 77 });
  return device;
}

async function gather(client: Client, filter: string): Promise<string[]> {
  const got: string[] = [];
  const subscription = await client.subscribe(filter, { qos: 2 });
  void (async () => {
    for await (const { topic, text } of subscription) got.push(`${topic} ${text}`);
  })();
  return got;
}

async function withBoth(run: (broker: TestBroker, client: Client) => Promise<void>, more: object = {}): Promise<void> {
  await withBroker({ ...options, ...more }, async (broker) => {
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    await run(broker, client);
    await client.end();
  });
}

const publish = (device: SnClient, topic: string, text: string, qos: 0 | 1 | 2): number => {
  const messageId = qos > 0 ? device.nextId() : 0;
  const data = new TextEncoder().encode(text);
  device.send({
    ...{ kind: "publish", dup: false, qos, retain: false, topicKind: 0, topicId: 0 },
    topic,
    messageId,
    data,
  });
  return messageId;
};
const takeQoS1 = async (device: SnClient): Promise<string> => {
  const { messageId, data } = await device.take("publish");
  device.send({ kind: "puback", topicId: 0, messageId, code: 0 });
  return new TextDecoder().decode(data);
};

describe("messages", () => {
  test("by name, by alias and without a session, at each QoS", async () => {
    await withBoth(
      async (broker, client) => {
        const got = await gather(client, "#");
        const device = await enter(broker, "device-1");
        publish(device, "a/name", "0", 0);
        const messageId = publish(device, "a/name", "1", 1);
        expect(await device.take("puback")).toMatchObject({ messageId, code: 0 });
        const second = publish(device, "a/name", "2", 2);
        expect(await device.take("pubrec")).toEqual({ kind: "pubrec", messageId: second });
        device.send({ kind: "pubrel", messageId: second });
        expect(await device.take("pubcomp")).toEqual({ kind: "pubcomp", messageId: second });
        const topicId = await device.register("an/alias");
        device.publish(topicId, "3");
        expect(await device.take("puback")).toMatchObject({ code: 0 });
        device.publish(topicId === 9 ? 10 : 9, "x");
        expect(await device.take("puback")).toMatchObject({ code: 2 });
        const stranger = await open(broker);
        const data = new TextEncoder().encode("4");
        const head = { kind: "publish", dup: false, qos: -1, retain: false, topicKind: 0, topicId: 0 } as const;
        stranger.send({ ...head, topic: "no/session", messageId: 0, data });
        await eventually(() => got.length === 5, "five messages");
        expect(got).toEqual(["a/name 0", "a/name 1", "a/name 2", "an/alias 3", "no/session 4"]);
        for (const one of [device, stranger]) one.close();
      },
      { snPublishAnonymous: "sensor" },
    );
  });

  test("a topic has its alias in SUBACK, wildcards bring REGISTER, options count", async () => {
    await withBoth(async (broker, client) => {
      await client.publish("kept/topic", "kept", { qos: 1, retain: true });
      const device = await enter(broker, "device-1");
      const { topicId, qos } = await device.subscribe("plain/topic", 2);
      expect(topicId).toBeGreaterThan(0);
      expect(qos).toBe(2);
      await client.publish("plain/topic", "1", { qos: 1 });
      const first = await device.take("publish");
      expect(first).toMatchObject({ topicId, topicKind: 0, qos: 1 });
      device.send({ kind: "puback", topicId: 0, messageId: first.messageId, code: 0 });
      const of2 = { noLocal: true, retainAsPublished: false, retainHandling: 2 } as const;
      device.send({ kind: "subscribe", dup: false, qos: 1, messageId: 60, topicKind: 0, topic: "kept/#", of2 });
      expect(await device.take("suback")).toMatchObject({ topicId: 0, qos: 1, code: 0 });
      // Retain Handling 2: not what is kept; No Local: not its own.
      publish(device, "kept/own", "own", 1);
      await device.take("puback");
      await client.publish("kept/other", "2", { qos: 1 });
      expect(await takeQoS1(device)).toBe("2");
      expect([...device.registered.values()]).toContain("kept/other");
      expect(device.inbox).toEqual([]);
      // An alias that the client has lost is told again.
      await client.publish("kept/other", "3", { qos: 1 });
      const lost = await device.take("publish");
      device.registered.clear();
      device.send({ kind: "puback", topicId: 0, messageId: lost.messageId, code: 2 });
      expect(await takeQoS1(device)).toBe("3");
      expect([...device.registered.values()]).toEqual(["kept/other"]);
      device.send({ kind: "unsubscribe", messageId: 61, topicKind: 3, topicId });
      expect(await device.take("unsuback")).toEqual({ kind: "unsuback", messageId: 61 });
      device.close();
    });
  });
});

describe("connecting", () => {
  test("sessions live as long as they say, CONNACK tells of them, and who has no id is given one", async () => {
    await withBoth(async (broker, client) => {
      const first = await enter(broker, "kept", true, { expiry: 600 });
      await first.subscribe("mail");
      first.send({ kind: "disconnect", duration: undefined });
      await first.take("disconnect");
      await client.publish("mail", "waits", { qos: 1 });
      const again = await open(broker);
      again.send(connectOf("kept", false, { expiry: 600 }));
      expect(await again.take("connack")).toMatchObject({ code: 0, sessionPresent: true });
      expect(await takeQoS1(again)).toBe("waits");
      const brief = await enter(broker, "brief", false);
      await brief.subscribe("mail");
      brief.send({ kind: "disconnect", duration: undefined });
      await brief.take("disconnect");
      await eventually(() => !broker.server.broker.context.localSessions.has("brief"), "it is over");
      const nameless = await open(broker);
      nameless.send(connectOf(""));
      const { assignedId } = await nameless.take("connack");
      expect(assignedId).toMatch(/^[0-9a-f]{12}$/);
      // The same CONNECT again is the same client's.
      nameless.send(connectOf(""));
      expect((await nameless.take("connack")).assignedId).toBe(assignedId!);
      for (const one of [first, again, brief, nameless]) one.close();
    });
  });

  test("a will comes with CONNECT, and is published by who says so or is lost", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "wills/#");
      const will = { topic: "wills/x", qos: 1, retain: false, data: new TextEncoder().encode("gone") } as const;
      const polite = await enter(broker, "polite", true, { will });
      polite.send({ kind: "disconnect", duration: undefined });
      await polite.take("disconnect");
      const dying = await enter(broker, "dying", true, { will: { ...will, topic: "wills/y" } });
      dying.send({ kind: "disconnect", duration: undefined, reason: 4 });
      await eventually(() => got.length > 0, "a will");
      expect(got).toEqual(["wills/y gone"]);
      for (const one of [polite, dying]) one.close();
    });
  });

  test("AUTH, strangers and unknown versions are refused in words; 1.2 is spoken beside it", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "#");
      const device = await open(broker);
      device.send(connectOf("with-a-method", true, { method: "SCRAM" }));
      expect(await device.take("connack")).toMatchObject({ reason: 0x8c });
      device.send({ kind: "pingreq", clientId: "", messageId: 5 });
      expect(await device.take("disconnect")).toMatchObject({ reason: 0xf4 });
      device.send(connectOf("device"));
      await device.take("connack");
      device.send({ kind: "auth", messageId: 6, reason: 0x19, method: "SCRAM" });
      expect(await device.take("disconnect")).toMatchObject({ reason: 0x8c });
      device.send({ kind: "searchgw", radius: 0 });
      expect(await device.take("gwinfo")).toMatchObject({ gatewayId: 1 });
      const older = await SnClient.connect(sn(broker), "older");
      older.publish(await older.register("of/1.2"), "x");
      await older.take("puback");
      await eventually(() => got.length === 1, "its message");
      expect(got).toEqual(["of/1.2 x"]);
      // One socket may go over from one version to the other.
      older.sendBytes(encodeMessage2(connectOf("newer")));
      await eventually(() => broker.server.broker.context.localSessions.has("newer"), "the new version");
      for (const one of [device, older]) one.close();
    });
  });

  test("without --sn-2 nothing of it is understood", async () => {
    await withBroker({ snPort: 0 }, async (broker) => {
      const device = await open(broker);
      const { metrics } = broker.server.sn!.gateway;
      device.send(connectOf("device"));
      await eventually(() => metrics.malformed === 1, "it is malformed");
      expect(device.inbox).toEqual([]);
      device.close();
    });
  });
});

test("a sleeper's mail waits, comes in portions of its own choice, and follows it to another address", async () => {
  await withBoth(async (broker, client) => {
    const device = await enter(broker, "sleeper", true, { expiry: 600, allowsMoves: true, awakeMax: 2 });
    await device.subscribe("mail/#");
    device.send({ kind: "sleepreq", messageId: 40, duration: 300, keepsTopics: true });
    expect(await device.take("sleepresp")).toEqual({ kind: "sleepresp", messageId: 40, code: 0 });
    for (const text of ["1", "2", "3"]) await client.publish("mail/x", text, { qos: 1 });
    expect(device.inbox).toEqual([]);
    device.send({ kind: "pingreq", clientId: "", messageId: 41 });
    expect(await takeQoS1(device)).toBe("1");
    expect(await takeQoS1(device)).toBe("2");
    expect(await device.take("pingresp")).toEqual({ kind: "pingresp", messageId: 41, hasMore: true });
    device.close();
    const moved = await open(broker);
    moved.send({ kind: "pingreq", clientId: "", messageId: 42 });
    expect(await moved.take("disconnect")).toMatchObject({ reason: 0xf4 });
    const inner = encodeMessage2({ kind: "pingreq", clientId: "", messageId: 43 });
    moved.send({ kind: "identified", clientId: "sleeper", inner });
    expect(await takeQoS1(moved)).toBe("3");
    expect(await moved.take("pingresp")).toEqual({ kind: "pingresp", messageId: 43 });
    // Who has not allowed it is not moved, asleep or not.
    const still = await enter(broker, "still");
    moved.send({ kind: "identified", clientId: "still", inner });
    await moved.take("disconnect");
    still.send({ kind: "pingreq", clientId: "", messageId: 44 });
    await still.take("pingresp");
    for (const one of [moved, still]) one.close();
  });
});

describe("protected devices", () => {
  async function withKeys(run: (broker: TestBroker, file: string) => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sn-keys-"));
    const snKeys = join(folder, "keys");
    writeFileSync(snKeys, `${deviceSender},${deviceKey},meters\n`);
    const passwordFile = join(folder, "users");
    writeFileSync(passwordFile, `bob:${await hashForScram("bob-pw")}\n`);
    const broker = await startBroker({ ...options, snKeys, passwordFile, allowAnonymous: true });
    try {
      await run(broker, snKeys);
    } finally {
      await broker.stop();
      rmSync(folder, { recursive: true });
    }
  }

  test.each([
    ["HMAC-SHA256", 0x00],
    ["AES-GCM", 0x46],
  ])("%s: a device is its sender's, under the user of its key, at whatever address", async (_, scheme) => {
    await withKeys(async (broker) => {
      const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
      const got = await gather(client, "#");
      const own = protectedBy(scheme);
      const device = await SnClient.open(sn(broker), undefined, own);
      device.send(connectOf("meter", true, { expiry: 600 }));
      expect(await device.take("connack")).toMatchObject({ code: 0 });
      publish(device, "meter/value", "1", 1);
      await device.take("puback");
      const { localSessions } = broker.server.broker.context;
      expect(localSessions.get(`meter@${deviceSender}`)?.user).toBe("meters");
      // Another address, the same key.
      const moved = await SnClient.open(sn(broker), undefined, own);
      publish(moved, "meter/value", "2", 1);
      await moved.take("puback");
      await eventually(() => got.length === 2, "two messages");
      expect(got).toEqual(["meter/value 1", "meter/value 2"]);
      // The same id without the key is another client's, and the marked one nobody's.
      const stranger = await enter(broker, "meter");
      expect(localSessions.has("meter") && localSessions.has(`meter@${deviceSender}`)).toBe(true);
      const thief = await open(broker);
      thief.send(connectOf(`meter@${deviceSender}`));
      expect(await thief.take("connack")).toMatchObject({ reason: 0x85 });
      const older = await SnClient.open(sn(broker));
      older.send({ kind: "pingreq", clientId: `meter@${deviceSender}` });
      await older.take("disconnect");
      for (const one of [device, moved, stranger, thief, older]) one.close();
      await client.end();
    });
  });

  test("forged, replayed and strangers' packets do nothing; keys are read again, counters stay", async () => {
    await withKeys(async (broker, file) => {
      const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
      const got = await gather(client, "#");
      const { metrics } = broker.server.sn!.gateway;
      const own = protectedBy(0);
      const device = await SnClient.open(sn(broker), undefined, own);
      device.send(connectOf("meter"));
      await device.take("connack");
      const data = new TextEncoder().encode("once");
      const message: SnMessage = {
        ...{ kind: "publish", dup: false, qos: 1, retain: false, topicKind: 0, topicId: 0 },
        ...{ topic: "meter/value", messageId: 9, data },
      };
      const bytes = own.encode(message);
      device.sendBytes(bytes);
      await device.take("puback");
      const eavesdropper = await open(broker);
      for (let count = 0; count < 5; count++) eavesdropper.sendBytes(bytes);
      const forged = own.encode(message);
      forged[forged.length - 1]! ^= 1;
      eavesdropper.sendBytes(forged);
      await eventually(() => metrics.refused === 6, "six are refused");
      expect(eavesdropper.inbox).toEqual([]);
      const unknown = await SnClient.open(sn(broker), undefined, protectedBy(0, { from: "ff".repeat(8) }));
      unknown.send(connectOf("unknown"));
      expect(await unknown.take("disconnect")).toMatchObject({ reason: 0xe8 });
      // The keys are read again: another one counts, and what came before comes no more.
      writeFileSync(file, `${"ff".repeat(8)},${deviceKey}\n${deviceSender},${deviceKey},meters\n`);
      broker.server.reload();
      eavesdropper.sendBytes(bytes);
      unknown.send(connectOf("unknown"));
      expect(await unknown.take("connack")).toMatchObject({ code: 0 });
      expect(metrics.refused).toBe(8);
      expect(got).toEqual(["meter/value once"]);
      for (const one of [device, eavesdropper, unknown]) one.close();
      await client.end();
    });
  });
});

test("an address of 2.0 that has not proved itself is not sent more than it has sent, but for the question", async () => {
  await withBroker({ ...options, snRetry: 50 }, async (broker) => {
    const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
    await client.publish("large/topic", "x".repeat(1000), { qos: 1, retain: true });
    const victim = await enter(broker, "forged");
    victim.answersRegister = false;
    victim.send({ kind: "subscribe", dup: false, qos: 1, messageId: 1, topicKind: 0, topic: "#" });
    await eventually(() => broker.server.sn!.gateway.metrics.lost === 1, "the client is given up");
    expect(victim.inbox.some(({ kind }) => kind === "publish")).toBe(false);
    const questions = victim.inbox.filter(({ kind }) => kind === "register").length;
    expect(questions).toBeGreaterThan(0);
    expect(victim.bytesReceived).toBeLessThanOrEqual(victim.bytesSent + questions * 8);
    victim.close();
    await client.end();
  });
});
