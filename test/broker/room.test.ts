/**
 * Output that the kernel takes all at once: nothing tells of room then but the writer itself, and whatever waits for
 * room must go on although the client says nothing.
 */
import { expect, test } from "bun:test";
import mqttPacket, { type Packet } from "mqtt-packet";
import { connect } from "../../src/client/for-bun.ts";
import { eventually, withBroker } from "../support/broker.ts";
import { machine } from "../support/machine.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

/** More than an output may hold before what waits for it has to stop. */
const payload = "x".repeat(1_500_000);

const numbersOf = (packets: readonly AnyPacket[]): string[] =>
  packets.map(({ payload }) => payload.subarray(0, 1).toString());

test("retained messages at QoS 0, each larger than what the output may hold, all come", async () => {
  await withBroker({}, async ({ port }) => {
    const publisher = await RawClient.connect(port);
    for (let number = 1; number <= 6; number++) {
      publisher.publish(`kept/${number}`, payload, { qos: 1, messageId: number, retain: true });
      await publisher.take("puback");
    }
    const subscriber = await RawClient.connect(port);
    await subscriber.subscribe("kept/#");
    const topics = (await subscriber.takeMany("publish", 6)).map(({ topic }) => topic);
    expect(topics.sort()).toEqual([1, 2, 3, 4, 5, 6].map((number) => `kept/${number}`));
  });
}, 60_000);

for (const qos of [0, 1] as const)
  test(`messages of a mail drop at QoS ${qos} all come to a client that acknowledges none`, async () => {
    await withBroker({ mailDrop: ["drop"] }, async ({ port }) => {
      const publisher = await RawClient.connect(port);
      for (let number = 1; number <= 6; number++) {
        publisher.publish("drop", `${number} ${payload}`, { qos: 1, messageId: number });
        await publisher.take("puback");
      }
      const subscriber = await RawClient.connect(port);
      await subscriber.subscribe("drop", { qos });
      expect(numbersOf(await subscriber.takeMany("publish", 6))).toEqual(["1", "2", "3", "4", "5", "6"]);
    });
  }, 60_000);

test("mail at QoS 1 all comes to a client that acknowledges none", async () => {
  await withBroker({}, async ({ port }) => {
    const away = { clean: false, clientId: "away" };
    const subscriber = await RawClient.connect(port, away);
    await subscriber.subscribe("mail", { qos: 1 });
    subscriber.disconnect();
    await subscriber.untilClosed();
    const publisher = await RawClient.connect(port);
    for (let number = 1; number <= 6; number++) {
      publisher.publish("mail", `${number} ${payload}`, { qos: 1, messageId: number });
      await publisher.take("puback");
    }
    const back = await RawClient.connect(port, away);
    expect(numbersOf(await back.takeMany("publish", 6))).toEqual(["1", "2", "3", "4", "5", "6"]);
  });
}, 60_000);

test("a publisher is not held back for a subscriber whose output is gone at the end of the turn", async () => {
  const { broker, dial } = await machine(undefined, undefined, { maxPacketSize: 4_000_000 });
  const [subscriber, publisher] = [dial(), dial()];
  const say = ({ connection }: typeof publisher, packet: AnyPacket): void =>
    broker.handle({ kind: "received", connection, bytes: new Uint8Array(mqttPacket.generate(packet as Packet)) });
  for (const one of [subscriber, publisher]) say(one, connectPacket());
  say(subscriber, { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "live", qos: 0 }] });
  for (let count = 1; count <= 3; count++) {
    say(publisher, { cmd: "publish", topic: "live", payload, qos: 0, retain: false, dup: false });
    // The machine's kernel takes everything, and its clock stands: nobody is waited for until a check is due.
    await eventually(() => publisher.state.isRead && subscriber.connection.writer.taken > count * payload.length, "it");
  }
});

test("the client library goes on after each large message at QoS 0", async () => {
  await withBroker({}, async ({ port }) => {
    const client = await connect(`mqtt://127.0.0.1:${port}`);
    const subscription = await client.subscribe("live");
    for (let number = 1; number <= 12; number++) await client.publish("live", payload);
    let heard = 0;
    for await (const _ of subscription) if (++heard === 12) break;
    await client.end();
  });
}, 60_000);
