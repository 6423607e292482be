/** The bank as clients see it: what is refused, what is held, what goes on, and what comes back. */
import { expect, test } from "bun:test";
import { walkMessages } from "../../src/audit/scan.ts";
import { readShortage } from "../../src/bank/shortage.ts";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { znodeBytes } from "../../src/base/limits.ts";
import type { ReadResult } from "../../src/coordinator/coordinator.ts";
import { hasData } from "../../src/coordinator/read-results.ts";
import { quietReader } from "../../src/mail/record-reader.ts";
import { topicOfMessage } from "../../src/mail/slips.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { creditsOf, leaveCredits } from "../support/credits.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

/** A message of 1,000 bytes costs 40 credits for them, and more for its znodes and its time. */
const payload = "x".repeat(1000);

async function away(broker: TestBroker, clientId: string, topic: string): Promise<void> {
  const client = await RawClient.connect(broker.port, { clean: false, clientId });
  await client.subscribe(topic, { qos: 1 });
  client.disconnect();
  await client.untilClosed();
}

async function settle(client: RawClient, topic: string, options: AnyPacket = {}): Promise<AnyPacket> {
  client.publish(topic, payload, { qos: 1, messageId: 1, ...options });
  return client.take("puback");
}

test("MQTT 5 is told 0x97 with price and balance; what needs no store goes on", async () => {
  const broker = await startBroker();
  await away(broker, "gone", "poor/x");
  await leaveCredits(broker.server.broker.context, 30);
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  const refused = await settle(publisher, "poor/x");
  expect(refused.reasonCode).toBe(0x97);
  expect(refused.properties.reasonString).toMatch(/^the bank cannot pay: price [\d.]+, balance 30.0 credits/);
  expect((await settle(publisher, "poor/kept", { retain: true })).reasonCode).toBe(0x97);
  publisher.send({ cmd: "publish", topic: "poor/x", payload, qos: 2, messageId: 2, dup: false, retain: false });
  expect((await publisher.take("pubrec")).reasonCode).toBe(0x97);
  const listener = await RawClient.connect(broker.port);
  await listener.subscribe("live/x", { qos: 1 });
  expect((await settle(publisher, "live/x")).reasonCode).toBe(0);
  expect((await listener.take("publish")).payload.length).toBe(1000);
  // Refused means that it has reached nobody.
  const back = await RawClient.connect(broker.port, { clean: false, clientId: "gone" });
  await back.ping();
  expect(back.packets).toEqual([]);
  await broker.stop();
});

test("before MQTT 5 the publish is held while credits may come back, and taken when they do", async () => {
  const broker = await startBroker({ bankTtlMin: 30, bankTtlMax: 31 });
  await away(broker, "reader", "held/#");
  await leaveCredits(
    broker.server.broker.context,
    3 * Math.ceil(creditsOf(1006, { topic: "held/x", ttlMs: 86_400_000 })),
  );
  const publisher = await RawClient.connect(broker.port, { clientId: "publisher" });
  const { connection } = broker.server.broker.context.localSessions.get("publisher")!;
  let taken = 0;
  for (; taken < 10; taken++) {
    publisher.publish("held/x", payload, { qos: 1, messageId: taken + 1 });
    const isAnswered = (): boolean => publisher.packets.length > 0;
    await eventually(() => isAnswered() || connection!.waitingBytes > 0, "it is taken, or held");
    // Longer than the vault may take to answer.
    if (!isAnswered()) await eventually(isAnswered, "it is taken after all", 1500).catch(() => {});
    if (!isAnswered()) break;
    await publisher.take("puback");
  }
  expect(taken).toBeGreaterThan(0);
  expect(taken).toBeLessThan(4);
  const reader = await RawClient.connect(broker.port, { clean: false, clientId: "reader" });
  for (const { messageId } of await reader.takeMany("publish", taken)) reader.send({ cmd: "puback", messageId });
  expect((await reader.take("publish")).payload.length).toBe(1000);
  expect(publisher.closed).toBe(false);
  await broker.stop();
}, 120_000);

test("before MQTT 5 the connection is closed when no credits come back in time", async () => {
  const broker = await startBroker({ bankWait: 1 });
  await away(broker, "gone", "closed/x");
  await leaveCredits(broker.server.broker.context, 30);
  const publisher = await RawClient.connect(broker.port);
  publisher.publish("closed/x", payload, { qos: 1, messageId: 1 });
  await publisher.untilClosed();
  expect(publisher.packets).toEqual([]);
  await broker.stop();
});

test("credits come back when a retained message is replaced or cleared, and after a restart all is as it was", async () => {
  const first = await startBroker();
  const publisher = await RawClient.connect(first.port, { protocolVersion: 5 });
  const bound = (broker: TestBroker): number => broker.server.broker.context.bankAccount.account.bound;
  const kept = makePublish(encodeUtf8("kept/a"), encodeUtf8(payload), { qos: 1, retain: true });
  const price = first.server.broker.context.bankAccount.prices.ofRetained(kept);
  // .04 credits for each of 1,006 bytes, and for two znodes at least; in thousandths.
  expect(price).toBeGreaterThan(40 * (1006 + 2 * znodeBytes));
  for (let round = 0; round < 5; round++) await settle(publisher, "kept/a", { retain: true });
  expect(bound(first)).toBe(price);
  await settle(publisher, "kept/b", { retain: true });
  expect(bound(first)).toBe(2 * price);
  publisher.publish("kept/b", "", { qos: 1, messageId: 1, retain: true });
  await publisher.take("puback");
  expect(bound(first)).toBe(price);
  await away(first, "measure", "none/#");
  // A session and its subscription cost the same where names are as long.
  const session = bound(first) - price;
  await away(first, "sleeper", "kept/#");
  await settle(publisher, "kept/c");
  const before = bound(first);
  const second = await first.restart();
  expect(bound(second)).toBe(before);
  const sleeper = await RawClient.connect(second.port, { clean: false, clientId: "sleeper" });
  // The retained one, which it did not acknowledge when it subscribed, and the other.
  for (const { messageId } of await sleeper.takeMany("publish", 2)) sleeper.send({ cmd: "puback", messageId });
  await eventually(() => bound(second) === price + 2 * session, "what was read is paid for no longer");
  await second.stop();
});

test("with every subscriber at home nothing is bound in the end", async () => {
  const broker = await startBroker({ bankCapital: 10_000 });
  const { account } = broker.server.broker.context.bankAccount;
  const subscriber = await RawClient.connect(broker.port, { clean: false, clientId: "home" });
  await subscriber.subscribe("home/x", { qos: 1 });
  const quiet = account.bound;
  const publisher = await RawClient.connect(broker.port);
  for (let index = 0; index < 50; index++) {
    publisher.publish("home/x", payload, { qos: 1, messageId: index + 1 });
    const { messageId } = await subscriber.take("publish");
    subscriber.send({ cmd: "puback", messageId });
    await publisher.take("puback");
  }
  await eventually(() => account.bound === quiet, "nothing is set aside any more");
  await broker.stop();
});

test("what the bank can pay is not refused because the store is slow, whoever else takes the first answer", async () => {
  const broker = await startBroker({ bankCapital: 10_000 });
  await away(broker, "gone", "big/#");
  const { coordinator } = broker.server.broker.context;
  const read = coordinator.read.bind(coordinator);
  coordinator.read = (operations, done) => {
    if (operations[0]?.path !== "/bank") return read(operations, done);
    setTimeout(() => read(operations, done), 1300);
  };
  // Each costs three tenths of the capital. The vault is asked for one at a time, and what it gives another may take.
  const large = "x".repeat(75_000);
  const answers = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
      publisher.publish("big/x", large, { qos: 1, messageId: 1 });
      await eventually(() => publisher.packets.length > 0, "an answer", 60_000);
      return publisher.take("puback");
    }),
  );
  expect(answers.map(({ reasonCode }) => reasonCode)).toEqual([0, 0, 0]);
  await broker.stop();
}, 120_000);

test("a message that is dearer than what is free at hand asks the vault, however long that takes; the refusal names all there is", async () => {
  const broker = await startBroker({ bankCapital: 10_000 });
  await away(broker, "gone", "big/#");
  const { coordinator, bankAccount } = broker.server.broker.context;
  const read = coordinator.read.bind(coordinator);
  // The store is busy: the vault answers later than anybody would hope.
  coordinator.read = (operations, done) => {
    if (operations[0]?.path !== "/bank") return read(operations, done);
    setTimeout(() => read(operations, done), 1100);
  };
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  const large = "x".repeat(100_000);
  // Each costs about two fifths of the capital, and more than a branch has in reserve.
  const publish = async (): Promise<AnyPacket> => {
    publisher.publish("big/x", large, { qos: 1, messageId: 1 });
    await eventually(() => publisher.packets.length > 0, "an answer", 60_000);
    return publisher.take("puback");
  };
  for (let index = 0; index < 2; index++) expect((await publish()).reasonCode).toBe(0);
  const refused = await publish();
  expect(refused.reasonCode).toBe(0x97);
  const { balance } = readShortage(refused.properties.reasonString)!;
  expect(balance).toBeCloseTo((bankAccount.capital - bankAccount.account.bound) / 1000, 0);
  expect(balance).toBeGreaterThan(1000);
  await eventually(
    async () => {
      const [node] = await new Promise<readonly ReadResult[]>((done) =>
        read([{ kind: "get", path: "/bank/branches/test" }], (_, results) => done(results)),
      );
      return hasData(node) && JSON.parse(Buffer.from(node.data).toString()).refused === 1;
    },
    "the tree is told that one was refused",
    60_000,
  );
  await broker.stop();
}, 120_000);

test("what is acknowledged for a session is kept for the longest time or its own expiry; chance decides in mail drops only", async () => {
  const broker = await startBroker({ bankTtlMin: 30, bankTtlMax: 100_000, mailDrop: ["drop/#"] });
  await away(broker, "reader", "#");
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await settle(publisher, "mail/plain");
  await settle(publisher, "mail/brief", { properties: { messageExpiryInterval: 500 } });
  await settle(publisher, "mail/long", { properties: { messageExpiryInterval: 200_000 } });
  await settle(publisher, "drop/owed");
  const back = await RawClient.connect(broker.port, { clean: false, clientId: "reader" });
  back.send({ cmd: "unsubscribe", unsubscriptions: ["#"], messageId: 9 });
  await back.take("unsuback");
  for (let index = 0; index < 20; index++) await settle(publisher, `drop/nobody${index}`);
  const seconds = await timesKept(broker);
  // What has passed since is not much.
  const kept = (topic: string): number => 100 * Math.round(seconds.get(topic)! / 100);
  expect([kept("mail/plain"), kept("mail/brief"), kept("mail/long")]).toEqual([100_000, 500, 200_000]);
  // A session is owed what lies there, so it lies there as long.
  expect(kept("drop/owed")).toBe(100_000);
  const drawn = [...seconds].filter(([topic]) => topic.startsWith("drop/nobody")).map(([, time]) => time);
  expect(drawn.length).toBe(20);
  expect(new Set(drawn).size).toBeGreaterThan(10);
  expect(drawn.every((time) => time >= 0 && time <= 100_000)).toBe(true);
  await broker.stop();
});

/** For how many seconds stored messages are kept from now on, by their topics. */
async function timesKept(broker: TestBroker): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  const { coordinator, clock } = broker.server.broker.context;
  await walkMessages(
    { store: coordinator, reader: quietReader },
    {
      message: (path, { keepUntil }) => {
        times.set(topicOfMessage(path), (keepUntil - clock.wall()) / 1000);
      },
    },
  );
  return times;
}

test("a message that another version has written is left out, and named", async () => {
  const first = await startBroker();
  const { coordinator } = first.server.broker.context;
  const data = new Uint8Array(40);
  data[16] = 2;
  await new Promise<void>((done) =>
    coordinator.write([{ kind: "create", path: "/topics/=old", data, mode: "persistent" }], () => done()),
  );
  await first.server.stop();
  const second = await startBroker({ data: first.folder });
  const { strangers } = second.server.broker.context;
  expect(strangers.words).toBe("/topics/=old is a message of format 2, not 3");
  expect(strangers.count).toBe(1);
  await second.stop();
});
