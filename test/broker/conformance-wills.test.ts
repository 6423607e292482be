/** MQTT 5.0, 3.1.2.5 to 3.1.2.7 and 3.1.3.2, statement by statement: the Will Message. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import type { AnyPacket } from "../support/raw-client.ts";
import { lasting, stepsAt } from "../support/steps.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const { connect, isAway } = stepsAt(() => broker);
const will = (topic: string, more: AnyPacket = {}): AnyPacket => ({ topic, payload: "gone", qos: 1, ...more });

test.each([false, true])("retain %p is published so [MQTT-3.1.2-14] [MQTT-3.1.2-15]", async (retain) => {
  const watcher = await connect();
  await watcher.subscribe(`will/${retain}`, { qos: 1, rap: true });
  (await connect({ will: will(`will/${retain}`, { retain }) })).abort();
  expect((await watcher.take("publish")).retain).toBe(retain);
  const late = await connect();
  await late.subscribe(`will/${retain}`, { qos: 1 });
  await late.ping();
  expect(late.packets.length).toBe(retain ? 1 : 0);
});

test("it is published once the connection is lost, once, and is not there any more [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10]", async () => {
  const watcher = await connect();
  await watcher.subscribe("once/#", { qos: 1 });
  const client = await connect(lasting("once", { will: will("once/x") }));
  const { localSessions } = broker.server.broker.context;
  expect(localSessions.get("once")!.will).toBeDefined();
  client.abort();
  await watcher.take("publish");
  await eventually(() => localSessions.get("once")!.will === undefined, "it is gone");
  // The same session without a will: nothing is left of the earlier one.
  (await connect(lasting("once"))).abort();
  await eventually(() => localSessions.get("once")!.connection === undefined, "it is away");
  await watcher.ping();
  expect(watcher.packets).toEqual([]);
});

test("its user properties keep their order [MQTT-3.1.3-10]", async () => {
  const watcher = await connect();
  await watcher.subscribe("ordered", { qos: 1 });
  const userProperties = { z: ["1", "0"], a: "2", m: "3" };
  (await connect({ will: will("ordered", { properties: { userProperties } }) })).abort();
  const heard = (await watcher.take("publish")).properties.userProperties;
  expect(Object.entries(heard)).toEqual(Object.entries(userProperties));
});

test("a connection within its delay keeps it unsaid [MQTT-3.1.3-9]", async () => {
  const watcher = await connect();
  await watcher.subscribe("delayed/#", { qos: 1 });
  const delayed = (id: string): AnyPacket =>
    lasting(id, { will: will(`delayed/${id}`, { properties: { willDelayInterval: 100 } }) });
  (await connect(delayed("back"))).abort();
  await eventually(isAway("back"), "it is away");
  await connect(lasting("back"));
  (await connect(delayed("lost"))).abort();
  await eventually(isAway("lost"), "it is lost");
  // As if the delay was over.
  const { timers, clock } = broker.server.broker.context;
  timers.tick(clock.now() + 101_000);
  expect((await watcher.take("publish")).topic).toBe("delayed/lost");
  await watcher.ping();
  expect(watcher.packets).toEqual([]);
});
