/**
 * Retained messages converge: on all brokers, in the store and with what was acknowledged (MQTTZOO_SEEDS: how many
 * worlds).
 */
import { expect, test } from "bun:test";
import { MqttConnection } from "../../src/client/connection.ts";
import { Turn } from "../../src/net/writer.ts";
import { runRetained } from "./retained.ts";
import { expectRight, seedsOf } from "./seeds.ts";
import { World } from "./world.ts";

const all = seedsOf("", 100);
const seeds = { ...all, count: Math.min(200, all.count) };

test(`${seeds.count} seeds in calm`, () => expectRight(seeds, (seed) => runRetained(seed, { isCalm: true })), 900_000);
test(
  `${seeds.count} seeds while brokers die and lose contact`,
  () => expectRight(seeds, (seed) => runRetained(seed)),
  900_000,
);

test("who subscribes after an ack gets what was acknowledged, whichever broker it was", async () => {
  const missed: string[] = [];
  const world = new World(1, { bankCapital: 1_000_000 });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const publisher = await connectTo(world, "a");
  // Somebody subscribes there already: the filter need not be made known any more.
  const first = await connectTo(world, "b");
  await within(world, first.client.subscribe(["news/#"], { qos: 0 }));
  for (let number = 0; number < 100; number++) {
    await within(world, publisher.client.publish(`news/${number}`, "x", { qos: 1, retain: true }));
    const late = await connectTo(world, "b");
    await within(world, late.client.subscribe(["news/#"], { qos: 0 }));
    await world.pass(100);
    if (late.received.length !== number + 1) missed.push(`${late.received.length} of ${number + 1}`);
    late.client.disconnect();
  }
  expect(missed).toEqual([]);
});

/** A client without a session, at a broker of one's choice. */
async function connectTo(world: World, id: string) {
  const received: string[] = [];
  const client = new MqttConnection({
    clientId: `guest-${world.random.hex(6)}`,
    clean: true,
    keepAlive: 0,
    turn: new Turn((flush) => queueMicrotask(flush)),
    onMessage: ({ topic }) => received.push(topic),
  });
  const end = { received: (bytes: Uint8Array) => client.received(bytes), closed: (why: string) => client.closed(why) };
  client.opened(world.node(id).dial(end)!);
  await within(world, client.ready);
  return { client, received };
}

/** Lets time pass until a promise is kept. */
async function within<Result>(world: World, promise: Promise<Result>): Promise<void> {
  let isKept = false;
  void promise.then(() => {
    isKept = true;
  });
  for (let step = 0; step < 20_000 && !isKept; step++) await world.pass(0.5);
  expect(isKept).toBe(true);
}
