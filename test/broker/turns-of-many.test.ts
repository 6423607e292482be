/** Events that concern thousands at once, beside a bystander: none of them holds the event loop. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { AnyPacket, RawClient } from "../support/raw-client.ts";
import {
  counting,
  lasting,
  pagesOf,
  patienceMs,
  startWatchedBroker,
  subscribe,
  type WatchedBroker,
} from "../support/watched-broker.ts";

let broker: WatchedBroker;

beforeAll(async () => {
  broker = await startWatchedBroker();
}, 120_000);

afterAll(() => broker.stop());

const attack = (how: () => Promise<void>): Promise<void> => broker.attack(how);
const five = (options: AnyPacket = {}): Promise<RawClient> => broker.five(options);

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
