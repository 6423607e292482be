/** Every kind of packet at its worst, beside a bystander: none holds the event loop. */
import { expect, test } from "bun:test";
import { filtersPerPacketMax, propertiesPerPacketMax } from "../../src/base/limits.ts";
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

const file = new BrokerOfFile();
const { attack, five } = file;

test(
  "SUBSCRIBE and UNSUBSCRIBE with all filters that a packet may have, and the end of their session",
  () =>
    attack(async () => {
      const client = await five();
      const topics = counting(filtersPerPacketMax).map((at) => `s/${at}`);
      expect(await subscribe(client, topics)).toBe(topics.length);
      client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: topics.slice(0, 30_000) });
      expect((await client.take("unsuback")).granted.length).toBe(30_000);
      client.abort();
      await Bun.sleep(500);
    }),
  patienceMs,
);

test(
  "filters that share no levels, and topics that match as many as may be",
  () =>
    attack(async () => {
      const client = await five();
      const wild = (at: number): string =>
        `${[...at.toString(2).padStart(20, "0")].map((bit) => (bit === "0" ? "a" : "+")).join("/")}/z`;
      await subscribe(client, counting(20_000).map(wild));
      const publisher = await five();
      const topics = counting(300).map((at) => `${"a/".repeat(20)}${at % 2 === 0 ? "z" : at}`);
      for (const topic of topics) publisher.publish(topic, "x");
      await publisher.ping();
      for (const each of [client, publisher]) each.abort();
    }),
  patienceMs,
);

test(
  "retained messages: set, found by filters that match all or none, asked for by many at once, and cleared",
  () =>
    attack(async () => {
      const publisher = await five();
      const topics = counting(10_000).map((at) => `r/${at}/t`);
      await publishAll(publisher, topics, { retain: true });
      const reader = await five();
      // The same filter twice is one walk, and each message comes once.
      await subscribe(reader, ["r/#", "r/#"]);
      await reader.takeMany("publish", topics.length);
      await reader.ping();
      expect(reader.packets.length).toBe(0);
      await subscribe(reader, Array(2000).fill("r/+/nope"));
      await reader.ping();
      const many = await Promise.all(counting(40).map(() => five()));
      await Promise.all(
        many.map((each) =>
          subscribe(
            each,
            counting(20).map((at) => `r/+/nope/${at}`),
          ),
        ),
      );
      for (const each of many) await each.ping();
      await publishAll(publisher, topics, { retain: true, payload: "" });
      for (const each of [publisher, reader, ...many]) each.abort();
    }),
  patienceMs,
);

test(
  "shared subscriptions of one client in thousands of groups",
  () =>
    attack(async () => {
      const member = await five();
      await subscribe(
        member,
        counting(8000).map((at) => `$share/g${at}/#`),
      );
      const publisher = await five();
      for (const at of counting(50)) publisher.publish(`groups/${at}`, "x");
      await publisher.ping();
      for (const each of [member, publisher]) each.abort();
    }),
  patienceMs,
);

test(
  "CONNECT of a session with a long mailbox and many subscriptions: resumed, left, and ended by Clean Start",
  () =>
    attack(async () => {
      const sleeper = await five(lasting("sleeper"));
      const topics = counting(10_000).map((at) => `sub/${at}`);
      expect(await subscribe(sleeper, ["mail/#", ...topics], 1)).toBe(topics.length + 1);
      sleeper.disconnect();
      const publisher = await five();
      await publishAll(
        publisher,
        counting(10_000).map((at) => `mail/${at % 7}`),
      );
      const back = await five({
        ...lasting("sleeper"),
        properties: { sessionExpiryInterval: 1000, receiveMaximum: 65_535 },
      });
      expect(back.connack.sessionPresent).toBe(true);
      await back.takeMany("publish", 500);
      back.abort();
      const fresh = await five(lasting("sleeper", true));
      expect(fresh.connack.sessionPresent).toBe(false);
      for (const each of [fresh, publisher]) each.abort();
    }),
  patienceMs,
);

test(
  "acks for nothing, pings, and properties by the thousand",
  () =>
    attack(async () => {
      const client = await five();
      for (const type of [0x40, 0x50, 0x62, 0x70]) {
        client.write(Buffer.alloc(4 * 100_000, Buffer.from([type, 2, 0, 7])));
        await client.ping();
      }
      client.write(Buffer.alloc(2 * 50_000, Buffer.from([0xc0, 0])));
      await client.takeMany("pingresp", 50_000);
      const named = (count: number): AnyPacket => ({ properties: { userProperties: { k: Array(count).fill("v") } } });
      await subscribe(client, ["named"]);
      for (let round = 0; round < 10; round++) {
        client.send({ cmd: "publish", topic: "named", payload: "x", qos: 0, ...named(propertiesPerPacketMax) });
        await client.take("publish");
      }
      client.send({ cmd: "publish", topic: "named", payload: "x", qos: 0, ...named(propertiesPerPacketMax + 1) });
      expect((await client.take("disconnect")).reasonCode).toBe(0x97);
      const leaving = await five(named(propertiesPerPacketMax));
      leaving.send({ cmd: "disconnect", reasonCode: 0, ...named(propertiesPerPacketMax) });
      await leaving.untilClosed();
      const stranger = await RawClient.dial(file.broker.port, 5);
      stranger.send(connectPacket({ protocolVersion: 5, ...named(30_000) }));
      expect((await stranger.take("connack")).reasonCode).toBe(0x97);
      const asking = await five();
      asking.send({ cmd: "auth", reasonCode: 0x19, ...named(10) });
      await asking.untilClosed();
    }),
  patienceMs,
);

test(
  "the largest messages, to many, at each QoS, retained, and through WebSocket",
  () =>
    attack(async () => {
      const readers = await Promise.all(counting(10).map(() => five()));
      for (const reader of readers) await subscribe(reader, ["large"], 1);
      const publisher = await five();
      const payload = Buffer.alloc(7_000_000) as unknown as string;
      publisher.publish("large", payload);
      publisher.publish("large", payload, { qos: 1, messageId: 1, retain: true });
      await publisher.take("puback");
      const socket = new WebSocket(`ws://127.0.0.1:${file.broker.wsPort}/mqtt`, "mqtt");
      socket.binaryType = "arraybuffer";
      await new Promise((resolve) => socket.addEventListener("open", resolve));
      const answers: number[] = [];
      socket.addEventListener("message", ({ data }) => answers.push(new Uint8Array(data as ArrayBuffer)[0]!));
      socket.send(encode(connectPacket({ protocolVersion: 5 })));
      const publish = { cmd: "publish", topic: "large", payload, qos: 1, messageId: 1, dup: false, retain: false };
      socket.send(encode(publish));
      await eventually(() => answers.includes(0x40), "a PUBACK over WebSocket", 60_000);
      socket.close();
      for (const each of [publisher, ...readers]) each.abort();
    }),
  patienceMs,
);

test(
  "thousands that are there for $SYS and one message, whose wills and sessions end at one moment",
  () =>
    attack(async () => {
      const clients: RawClient[] = [];
      for (const page of pagesOf(counting(800), 100)) {
        const one = (at: number): Promise<RawClient> =>
          five({
            clientId: `one-of-many-${at}`,
            properties: { sessionExpiryInterval: 2 },
            will: { topic: `wills/${at}`, payload: "x", qos: 1, properties: { willDelayInterval: 1 } },
          });
        clients.push(...(await Promise.all(page.map(one))));
      }
      for (const page of pagesOf(clients, 100))
        await Promise.all(page.map((client) => subscribe(client, ["$SYS/#", "all"], 1)));
      // Sixteen thousand copies are stored: on a machine that is busy with other things that takes its time.
      const publisher = await five({ patience: patienceMs / 2 });
      await publishAll(
        publisher,
        counting(20).map(() => "all"),
      );
      const watcher = await five({ patience: patienceMs / 2 });
      await subscribe(watcher, ["wills/#"], 1);
      for (const client of clients) client.abort();
      await watcher.takeMany("publish", 800);
      await Bun.sleep(2500);
      for (const each of [watcher, publisher]) each.abort();
    }),
  patienceMs,
);
