/** Wills: which end of a connection publishes them, when, and what a restart of the broker means for them. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { willGraceMs } from "../../src/base/limits.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const connect = (options: AnyPacket = {}) => RawClient.connect(broker.port, options);
const will = (topic: string, more: AnyPacket = {}): AnyPacket => ({
  will: { topic, payload: Buffer.from("gone"), qos: 1, retain: false, ...more },
});
const five = { protocolVersion: 5 };

async function watch(filter: string): Promise<RawClient> {
  const watcher = await connect();
  await watcher.subscribe(filter, { qos: 1 });
  return watcher;
}

/** Every reason that a client may give in DISCONNECT, and an AUTH-less one that is an error. */
const reasons = [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

test("only DISCONNECT 0x00 deletes the will [MQTT-3.14.4-3] [MQTT-3.14.4-3 of 3.1.1]", async () => {
  const watcher = await watch("code/#");
  const normal = await connect({ ...five, ...will("code/0") });
  normal.disconnect({ reasonCode: 0 });
  await normal.untilClosed();
  (await connect(will("code/v4"))).disconnect();
  for (const reasonCode of reasons) {
    (await connect({ ...five, ...will(`code/${reasonCode}`) })).disconnect({ reasonCode });
    expect((await watcher.take("publish")).topic).toBe(`code/${reasonCode}`);
  }
  await watcher.ping();
  expect(watcher.packets).toEqual([]);
});

test("a take-over publishes the will of the earlier connection before the new one is let in [MQTT-3.1.4-3]", async () => {
  const watcher = await watch("taken/#");
  const first = await connect({ ...five, clientId: "taken", ...will("taken/1") });
  const second = await connect({ ...five, clientId: "taken", ...will("taken/2") });
  expect((await first.take("disconnect")).reasonCode).toBe(0x8e);
  second.publish("taken/birth", "online");
  expect([(await watcher.take("publish")).topic, (await watcher.take("publish")).topic]).toEqual([
    "taken/1",
    "taken/birth",
  ]);
  second.abort();
  expect((await watcher.take("publish")).topic).toBe("taken/2");
});

test("a delayed will outlives a take-over only if the session ends with it", async () => {
  const watcher = await watch("later/#");
  const lasting = (name: string) => ({
    ...five,
    clean: false,
    clientId: name,
    properties: { sessionExpiryInterval: 100 },
    ...will(`later/${name}`, { properties: { willDelayInterval: 100 } }),
  });
  for (const name of ["goes-on", "starts-anew"]) await connect(lasting(name));
  await connect({ ...lasting("goes-on"), will: undefined });
  await connect({ ...lasting("starts-anew"), clean: true, will: undefined });
  expect((await watcher.take("publish")).topic).toBe("later/starts-anew");
  await watcher.ping();
  expect(watcher.packets).toEqual([]);
});

test("the end of the session publishes a will whose delay is longer", async () => {
  const watcher = await watch("ends/#");
  const client = await connect({
    ...five,
    clientId: "ends",
    properties: { sessionExpiryInterval: 1 },
    ...will("ends/x", { properties: { willDelayInterval: 100 } }),
  });
  client.abort();
  expect((await watcher.take("publish")).topic).toBe("ends/x");
});

test("after a restart clients that come back are not declared dead; others are", async () => {
  let mine = await startBroker();
  const on = (options: AnyPacket) => RawClient.connect(mine.port, options);
  const watcher = await on({ clientId: "watcher", clean: false });
  await watcher.subscribe("restart/#", { qos: 1 });
  const kinds: Record<string, AnyPacket> = {
    clean: { clean: true },
    lasting: { clean: false },
    delayed: { ...five, clean: false, properties: { sessionExpiryInterval: 600 } },
  };
  const options = (name: string, delay?: number): AnyPacket => ({
    ...kinds[name.split("-")[0]!],
    clientId: name,
    ...will(`restart/${name}`, delay === undefined ? {} : { properties: { willDelayInterval: delay } }),
  });
  for (const name of ["clean-1", "clean-2", "clean-3", "lasting-1", "lasting-2"]) await on(options(name));
  for (const name of ["delayed-1", "delayed-2"]) await on(options(name, 8));
  mine = await mine.restart();
  for (const name of ["clean-1", "lasting-1"]) await on(options(name));
  // Without a will it is back as well.
  await on({ ...options("clean-2"), will: undefined });
  await on({ ...options("delayed-1"), will: undefined });
  const back = await on({ clientId: "watcher", clean: false });
  const dead = new Set<string>();
  const hear = (): boolean => {
    for (const { topic, messageId } of back.packets.splice(0)) {
      dead.add(topic);
      back.send({ cmd: "puback", messageId });
    }
    return dead.size >= 2;
  };
  await eventually(hear, "those that are gone are declared dead", 2 * willGraceMs);
  expect([...dead].sort()).toEqual(["restart/clean-3", "restart/lasting-2"]);
  // Its delay is longer than the time in which everybody may come back.
  await eventually(() => hear() && dead.size === 3, "the delayed one is, too");
  expect(dead.has("restart/delayed-2")).toBe(true);
  await mine.stop();
}, 120_000);
