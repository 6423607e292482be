/**
 * Retained messages on topics that lie below each other, set and cleared in any order without waiting: what a new
 * subscriber gets is what was acknowledged last on each topic, now and after a restart.
 */
import { expect, test } from "bun:test";
import { seeded } from "../simulation/world.ts";
import { startBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

const shapes = ["", "/b", "/b/c", "/b/c/d", "/b/e", "/", "//c"];

async function heldBy(port: number): Promise<Map<string, string>> {
  const subscriber = await RawClient.connect(port);
  await subscriber.subscribe("#");
  await subscriber.ping();
  const held = new Map<string, string>();
  for (const { cmd, topic, payload } of subscriber.packets)
    if (cmd === "publish") held.set(String(topic), String(payload));
  subscriber.disconnect();
  return held;
}

test("a broker alone holds what was acknowledged last", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = seeded(seed);
  const broker = await startBroker();
  const due = new Map<string, string>();
  const publisher = await RawClient.connect(broker.port);
  for (let round = 0; round < 40; round++) {
    const count = 1 + Math.floor(random.next() * 30);
    for (let number = 1; number <= count; number++) {
      const branch = Math.floor(random.next() * 3) + 2 * round;
      const topic = `t/${branch}${shapes[Math.floor(random.next() * shapes.length)]!}`;
      const payload = random.next() < 0.45 ? "" : `${round}.${number}`;
      publisher.publish(topic, payload, { qos: 1, messageId: number, retain: true });
      if (payload === "") due.delete(topic);
      else due.set(topic, payload);
    }
    for (let number = 1; number <= count; number++) await publisher.take("puback");
    if (round % 8 === 0) expect(await heldBy(broker.port)).toEqual(due);
  }
  expect(await heldBy(broker.port)).toEqual(due);
  const again = await broker.restart();
  expect(await heldBy(again.port)).toEqual(due);
  await again.stop();
});
