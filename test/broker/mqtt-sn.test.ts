/** MQTT-SN over UDP, with a broker in this process: its clients are clients like any other. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../src/client/for-bun.ts";
import { eventually, type TestBroker, withBroker } from "../support/broker.ts";
import { SnClient } from "../support/sn-client.ts";

/** Long enough that nothing is sent again on a machine that is busy; where it must be, the test says so. */
const options = { snPort: 0, snRetry: 20_000 };
const soon = { snRetry: 200 };

function sn(broker: TestBroker): number {
  return broker.server.sn!.port;
}

async function mqtt(broker: TestBroker): Promise<Client> {
  return connect(`mqtt://127.0.0.1:${broker.port}`);
}

/** Subscribes with MQTT, and gathers what comes. */
async function gather(client: Client, filter: string): Promise<string[]> {
  const got: string[] = [];
  const subscription = await client.subscribe(filter, { qos: 2 });
  void (async () => {
    for await (const { topic, text } of subscription) got.push(`${topic} ${text}`);
  })();
  return got;
}

/** Runs a test with a broker and one client of MQTT. */
async function withBoth(use: (broker: TestBroker, client: Client) => Promise<void>, more = {}): Promise<void> {
  await withBroker({ ...options, ...more }, async (broker) => {
    const client = await mqtt(broker);
    await use(broker, client);
    await client.end();
  });
}

describe("publishing", () => {
  test("a registered topic carries QoS 0, 1 and 2 to clients of MQTT", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "sensors/#");
      const device = await SnClient.connect(sn(broker), "device-1");
      const topicId = await device.register("sensors/temperature");
      device.publish(topicId, "zero", { qos: 0 });
      device.publish(topicId, "one");
      expect(await device.take("puback")).toMatchObject({ topicId, code: 0 });
      const messageId = device.publish(topicId, "two", { qos: 2 });
      expect(await device.take("pubrec")).toEqual({ kind: "pubrec", messageId });
      device.send({ kind: "pubrel", messageId });
      expect(await device.take("pubcomp")).toEqual({ kind: "pubcomp", messageId });
      await eventually(() => got.length === 3, "three messages");
      expect(got).toEqual(["zero", "one", "two"].map((data) => `sensors/temperature ${data}`));
      device.close();
    });
  });

  test("short names need no registration, and unknown ids are told so", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "#");
      const device = await SnClient.connect(sn(broker), "device-1");
      device.publish((0x61 << 8) | 0x62, "short", { topicKind: 2 });
      expect(await device.take("puback")).toMatchObject({ code: 0 });
      device.publish(77, "unknown");
      expect(await device.take("puback")).toMatchObject({ topicId: 77, code: 2 });
      device.publish(78, "unknown", { qos: 0 });
      expect(await device.take("puback")).toMatchObject({ topicId: 78, code: 2 });
      device.publish((0x61 << 8) | 0x2b, "a wildcard", { topicKind: 2 });
      expect(await device.take("puback")).toMatchObject({ code: 2 });
      expect(got).toEqual(["ab short"]);
      device.close();
    });
  });

  test("what comes again is answered again, and not published again", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "t");
      const device = await SnClient.connect(sn(broker), "device-1");
      const topicId = await device.register("t");
      const messageId = device.publish(topicId, "once");
      await device.take("puback");
      // Its answer was lost; the network doubles it, too.
      for (const dup of [true, false]) {
        device.publish(topicId, "once", { dup, messageId });
        expect(await device.take("puback")).toMatchObject({ messageId, code: 0 });
      }
      // The same id for another message is another message.
      device.publish(topicId, "twice", { messageId });
      expect(await device.take("puback")).toMatchObject({ messageId, code: 0 });
      await eventually(() => got.length === 2, "two messages");
      expect(got).toEqual(["t once", "t twice"]);
      device.close();
    });
  });

  test("predefined ids are read again, and may be one client's own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sn-"));
    const snTopics = join(folder, "topics");
    writeFileSync(snTopics, "# all\n*,all/one,1\n*,all/two,2\ndevice-1,own/two,2\n");
    await withBoth(
      async (broker, client) => {
        const got = await gather(client, "#");
        const device = await SnClient.connect(sn(broker), "device-1");
        const other = await SnClient.connect(sn(broker), "device-2");
        for (const topicId of [1, 2]) {
          for (const one of [device, other]) {
            one.publish(topicId, "x", { topicKind: 1 });
            expect(await one.take("puback")).toMatchObject({ topicId, code: 0 });
          }
        }
        await eventually(() => got.length === 4, "four messages");
        expect(got).toEqual(["all/one x", "all/one x", "own/two x", "all/two x"]);
        device.publish(3, "x", { topicKind: 1 });
        expect(await device.take("puback")).toMatchObject({ code: 2 });
        writeFileSync(snTopics, "*,all/three,3\n");
        broker.server.reload();
        device.publish(3, "x", { topicKind: 1 });
        expect(await device.take("puback")).toMatchObject({ code: 0 });
        // What is no file of topics does not count.
        writeFileSync(snTopics, "*,all/#,3\n");
        broker.server.reload();
        device.publish(3, "y", { topicKind: 1 });
        expect(await device.take("puback")).toMatchObject({ code: 0 });
        for (const one of [device, other]) one.close();
      },
      { snTopics },
    );
    rmSync(folder, { recursive: true });
  });

  test("without a connection (QoS -1) only where the operator allows it", async () => {
    const anonymous = { topicKind: 2, qos: -1 } as const;
    await withBoth(
      async (broker, client) => {
        const got = await gather(client, "#");
        const device = await SnClient.open(sn(broker));
        device.publish((0x61 << 8) | 0x62, "nobody's", anonymous);
        await eventually(() => got.length === 1, "a message");
        expect(got).toEqual(["ab nobody's"]);
        device.close();
      },
      { snPublishAnonymous: "sensor" },
    );
    await withBoth(async (broker, client) => {
      const got = await gather(client, "#");
      const device = await SnClient.connect(sn(broker), "device-1");
      device.publish((0x61 << 8) | 0x62, "nobody's", anonymous);
      device.publish((0x61 << 8) | 0x62, "its own", { topicKind: 2 });
      await device.take("puback");
      await eventually(() => got.length === 1, "a message");
      expect(got).toEqual(["ab its own"]);
      device.close();
    });
  });
});

describe("subscribing", () => {
  test("a topic has its id in SUBACK; what wildcards bring is registered before the first PUBLISH", async () => {
    await withBoth(async (broker, client) => {
      const device = await SnClient.connect(sn(broker), "a-device");
      const { topicId, qos } = await device.subscribe("plain/topic");
      expect(qos).toBe(1);
      expect(topicId).toBeGreaterThan(0);
      await client.publish("plain/topic", "1", { qos: 1 });
      const message = await device.take("publish");
      expect(message).toMatchObject({ topicId, topicKind: 0, qos: 1, dup: false });
      device.send({ kind: "puback", topicId, messageId: message.messageId, code: 0 });
      expect(await device.subscribe("some/+/thing", 2)).toMatchObject({ topicId: 0, qos: 2, code: 0 });
      await client.publish("some/odd/thing", "2", { qos: 0 });
      const second = await device.take("publish");
      expect(second).toMatchObject({ topicKind: 0, qos: 0 });
      expect(device.registered.get(second.topicId)).toBe("some/odd/thing");
      // It is known from now on.
      const settled = client.publish("some/odd/thing", "3", { qos: 2 });
      const { messageId } = await device.take("publish");
      device.send({ kind: "pubrec", messageId });
      expect(await device.take("pubrel")).toEqual({ kind: "pubrel", messageId });
      device.send({ kind: "pubcomp", messageId });
      await settled;
      // That is over for the broker, too: the next one has its turn.
      await client.publish("some/odd/thing", "4", { qos: 1 });
      expect(await device.takeQoS1()).toBe("4");
      expect(device.inbox).toEqual([]);
      device.send({ kind: "unsubscribe", messageId: 99, topicKind: 0, topic: "some/+/thing" });
      expect(await device.take("unsuback")).toEqual({ kind: "unsuback", messageId: 99 });
      device.close();
    });
  });

  test("what is not answered is sent again with DUP; filters that are none are refused", async () => {
    await withBoth(async (broker, client) => {
      const device = await SnClient.connect(sn(broker), "a-device");
      expect(await device.subscribe("a/#/b")).toMatchObject({ code: 3 });
      const { topicId } = await device.subscribe("plain/topic");
      await client.publish("plain/topic", "x", { qos: 1 });
      const first = await device.take("publish");
      const again = await device.take("publish");
      expect(again).toEqual({ ...first, dup: true });
      device.send({ kind: "puback", topicId, messageId: again.messageId, code: 0 });
      await client.publish("plain/topic", "y", { qos: 1 });
      // On a busy machine the first has come more than twice.
      let last = "";
      while (last !== "y") last = await device.takeQoS1();
      device.close();
    }, soon);
  });

  test("a message that is larger than a datagram may be is refused, and others go on", async () => {
    await withBoth(
      async (broker, client) => {
        const device = await SnClient.connect(sn(broker), "a-device");
        await device.subscribe("plain/topic");
        await client.publish("plain/topic", "x".repeat(200), { qos: 1 });
        await client.publish("plain/topic", "x".repeat(200), { qos: 2 });
        await client.publish("plain/topic", "small", { qos: 1 });
        expect(await device.takeQoS1()).toBe("small");
        device.close();
      },
      { snMtu: 100 },
    );
  });
});

describe("connecting", () => {
  test("a will is asked for, can be changed, and is published when the client is lost", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "will/#");
      const device = await SnClient.open(sn(broker));
      device.send({ kind: "connect", will: true, clean: true, protocolId: 1, duration: 4, clientId: "mortal" });
      await device.take("willtopicreq");
      device.send({ kind: "willtopic", topic: "will/one", qos: 1, retain: false });
      await device.take("willmsgreq");
      device.send({ kind: "willmsg", data: new TextEncoder().encode("gone") });
      expect(await device.take("connack")).toEqual({ kind: "connack", code: 0 });
      device.send({ kind: "willtopicupd", topic: "will/two", qos: 1, retain: false });
      expect(await device.take("willtopicresp")).toEqual({ kind: "willtopicresp", code: 0 });
      device.send({ kind: "willmsgupd", data: new TextEncoder().encode("lost") });
      expect(await device.take("willmsgresp")).toEqual({ kind: "willmsgresp", code: 0 });
      expect(got).toEqual([]);
      await eventually(() => got.length > 0, "the will");
      expect(got).toEqual(["will/two lost"]);
      // It is not there any more, and is told so.
      device.send({ kind: "pingreq", clientId: "" });
      device.inbox.length = 0;
      await device.take("disconnect");
      device.close();
    });
  });

  test("DISCONNECT takes the will along; CONNECT again is no death", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "will/#");
      for (const last of [false, true]) {
        const device = await SnClient.open(sn(broker));
        device.send({ kind: "connect", will: true, clean: true, protocolId: 1, duration: 60, clientId: "mortal" });
        await device.take("willtopicreq");
        device.send({ kind: "willtopic", topic: "will/one", qos: 1, retain: false });
        await device.take("willmsgreq");
        device.send({ kind: "willmsg", data: new TextEncoder().encode("gone") });
        await device.take("connack");
        if (last) {
          device.send({ kind: "disconnect", duration: undefined });
          await device.take("disconnect");
        }
        device.close();
      }
      await client.publish("will/end", "no will", { qos: 1 });
      await eventually(() => got.length > 0, "a message");
      expect(got).toEqual(["will/end no will"]);
    });
  });

  test("strangers are answered DISCONNECT, another protocol is refused, the gateway is found", async () => {
    await withBroker(options, async (broker) => {
      const device = await SnClient.open(sn(broker));
      device.publish(1, "x");
      expect(await device.take("disconnect")).toEqual({ kind: "disconnect", duration: undefined });
      device.send({ kind: "connect", will: false, clean: true, protocolId: 2, duration: 60, clientId: "new" });
      expect(await device.take("connack")).toEqual({ kind: "connack", code: 3 });
      device.send({ kind: "searchgw", radius: 1 });
      expect(await device.take("gwinfo")).toMatchObject({ gatewayId: 1 });
      device.close();
    });
  });

  test("behind a forwarder each wireless node is a client", async () => {
    await withBoth(async (broker, client) => {
      const got = await gather(client, "#");
      const forwarder = await SnClient.open(sn(broker));
      for (const number of [1, 2]) {
        const node = Uint8Array.of(0xaa, number);
        const say = (inner: Uint8Array): void => forwarder.send({ kind: "encapsulated", radius: 1, node, inner });
        const hello = new TextEncoder().encode(`node-${number}`);
        say(Uint8Array.of(6 + hello.length, 4, 4, 1, 0, 60, ...hello));
        const answer = await forwarder.take("encapsulated");
        expect([...answer.node]).toEqual([...node]);
        expect([...answer.inner]).toEqual([3, 5, 0]);
        say(Uint8Array.of(8, 0x0c, 0x22, 0x61, 0x62, 0, 1, 0x30 + number));
        expect([...(await forwarder.take("encapsulated")).inner]).toEqual([7, 0x0d, 0x61, 0x62, 0, 1, 0]);
      }
      await eventually(() => got.length === 2, "two messages");
      expect(got).toEqual(["ab 1", "ab 2"]);
      forwarder.close();
    });
  });
});

describe("sleeping", () => {
  test("mail waits, and is handed out in order at PINGREQ, also behind another address", async () => {
    await withBoth(async (broker, client) => {
      const first = await SnClient.connect(sn(broker), "sleeper");
      await first.subscribe("mail/#");
      first.send({ kind: "disconnect", duration: 300 });
      await first.take("disconnect");
      const sent = Array.from({ length: 40 }, (_, index) => `${index}`);
      for (const data of sent) await client.publish("mail/x", data, { qos: 1 });
      expect(first.inbox).toEqual([]);
      first.close();
      const second = await SnClient.open(sn(broker));
      second.send({ kind: "pingreq", clientId: "sleeper" });
      const got: string[] = [];
      for (const _ of sent) got.push(await second.takeQoS1());
      expect(got).toEqual(sent);
      await second.take("pingresp");
      expect(second.inbox).toEqual([]);
      second.send({ kind: "pingreq", clientId: "sleeper" });
      await second.take("pingresp");
      expect(second.inbox).toEqual([]);
      second.close();
    });
  });

  test("a sleeper's mail outlives its broker", async () => {
    await withBoth(async (broker, client) => {
      const device = await SnClient.connect(sn(broker), "sleeper");
      await device.subscribe("mail/x");
      device.send({ kind: "disconnect", duration: 300 });
      await device.take("disconnect");
      await client.publish("mail/x", "kept", { qos: 1 });
      device.close();
      await client.end();
      const again = await broker.restart();
      const woken = await SnClient.open(sn(again));
      woken.send({ kind: "pingreq", clientId: "sleeper" });
      expect(await woken.takeQoS1()).toBe("kept");
      await woken.take("pingresp");
      // Nobody's sleep is not believed.
      woken.send({ kind: "pingreq", clientId: "nobody" });
      await woken.take("disconnect");
      woken.close();
      await again.stop();
    });
  });
});
