/**
 * Attacks from the network, each with a bystander who must not notice: his messages go on, in time, and the broker's
 * memory stays within bounds.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqttPacket from "mqtt-packet";
import { varintSize, writeVarint } from "../../src/base/bytes.ts";
import { filtersPerPacketMax } from "../../src/base/limits.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type Bystander, startBystander } from "../support/bystander.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

/**
 * The longest that a bystander may wait for an answer, in ms; where other things keep the machine busy, so many times
 * as much as they do.
 */
const noticedMs = 250;

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-attacks-"));
let broker: BrokerProcess;
let bystander: Bystander;
let authority: Authority;
let tlsPort = 0;
let wsPort = 0;

beforeAll(async () => {
  authority = makeAuthority();
  const { cert, key } = authority.issue("server");
  [tlsPort, wsPort] = [await freePort(), await freePort()];
  const doors = ["--tls-port", String(tlsPort), "--tls-cert", cert, "--tls-key", key, "--ws-port", String(wsPort)];
  broker = await startBrokerProcess(folder, {
    args: ["--bank-capital", "1000000000", "--topic-levels-max", "200", ...doors],
  });
  bystander = await startBystander(broker.port);
});

afterAll(async () => {
  bystander.stop();
  await broker.kill("SIGKILL");
  authority.remove();
  rmSync(folder, { recursive: true, force: true });
});

function residentMB({ pid }: BrokerProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}

/** Attacks, and then looks at what the bystander has seen and what the broker has grown by. */
async function attack(
  growthMaxMB: number,
  how: () => Promise<void>,
  at: { broker: BrokerProcess; bystander: Bystander } = { broker, bystander },
): Promise<void> {
  const before = residentMB(at.broker);
  await at.bystander.waits();
  await how();
  const { worst, stretch, late } = await at.bystander.waits();
  expect(worst).toBeLessThan(noticedMs * stretch + late);
  expect(residentMB(at.broker) - before).toBeLessThan(growthMaxMB);
}

const encode = (packet: AnyPacket, version = 5): Buffer => mqttPacket.generate(packet, { protocolVersion: version });

function pagesOf<Item>(items: readonly Item[], size: number): Item[][] {
  const pages: Item[][] = [];
  for (let at = 0; at < items.length; at += size) pages.push(items.slice(at, at + size));
  return pages;
}

function varint(value: number): Uint8Array {
  const bytes = new Uint8Array(varintSize(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

test(
  "half-open connections and slow ones: a CONNECT byte by byte, or never",
  () =>
    attack(60, async () => {
      const silent = await Promise.all(
        [broker.port, tlsPort, wsPort].flatMap((port) => Array.from({ length: 200 }, () => RawClient.dial(port))),
      );
      const slow = await Promise.all(Array.from({ length: 50 }, () => RawClient.dial(broker.port)));
      const bytes = encode(connectPacket({ protocolVersion: 5 }));
      // The beginnings of a handshake and of an upgrade that never end.
      const drops: [RawClient, Uint8Array][] = slow.map((client) => [client, bytes.subarray(0, bytes.length - 1)]);
      for (const [port, start] of [
        [tlsPort, "160301020001"],
        [wsPort, Buffer.from("GET /mqtt HTTP").toString("hex")],
      ] as const)
        for (let at = 0; at < 50; at++) drops.push([await RawClient.dial(port), Buffer.from(start, "hex")]);
      for (let at = 0; at < bytes.length; at++) {
        for (const [client, words] of drops) client.write(words.subarray(at, at + 1));
        await Bun.sleep(1);
      }
      await eventually(
        () => [...silent, ...drops.map(([client]) => client)].every(({ closed }) => closed),
        "all are closed in time",
        60_000,
      );
    }),
  120_000,
);

test(
  "giants: a CONNECT of 256 MB, a packet of 256 MB, and one that stops in the middle",
  () =>
    attack(80, async () => {
      const stranger = await RawClient.dial(broker.port);
      stranger.write(Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5));
      await stranger.untilClosed();
      const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
      client.write(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 0x61));
      expect((await client.take("disconnect")).reasonCode).toBe(0x95);
      const half = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(broker.port)));
      for (const each of half)
        each.write(Buffer.concat([Uint8Array.of(0x30, 0x80, 0x80, 0x80, 2), Buffer.alloc(1000)]));
      for (const each of half) each.abort();
    }),
  120_000,
);

test(
  "bombs of subscriptions: many, deep, and all at once; taken back, asked for again, and left behind",
  () =>
    attack(350, async () => {
      const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
      const deep = Array.from({ length: 10_000 }, (_, at) => `${"x/".repeat(150)}${at}`);
      const subscribe = async (perPacket: number): Promise<void> => {
        const packets = pagesOf(deep, perPacket).map((topics, at) => {
          const subscriptions = topics.map((topic) => ({ topic, qos: 0 }));
          return encode({ cmd: "subscribe", messageId: at + 1, subscriptions });
        });
        client.write(Buffer.concat(packets));
        for (const { granted } of await client.takeMany("suback", packets.length))
          expect(granted).toEqual(new Array(perPacket).fill(0));
      };
      await subscribe(500);
      client.write(encode({ cmd: "unsubscribe", messageId: 1, unsubscriptions: deep }));
      await client.take("unsuback");
      await subscribe(10_000);
      client.send({ cmd: "subscribe", messageId: 30, subscriptions: [{ topic: "x/".repeat(300), qos: 0 }] });
      expect((await client.take("suback")).granted).toEqual([0x8f]);
      // Every wildcard that there is, and topics that all of them match.
      const wild = Array.from({ length: 4096 }, (_, bits) =>
        [...bits.toString(2).padStart(12, "0")].map((bit) => (bit === "0" ? "+" : "y")).join("/"),
      );
      client.send({ cmd: "subscribe", messageId: 31, subscriptions: wild.map((topic) => ({ topic, qos: 0 })) });
      await client.take("suback");
      const above = "y/".repeat(11);
      const publishes = Array.from({ length: 300 }, (_, at) =>
        encode({ cmd: "publish", topic: `${above}${at}`, payload: "x", qos: 0, dup: false, retain: false }),
      );
      client.write(Buffer.concat(publishes));
      await client.takeMany("publish", publishes.length);
      client.abort();
    }),
  120_000,
);

test(
  "as many filters in a packet as there may be, and more, and a client that reads none of its answers",
  () =>
    attack(350, async () => {
      const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
      const subscribe = (first: string, count: number): Buffer => {
        const name = Buffer.from(first);
        const head = Buffer.from([0, 1, 0, name.length >> 8, name.length & 0xff, ...name, 0]);
        const body = Buffer.concat([head, Buffer.alloc(5 * count, Buffer.from([0, 2, 0x2b, 0x2b, 0]))]);
        return Buffer.concat([Uint8Array.of(0x82), varint(body.length), body]);
      };
      client.write(subscribe("many", filtersPerPacketMax - 1));
      expect((await client.take("suback")).granted.length).toBe(filtersPerPacketMax);
      const greedy = await RawClient.connect(broker.port, { protocolVersion: 5 });
      greedy.write(subscribe("many", filtersPerPacketMax));
      expect((await greedy.take("disconnect")).reasonCode).toBe(0x97);
      await client.subscribe("unread");
      client.pause();
      const flood = await RawClient.connect(broker.port);
      for (let at = 0; at < 800; at++) flood.publish("unread", "x".repeat(50_000));
      await flood.ping();
      flood.abort();
      // What is granted is committed before it is answered: the answer that is one too many comes in its own time.
      for (let round = 0; round < 110; round++) client.write(subscribe(`unread/${round}`, 60_000));
      await eventually(() => client.closed, "who does not read is disconnected", 90_000);
    }),
  150_000,
);

test(
  "retained messages by the ten thousand, for filters that all match and a client that takes none of them",
  () =>
    attack(250, async () => {
      const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
      const retained = 10_000;
      for (const page of pagesOf([...Array(retained).keys()], 500)) {
        const publishes = page.map((at) =>
          encode({
            cmd: "publish",
            topic: `many/${at % 100}/${at}`,
            payload: "a payload that is too large",
            qos: 1,
            messageId: (at % 500) + 1,
            retain: true,
            dup: false,
          }),
        );
        publisher.write(Buffer.concat(publishes));
        await publisher.takeMany("puback", page.length);
      }
      const reader = await RawClient.connect(broker.port, { protocolVersion: 5 });
      await reader.subscribe("many/#");
      await reader.takeMany("publish", retained);
      const picky = await RawClient.connect(broker.port, { protocolVersion: 5, properties: { maximumPacketSize: 20 } });
      const filters = ["#", "+/#", "many/#", "many/+/#", "+/+/+"];
      const subscribes = Array.from({ length: 200 }, (_, at) => {
        const subscriptions = [{ topic: filters[at % filters.length]!, qos: 0 as const }];
        return encode({ cmd: "subscribe", messageId: at + 1, subscriptions });
      });
      picky.write(Buffer.concat(subscribes));
      await picky.takeMany("suback", subscribes.length);
      await picky.ping();
      expect(picky.packets.filter(({ topic }) => topic?.startsWith("many/"))).toEqual([]);
      for (const client of [publisher, reader, picky]) client.abort();
    }),
  120_000,
);

test(
  "a member of thousands of shared groups, who acknowledges nothing and goes away",
  () =>
    attack(250, async () => {
      const member = await RawClient.connect(broker.port, { protocolVersion: 5 });
      const groups = Array.from({ length: 8_000 }, (_, at) => ({
        topic: `$share/g${at}/all/of/them`,
        qos: 1 as const,
      }));
      member.send({ cmd: "subscribe", messageId: 1, subscriptions: groups });
      await member.take("suback");
      const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
      for (let messageId = 1; messageId <= 20; messageId++)
        publisher.publish("all/of/them", "x", { qos: 1, messageId });
      await member.take("publish");
      await publisher.ping();
      member.abort();
      await publisher.takeMany("puback", 20);
      publisher.abort();
    }),
  120_000,
);

test("bombs of retained messages: the bank ends them", async () => {
  const poor = await startBrokerProcess(join(folder, "poor"), { args: ["--bank-capital", "1000000"] });
  const beside = await startBystander(poor.port);
  const bombs = async (): Promise<void> => {
    const client = await RawClient.connect(poor.port, { protocolVersion: 5 });
    let refused = 0;
    for (let round = 0; round < 10; round++) {
      for (let at = 0; at < 50; at++) {
        client.publish(`bomb/${round}/${at}`, "x".repeat(100_000), { qos: 1, retain: true, messageId: at + 1 });
      }
      for (const { reasonCode } of await client.takeMany("puback", 50)) if (reasonCode === 0x97) refused++;
    }
    // A million credits keep 25 MB.
    expect(refused).toBeGreaterThan(200);
    client.abort();
  };
  try {
    await attack(400, bombs, { broker: poor, bystander: beside });
  } finally {
    beside.stop();
    await poor.kill("SIGKILL");
  }
}, 120_000);

test(
  "a storm of wills",
  () =>
    attack(150, async () => {
      const watcher = await RawClient.connect(broker.port);
      await watcher.subscribe("wills/#");
      const names = Array.from({ length: 500 }, (_, at) => `doomed-${at}`);
      const doomed = await Promise.all(
        names.map((clientId) =>
          RawClient.connect(broker.port, {
            clientId,
            will: { topic: `wills/${clientId}`, payload: "x".repeat(10_000), qos: 1 },
          }),
        ),
      );
      for (const client of doomed) client.abort();
      await watcher.takeMany("publish", 500);
      watcher.abort();
    }),
  120_000,
);

test(
  "aliases beyond the limit, ids that are taken, acks for nothing",
  () =>
    attack(60, async () => {
      const closedWith = async (what: (client: RawClient) => void): Promise<number> => {
        const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
        what(client);
        return (await client.take("disconnect")).reasonCode;
      };
      const alias =
        (topicAlias: number, topic = "a") =>
        (client: RawClient) =>
          client.publish(topic, "x", { properties: { topicAlias } });
      expect(await closedWith(alias(65))).toBe(0x94);
      expect(await closedWith(alias(3, ""))).toBe(0x82);
      expect(
        await closedWith((client) => {
          for (let messageId = 1; messageId <= 3000; messageId++) client.publish("ids", "x", { qos: 2, messageId });
        }),
      ).toBe(0x93);
      const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
      for (let messageId = 1; messageId <= 2000; messageId++) {
        for (const cmd of ["puback", "pubrec", "pubrel", "pubcomp"]) client.send({ cmd, messageId, reasonCode: 0 });
      }
      await client.ping();
      client.abort();
    }),
  120_000,
);

test(
  "a client that connects and leaves without end, and one that takes its id each time",
  () =>
    attack(80, async () => {
      for (let round = 0; round < 20; round++) {
        const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.dial(broker.port, 5)));
        for (const client of clients)
          client.send(connectPacket({ protocolVersion: 5, clientId: "contended", clean: false }));
        await Promise.all(
          clients.map((client) => client.until(() => client.packets.length > 0 || client.closed, "an answer")),
        );
        for (const client of clients) client.abort();
      }
    }),
  120_000,
);
