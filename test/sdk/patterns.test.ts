/** Several patterns in one subscription, packet by packet: how they are asked for, and which copies are handed out. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "../../src/client/for-bun.ts";
import { type BrokerName, start } from "../bench/brokers.ts";
import { ScriptedBroker, type ScriptedConnection } from "../support/scripted-broker.ts";

const session = { clientId: "c", sessionExpiryMs: 60_000, reconnect: { minMs: 1, maxMs: 5 } } as const;
let broker: ScriptedBroker;

beforeAll(() => {
  broker = new ScriptedBroker();
});

afterAll(() => broker.stop());

async function admitted() {
  const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, session);
  const connection = await broker.next();
  await connection.admit();
  return { client: await connecting, connection };
}

/** Takes SUBSCRIBE, answers it with the codes, and returns its filters and its identifier. */
async function asked(connection: ScriptedConnection, granted: readonly number[]) {
  const { messageId, subscriptions, properties } = await connection.take("subscribe");
  connection.send({ cmd: "suback", messageId, granted: [...granted] });
  const filters: string[] = subscriptions.map(({ topic }: { topic: string }) => topic);
  return { filters, id: properties.subscriptionIdentifier as number };
}

test("they are asked for in one packet, also in the next connection; the least QoS is told", async () => {
  const { client, connection } = await admitted();
  const messages = client.messages(["a/{id}", "b/#", "c"], { qos: 2 });
  const first = await asked(connection, [2, 1, 2]);
  expect(first.filters).toEqual(["a/+", "b/#", "c"]);
  expect(await messages.ready).toBe(1);
  connection.cut();
  const next = await broker.next();
  await next.admit();
  expect(await asked(next, [2, 1, 2])).toEqual(first);
  const properties = { subscriptionIdentifier: first.id };
  next.send({ cmd: "publish", topic: "a/7", payload: "x", qos: 0, properties });
  const { value } = await messages.next();
  expect([value?.pattern, value?.params as object]).toEqual(["a/{id}", { id: "7" }]);
  const leaving = messages.unsubscribe();
  const { messageId, unsubscriptions } = await next.take("unsubscribe");
  expect(unsubscriptions).toEqual(["a/+", "b/#", "c"]);
  next.send({ cmd: "unsuback", messageId, granted: [0, 0, 0] });
  await leaving;
  await client.end();
});

test("those that overlap have identifiers of their own, so that copies are told from messages", async () => {
  const { client, connection } = await admitted();
  const messages = client.messages(["a/+", "b", "a/#"], { qos: 1 });
  const exact = await asked(connection, [1, 1]);
  const all = await asked(connection, [1]);
  expect([exact.filters, all.filters]).toEqual([["a/+", "b"], ["a/#"]]);
  await messages.ready;
  const send = (payload: string, messageId: number, ids: readonly number[], retain = false): void =>
    connection.send({
      ...{ cmd: "publish", topic: "a/x", payload, qos: 1, messageId, retain },
      properties: { subscriptionIdentifier: ids.length === 1 ? ids[0] : ids },
    });
  send("two copies", 1, [exact.id]);
  send("two copies", 2, [all.id]);
  send("one", 3, [exact.id, all.id]);
  send("stored", 4, [all.id], true);
  send("stored", 5, [exact.id], true);
  send("last", 6, [exact.id]);
  const texts: (string | undefined)[] = [];
  for (let left = 4; left > 0; left--) texts.push((await messages.next()).value?.text);
  expect(texts).toEqual(["two copies", "one", "stored", "last"]);
  // Copies are acknowledged as they come, the others as they are taken.
  void messages.next().catch(() => {});
  const acknowledged: number[] = [];
  for (let left = 6; left > 0; left--) acknowledged.push((await connection.take("puback")).messageId);
  expect(acknowledged.toSorted()).toEqual([1, 2, 3, 4, 5, 6]);
  await client.end();
});

test("if one is refused, so is the whole, and the others are left", async () => {
  const { client, connection } = await admitted();
  const messages = client.messages(["a", "b", "c"]);
  const other = client.messages("c");
  await asked(connection, [0, 0x87, 0]);
  await asked(connection, [0]);
  await expect(messages.ready).rejects.toMatchObject({ name: "SubscribeRefused", filter: "b" });
  expect((await connection.take("unsubscribe")).unsubscriptions).toEqual(["a"]);
  await other.ready;
  await client.end();
});

test("at mosquitto, which sends a copy for each filter, a message still comes once", async () => {
  const mosquitto = await start("mosquitto" as BrokerName);
  try {
    await using client = await connect(`mqtt://127.0.0.1:${mosquitto.port}`);
    const messages = await client.subscribe(["a/{x}", "a/#", "{...all}"], { qos: 1 });
    for (const n of [1, 2, 3]) await client.publish("a/b", String(n), { qos: 1 });
    await client.publish("other", "4", { qos: 1 });
    const texts: (string | undefined)[] = [];
    for (let left = 4; left > 0; left--) texts.push((await messages.next()).value?.text);
    expect(texts).toEqual(["1", "2", "3", "4"]);
  } finally {
    await mosquitto.stop();
  }
});
