/** A client that comes back to its session: what was under way to it goes on, within what it takes now. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const connect = (clientId: string, properties: AnyPacket = {}) =>
  RawClient.connect(broker.port, {
    clientId,
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 1000, ...properties },
  });

async function publish(topic: string, payload: string, qos: 1 | 2, properties: AnyPacket = {}): Promise<void> {
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  publisher.publish(topic, payload, { qos, messageId: 1, properties });
  await publisher.take(qos === 1 ? "puback" : "pubrec");
  publisher.disconnect();
}

/** Sends messages to a client that acknowledges none, and cuts its connection; returns their packet ids. */
async function leaveUnacknowledged(clientId: string, qos: 1 | 2, payloads: readonly string[], properties = {}) {
  const first = await connect(clientId);
  await first.subscribe(clientId, { qos });
  const ids: number[] = [];
  for (const payload of payloads) await publish(clientId, payload, qos, properties);
  for (const { messageId } of await first.takeMany("publish", payloads.length)) ids.push(messageId);
  first.abort();
  await eventually(
    () => broker.server.broker.context.localSessions.get(clientId)?.connection === undefined,
    "it is gone",
  );
  return ids;
}

const seen = ({ packets }: RawClient): unknown[] =>
  packets.map(({ cmd, messageId, payload, dup }) => [cmd, messageId, payload?.toString(), dup]);

test.each([1, 2] as const)("QoS %i: what was sent before it expired is sent again", async (qos) => {
  const [id] = await leaveUnacknowledged(`expired-${qos}`, qos, ["first"], { messageExpiryInterval: 1 });
  await Bun.sleep(1100);
  const second = await connect(`expired-${qos}`);
  // Its expiry counts until it is sent for the first time [MQTT-4.3.3-7].
  expect(await second.take("publish")).toMatchObject({ dup: true, messageId: id });
  second.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId: id });
  if (qos === 2) {
    expect((await second.take("pubrel")).messageId).toBe(id);
    second.send({ cmd: "pubcomp", messageId: id });
  }
  await publish(`expired-${qos}`, "second", qos);
  expect((await second.take("publish")).payload.toString()).toBe("second");
});

test("what expires before it is sent for the first time is not sent", async () => {
  const first = await connect("unsent");
  await first.subscribe("unsent", { qos: 2 });
  first.disconnect();
  await publish("unsent", "late", 2, { messageExpiryInterval: 1 });
  await publish("unsent", "fresh", 2);
  await Bun.sleep(1100);
  const second = await connect("unsent");
  expect((await second.take("publish")).payload.toString()).toBe("fresh");
});

test("QoS 2 that was sent and is too large now is released, and its packet id stays taken until then", async () => {
  const [id] = await leaveUnacknowledged("shrunk", 2, ["x".repeat(500)]);
  await publish("shrunk", "small", 2);
  const second = await connect("shrunk", { maximumPacketSize: 100 });
  expect(await second.take("pubrel")).toMatchObject({ messageId: id });
  const next = await second.take("publish");
  expect(next.payload.toString()).toBe("small");
  expect(next.messageId).not.toBe(id);
  second.abort();
  // It has been decided: a client that takes large packets again does not get it after all.
  const third = await connect("shrunk");
  expect((await third.take("pubrel")).messageId).toBe(id);
  third.send({ cmd: "pubcomp", messageId: id });
  expect((await third.take("publish")).payload.toString()).toBe("small");
  expect(seen(third)).toEqual([]);
});

test("QoS 1 that was sent and is too large now counts as delivered [MQTT-3.1.2-25]", async () => {
  await leaveUnacknowledged("shrunk-1", 1, ["x".repeat(500)]);
  await publish("shrunk-1", "small", 1);
  const second = await connect("shrunk-1", { maximumPacketSize: 100 });
  expect((await second.take("publish")).payload.toString()).toBe("small");
  expect(seen(second)).toEqual([]);
});

test("QoS 2 whose message has been swept away while its client was away is released", async () => {
  const [id] = await leaveUnacknowledged("swept", 2, ["gone"]);
  const { coordinator } = broker.server.broker.context;
  const [message] = await new Promise<string[]>((found) =>
    coordinator.read([{ kind: "children", path: "/topics/swept" }], (_, [node]) =>
      found((node as { children: string[] }).children),
    ),
  );
  await new Promise<void>((done) =>
    coordinator.write([{ kind: "delete", path: `/topics/swept/${message}`, version: -1 }], () => done()),
  );
  await publish("swept", "next", 2);
  const second = await connect("swept");
  expect((await second.take("pubrel")).messageId).toBe(id);
  const next = await second.take("publish");
  expect([next.payload.toString(), next.messageId === id]).toEqual(["next", false]);
});

test.each([1, 2] as const)("QoS %i: a smaller Receive Maximum is kept, for what is sent again too", async (qos) => {
  const clientId = `window-${qos}`;
  const payloads = ["a", "b", "c", "d", "e"];
  const ids = await leaveUnacknowledged(clientId, qos, payloads);
  await publish(clientId, "new", qos);
  const second = await connect(clientId, { receiveMaximum: 2 });
  const got: AnyPacket[] = await second.takeMany("publish", 2);
  while (got.length < 6) {
    // Two are under way, and nothing else is; each ack makes room for one.
    await second.ping();
    expect(seen(second)).toEqual([]);
    const { messageId } = got[got.length - 2]!;
    second.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
    if (qos === 2) {
      expect((await second.take("pubrel")).messageId).toBe(messageId);
      await second.ping();
      expect(seen(second)).toEqual([]);
      second.send({ cmd: "pubcomp", messageId });
    }
    got.push(await second.take("publish"));
  }
  expect(got.slice(0, 5).map(({ messageId, dup }) => [messageId, dup])).toEqual(ids.map((id) => [id, true]));
  expect(got.map(({ payload }) => payload.toString())).toEqual([...payloads, "new"]);
  second.disconnect();
});

test("released messages take no room of a smaller Receive Maximum, a larger one is used", async () => {
  const ids = await leaveUnacknowledged("wider", 2, ["a", "b", "c"]);
  const second = await connect("wider", { receiveMaximum: 3 });
  await second.takeMany("publish", 3);
  for (const messageId of ids) second.send({ cmd: "pubrec", messageId });
  await second.takeMany("pubrel", 3);
  second.abort();
  for (const payload of ["d", "e"]) await publish("wider", payload, 2);
  const third = await connect("wider", { receiveMaximum: 1 });
  await third.takeMany("pubrel", 3);
  expect((await third.take("publish")).payload.toString()).toBe("d");
  await third.ping();
  expect(seen(third)).toEqual([]);
  third.abort();
  const fourth = await connect("wider", { receiveMaximum: 100 });
  await fourth.takeMany("pubrel", 3);
  const both = await fourth.takeMany("publish", 2);
  expect(both.map(({ payload }) => payload.toString())).toEqual(["d", "e"]);
});

test.each([
  ["a bridge of mosquitto's, which takes 20", { bridgeMode: true }, 20],
  ["a client that is none", {}, 40],
])("before MQTT 5 as many messages are under way as are taken: %s", async (_, how, most) => {
  const client = await RawClient.connect(broker.port, { clientId: `window-${most}`, ...how });
  await client.subscribe("window", { qos: 1 });
  for (let n = 0; n < 40; n++) await publish("window", String(n), 1);
  const got = await client.takeMany("publish", most);
  await client.ping();
  expect(client.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  if (most === 40) return client.disconnect();
  client.send({ cmd: "puback", messageId: got[0].messageId });
  expect((await client.take("publish")).payload.toString()).toBe("20");
  client.disconnect();
});
