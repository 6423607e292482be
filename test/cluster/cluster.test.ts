/** Everything of MQTT across brokers: three in one cluster, clients on any of them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(["a", "b", "c"]);
}, 120_000);
afterAll(() => cluster.stop());

const on = (index: number, options: AnyPacket = {}): Promise<RawClient> =>
  RawClient.connect(cluster.port(index), options);
const persistent = { clean: false };
const five = { protocolVersion: 5 };
const text = ({ payload }: AnyPacket): string => payload.toString();

/** Publishes at QoS 1 and takes the acknowledgement. */
async function settle(client: RawClient, topic: string, payload: string, options: AnyPacket = {}): Promise<AnyPacket> {
  client.publish(topic, payload, { qos: 1, messageId: 1, ...options });
  return client.take("puback");
}

describe("live messages", () => {
  test("what is published anywhere after SUBACK arrives everywhere, at every QoS", async () => {
    for (const qos of [0, 1, 2]) {
      const topic = `live/${qos}`;
      const subscribers = await Promise.all([0, 1, 2].map((index) => on(index)));
      for (const subscriber of subscribers) await subscriber.subscribe(topic, { qos });
      for (const index of [0, 1, 2]) {
        const publisher = await on(index);
        publisher.publish(topic, `from ${index}`, { qos, messageId: 7 });
        if (qos === 1) await publisher.take("puback");
        if (qos === 2) await publisher.take("pubrec");
        for (const subscriber of subscribers) {
          const packet = await subscriber.take("publish");
          expect([text(packet), packet.qos]).toEqual([`from ${index}`, qos]);
          if (qos === 1) subscriber.send({ cmd: "puback", messageId: packet.messageId });
        }
        publisher.disconnect();
      }
      for (const subscriber of subscribers) subscriber.disconnect();
    }
  });

  test("a message goes once to each broker, in order, whatever the number of subscribers there", async () => {
    const subscribers = await Promise.all(Array.from({ length: 5 }, () => on(1)));
    for (const subscriber of subscribers) await subscriber.subscribe("once/#", { qos: 1 });
    const publisher = await on(0);
    const { metrics } = cluster.brokers[1]!.broker.context;
    const before = metrics.arrived;
    for (let index = 0; index < 200; index++)
      publisher.publish("once/x", String(index), { qos: index % 2, messageId: index + 1 });
    for (const subscriber of subscribers) {
      const packets = await subscriber.takeMany("publish", 200);
      for (const qos of [0, 1]) {
        const numbers = packets.filter((packet) => packet.qos === qos).map((packet) => Number(text(packet)));
        expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
      }
    }
    expect(metrics.arrived - before).toBe(200);
  });

  test("what nobody there wants any more is not sent there", async () => {
    const subscriber = await on(1);
    await subscriber.subscribe("gone/x", { qos: 1 });
    const publisher = await on(0);
    const { metrics } = cluster.brokers[1]!.broker.context;
    await settle(publisher, "gone/x", "wanted");
    await subscriber.take("publish");
    subscriber.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["gone/x"] });
    await subscriber.take("unsuback");
    // UNSUBACK does not wait for the other brokers, as SUBACK does.
    const isSentThere = async (): Promise<boolean> => {
      const before = metrics.arrived;
      await settle(publisher, "gone/x", "unwanted");
      return metrics.arrived !== before;
    };
    await eventually(async () => !(await isSentThere()), "it is not sent there");
  });

  test("properties, retain as published, identifiers and no local", async () => {
    const subscriber = await on(2, five);
    subscriber.send({
      cmd: "subscribe",
      messageId: 1,
      properties: { subscriptionIdentifier: 9 },
      subscriptions: [{ topic: "props/#", qos: 1, nl: true, rap: true, rh: 2 }],
    });
    await subscriber.take("suback");
    const publisher = await on(0, five);
    const properties = { userProperties: { k: "v" }, contentType: "t", messageExpiryInterval: 60 };
    await settle(publisher, "props/a", "x", { retain: true, properties });
    const packet = await subscriber.take("publish");
    expect(packet).toMatchObject({ retain: true, qos: 1, properties: { contentType: "t", subscriptionIdentifier: 9 } });
    expect(packet.properties.messageExpiryInterval).toBeGreaterThan(50);
    subscriber.publish("props/b", "own");
    await subscriber.ping();
    expect(subscriber.packets).toEqual([]);
    await settle(publisher, "props/a", "", { retain: true });
  });
});

test("what ZooKeeper could not store is refused, in words", async () => {
  const publisher = await on(0, five);
  const userProperties = Object.fromEntries(Array.from({ length: 18 }, (_, at) => [`k${at}`, "x".repeat(60_000)]));
  const answer = await settle(publisher, "too/large", "x", { properties: { userProperties } });
  expect(answer.reasonCode).toBe(0x97);
  expect(answer.properties.reasonString).toBe("topic and properties are larger than what the store takes at once");
  const subscriber = await on(1, { clean: false, clientId: "takes-large" });
  await subscriber.subscribe("large/#", { qos: 2 });
  await settle(publisher, "large/one", "x".repeat(800_000), { retain: true });
  expect((await subscriber.take("publish")).payload.length).toBe(800_000);
  await settle(publisher, "large/one", "", { retain: true });
  subscriber.disconnect();
});

describe("retained messages", () => {
  test("are the same at every broker, and go everywhere when they are cleared", async () => {
    const publisher = await on(0);
    for (const topic of ["keep/a", "keep/a/b", "keep/c"]) await settle(publisher, topic, topic, { retain: true });
    const seen = async (index: number): Promise<string[]> => {
      const reader = await on(index);
      await reader.subscribe("keep/#");
      await reader.ping();
      const topics = reader.packets.filter(({ cmd }) => cmd === "publish").map(({ topic }) => topic);
      reader.disconnect();
      return topics.sort();
    };
    for (const index of [0, 1, 2]) {
      await eventually(async () => (await seen(index)).length === 3, `broker ${index} has them`);
    }
    await settle(await on(2), "keep/a", "", { retain: true });
    for (const index of [0, 1, 2]) {
      await eventually(
        async () => (await seen(index)).join() === "keep/a/b,keep/c",
        `broker ${index} has forgotten one`,
      );
    }
  });
});

describe("shared subscriptions", () => {
  test("each message goes to one member, wherever it is", async () => {
    const members = await Promise.all([on(0), on(1), on(2, { ...persistent, clientId: "shared-member" })]);
    for (const member of members) await member.subscribe("$share/team/work", { qos: 1 });
    const publisher = await on(1);
    const count = 90;
    for (let index = 1; index <= count; index++) publisher.publish("work", String(index), { qos: 1, messageId: index });
    await eventually(() => members.reduce((sum, { packets }) => sum + packets.length, 0) === count, "all arrive");
    const got = members.map(({ packets }) => packets.map(text));
    expect(new Set(got.flat()).size).toBe(count);
    for (const own of got) expect(own.length).toBeGreaterThan(count / 6);
  });
});

describe("sessions", () => {
  test("a client id is live once: the older connection, on another broker, is told", async () => {
    const first = await on(0, { ...five, clientId: "twice" });
    const second = await on(1, { ...five, clientId: "twice" });
    expect(await first.take("disconnect")).toMatchObject({ reasonCode: 0x8e });
    await first.untilClosed();
    await second.ping();
  });

  test("connect races on three brokers at once leave one connection", async () => {
    for (const options of [{ clean: true }, { clean: false }]) {
      for (let round = 0; round < 10; round++) {
        const clients = await Promise.all(
          [0, 1, 2].map(async (index) => {
            const client = await RawClient.dial(cluster.port(index));
            client.send({
              cmd: "connect",
              protocolId: "MQTT",
              protocolVersion: 4,
              clientId: "racer",
              keepalive: 0,
              ...options,
            });
            return client;
          }),
        );
        const isOpen = (client: RawClient): boolean =>
          !client.closed && client.packets.some(({ cmd, returnCode }) => cmd === "connack" && returnCode === 0);
        const isDecided = (client: RawClient): boolean => client.closed || isOpen(client);
        await eventually(() => clients.every(isDecided) && clients.filter(isOpen).length <= 1, "the race is decided");
        expect(clients.filter(isOpen).length).toBe(1);
        for (const client of clients) client.abort();
      }
    }
  });

  test("a session moves with its subscriptions, its mailbox and what was in flight", async () => {
    const options = { ...persistent, clientId: "mover" };
    const first = await on(0, options);
    await first.subscribe("move/#", { qos: 2 });
    const publisher = await on(1);
    await settle(publisher, "move/1", "in flight");
    expect(text(await first.take("publish"))).toBe("in flight");
    first.abort();
    await settle(publisher, "move/1", "banked");
    const second = await on(2, options);
    expect(second.connack.sessionPresent).toBe(true);
    const both = await second.takeMany("publish", 2);
    expect(both.map(text)).toEqual(["in flight", "banked"]);
    for (const { messageId } of both) second.send({ cmd: "puback", messageId });
    await settle(publisher, "move/1", "live");
    const live = await second.take("publish");
    expect(text(live)).toBe("live");
    second.send({ cmd: "puback", messageId: live.messageId });
    await second.ping();
    const third = await on(1, options);
    await second.untilClosed();
    await third.ping();
    expect(third.packets).toEqual([]);
    third.disconnect();
  });

  test("QoS 2 to a session on another broker, half-way there when it moves", async () => {
    const options = { ...persistent, clientId: "two" };
    const first = await on(0, options);
    await first.subscribe("two/x", { qos: 2 });
    const publisher = await on(1, { ...persistent, clientId: "two-publisher" });
    publisher.publish("two/x", "a", { qos: 2, messageId: 5 });
    await publisher.take("pubrec");
    const sent = await first.take("publish");
    expect(sent.qos).toBe(2);
    first.send({ cmd: "pubrec", messageId: sent.messageId });
    await first.take("pubrel");
    // The publisher moves and repeats: its message is known.
    const again = await on(2, { ...persistent, clientId: "two-publisher" });
    again.publish("two/x", "a", { qos: 2, messageId: 5, dup: true });
    await again.take("pubrec");
    const second = await on(2, options);
    expect((await second.take("pubrel")).messageId).toBe(sent.messageId);
    second.send({ cmd: "pubcomp", messageId: sent.messageId });
    again.send({ cmd: "pubrel", messageId: 5 });
    await again.take("pubcomp");
    await second.ping();
    expect(second.packets).toEqual([]);
  });

  test("a clean start ends the session that another broker keeps", async () => {
    const options = { ...persistent, clientId: "fresh" };
    const first = await on(0, options);
    await first.subscribe("fresh/x", { qos: 1 });
    first.disconnect();
    await first.untilClosed();
    await settle(await on(1), "fresh/x", "old");
    const second = await on(1, { clean: true, clientId: "fresh" });
    expect(second.connack.sessionPresent).toBe(false);
    second.disconnect();
    const third = await on(2, options);
    expect(third.connack.sessionPresent).toBe(false);
    await third.ping();
    expect(third.packets).toEqual([]);
  });

  test("with every subscriber at home the store is not written", async () => {
    // However busy the machine is, nothing is stored since its acknowledgement is late.
    const patient = await startCluster(["a", "b"], { settleAfter: 60_000 });
    const subscriber = await RawClient.connect(patient.port(0), { ...persistent, clientId: "at-home" });
    await subscriber.subscribe("home/x", { qos: 1 });
    const publisher = await RawClient.connect(patient.port(1));
    for (let index = 1; index <= 100; index++) {
      publisher.publish("home/x", String(index), { qos: 1, messageId: index });
      const { messageId, payload } = await subscriber.take("publish");
      expect(payload.toString()).toBe(String(index));
      subscriber.send({ cmd: "puback", messageId });
      await publisher.take("puback");
    }
    // Should the link break for a moment, one or another message goes to the mailbox.
    const stored = patient.brokers.reduce((sum, { broker }) => sum + broker.context.mail.stored, 0);
    expect(stored).toBeLessThan(10);
    await patient.stop();
  });
});

describe("wills", () => {
  test("reach subscribers at other brokers", async () => {
    const watcher = await on(1);
    await watcher.subscribe("will/x", { qos: 1 });
    const mortal = await on(0, { will: { topic: "will/x", payload: Buffer.from("gone"), qos: 1, retain: false } });
    mortal.abort();
    expect(text(await watcher.take("publish"))).toBe("gone");
  });

  test("a will with a delay is not published when its client comes back to another broker", async () => {
    const watcher = await on(0);
    await watcher.subscribe("will/later", { qos: 1 });
    const properties = { sessionExpiryInterval: 1000 };
    const options = (clientId: string) => ({ ...five, clean: false, clientId, properties });
    const { localSessions, timers, clock } = cluster.brokers[0]!.broker.context;
    const lose = async (clientId: string): Promise<void> => {
      const payload = Buffer.from(clientId);
      const will = { topic: "will/later", payload, qos: 1, retain: false, properties: { willDelayInterval: 100 } };
      const mortal = await on(0, { ...options(clientId), will });
      mortal.abort();
      await eventually(() => localSessions.get(clientId)?.connection === undefined, `${clientId} is lost`);
    };
    await lose("late");
    const back = await on(2, options("late"));
    expect(back.connack.sessionPresent).toBe(true);
    await lose("lost");
    // As if the delay was over.
    timers.tick(clock.now() + 101_000);
    expect(text(await watcher.take("publish"))).toBe("lost");
    await watcher.ping();
    expect(watcher.packets).toEqual([]);
  });
});

test("a broker whose port for clients is in use never joins", async () => {
  const taken = cluster.port(0);
  await expect(cluster.add("homeless", { port: taken })).rejects.toThrow(
    `cannot listen on 127.0.0.1:${taken}: the port is in use; choose another with --port`,
  );
  // What joins later is seen later.
  await cluster.add("d");
  const peers = (): string[] => [...cluster.brokers[0]!.broker.context.peers.keys()];
  await eventually(() => peers().includes("d"), "another one has joined");
  expect(peers()).not.toContain("homeless");
});
