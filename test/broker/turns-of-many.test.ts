/** Events that concern thousands at once, beside a bystander: none of them holds the event loop. */
import { expect, test } from "bun:test";
import { eventually } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import {
  BrokerOfFile,
  counting,
  encode,
  lasting,
  pagesOf,
  patienceMs,
  publishAll,
  subscribe,
} from "../support/watched-broker.ts";

const file = new BrokerOfFile(() => ["--mail-drop", "drop/#"]);
const { attack, five } = file;

/** Connects so many clients, some at a time. */
async function crowd(count: number, optionsOf: (at: number) => AnyPacket): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (const page of pagesOf(counting(count), 100))
    clients.push(...(await Promise.all(page.map((at) => five(optionsOf(at))))));
  return clients;
}

async function allSubscribe(clients: readonly RawClient[], topic: string, qos: number): Promise<void> {
  for (const page of pagesOf(clients, 200)) await Promise.all(page.map((client) => subscribe(client, [topic], qos)));
}

test(
  "one message to thousands, at each QoS: connected, silent, and away",
  () =>
    attack(async () => {
      const [online, silent, away] = [
        await crowd(1500, (at) => ({ clientId: `online-${at}` })),
        await crowd(800, (at) => lasting(`silent-${at}`)),
        await crowd(1500, (at) => lasting(`away-${at}`)),
      ];
      for (const clients of [online, silent]) await allSubscribe(clients, "many/+", 2);
      await allSubscribe(away, "many/+", 1);
      for (const client of away) client.disconnect();
      const publisher = await five();
      publisher.publish("many/x", "at QoS 0");
      for (const qos of [1, 1, 2])
        publisher.publish("many/x", `at QoS ${qos}`, { qos, messageId: 10 + publisher.packets.length + qos });
      await publisher.takeMany("puback", 2);
      await publisher.take("pubrec");
      const payloads = ["at QoS 0", "at QoS 1", "at QoS 1", "at QoS 2"];
      for (const client of [...online, ...silent]) {
        const messages = await client.takeMany("publish", payloads.length);
        expect(messages.map(({ payload }) => String(payload))).toEqual(payloads);
      }
      for (const client of [...online, ...silent, publisher]) client.abort();
    }),
  patienceMs,
);

test(
  "filters that each match all of thousands of retained messages, and their end",
  () =>
    attack(async () => {
      const publisher = await five();
      const topics = counting(2000).map((at) => `r/${at}/t`);
      await publishAll(publisher, topics, { retain: true });
      const reader = await five();
      const filters = ["r/#", "r/+/t", "+/+/t", "+/#", "r/+/#", "+/+/#"];
      expect(await subscribe(reader, filters)).toBe(filters.length);
      await reader.takeMany("publish", filters.length * topics.length);
      reader.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: filters });
      await reader.take("unsuback");
      for (const client of [reader, publisher]) client.abort();
    }),
  patienceMs,
);

test(
  "QoS 2 by the thousand, released at once; aliases that change with each packet; AUTH out of turn",
  () =>
    attack(async () => {
      const client = await five({ ...lasting("releases"), properties: { sessionExpiryInterval: 1000 } });
      const publish = (at: number): Buffer =>
        encode({ cmd: "publish", topic: "held", payload: "x", qos: 2, messageId: at + 1, dup: false, retain: false });
      for (const page of pagesOf(counting(4000), 500)) {
        client.write(Buffer.concat(page.map(publish)));
        await client.takeMany("pubrec", page.length);
        client.write(Buffer.concat(page.map((at) => encode({ cmd: "pubrel", messageId: at + 1, reasonCode: 0 }))));
        await client.takeMany("pubcomp", page.length);
      }
      const long = "long".repeat(1000);
      const alias = (at: number): Buffer =>
        encode({
          ...{ cmd: "publish", topic: `${long}${at}`, payload: "x", qos: 0, dup: false, retain: false },
          properties: { topicAlias: 1 + (at % 64) },
        });
      client.write(Buffer.concat(counting(5000).map(alias)));
      await client.ping();
      client.abort();
      await Promise.all(
        counting(200).map(async (at) => {
          const other = await five();
          other.send({ cmd: "auth", reasonCode: at % 2 === 0 ? 0x18 : 0x19 });
          await other.untilClosed();
        }),
      );
    }),
  patienceMs,
);

test(
  "a storm of connections under one client id, and one that comes after it",
  () =>
    attack(async () => {
      const stormers = await Promise.all(counting(300).map(() => RawClient.dial(file.broker.port, 5)));
      for (const each of stormers) each.send(connectPacket({ protocolVersion: 5, ...lasting("one-id") }));
      // Each is refused or taken over by the next, and the last one may be told to try again, too.
      let last: RawClient | undefined;
      const isIn = async (): Promise<boolean> => {
        last = await five(lasting("one-id")).catch(() => undefined);
        return last !== undefined;
      };
      await eventually(isIn, "the client is let in when the storm is over", 60_000);
      await last!.ping();
      last!.abort();
      for (const each of stormers) each.abort();
    }),
  patienceMs,
);

test(
  "a mail drop with thousands of messages, handed out to many; thousands of messages that expire at one moment",
  () =>
    attack(async () => {
      const publisher = await five();
      const topics = counting(4000).map((at) => `drop/${at % 9}`);
      await publishAll(publisher, topics);
      const readers = await Promise.all(counting(5).map(() => five()));
      await Promise.all(readers.map((reader) => subscribe(reader, ["drop/#"])));
      for (const reader of readers) await reader.takeMany("publish", topics.length);
      const sleeper = await five(lasting("expiring"));
      await subscribe(sleeper, ["brief"], 1);
      sleeper.disconnect();
      await publishAll(
        publisher,
        counting(4000).map(() => "brief"),
        { properties: { messageExpiryInterval: 1 } },
      );
      await Bun.sleep(1000);
      const back = await five(lasting("expiring"));
      await back.ping();
      for (const client of [...readers, publisher, back]) client.abort();
    }),
  patienceMs,
);
