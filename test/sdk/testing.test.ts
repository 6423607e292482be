/** The broker of `mqttzoo/testing`: the scenarios that each runtime plays, and what only it can do on demand. */
import { expect, test } from "bun:test";
import * as lib from "../../src/client/for-bun.ts";
import { type Client, type ClientOptions, connect } from "../../src/client/for-bun.ts";
import { TestBroker } from "../../src/testing/test-broker.ts";
import { eventually } from "../support/broker.ts";
import { play, scenarios, scenariosOf5 } from "./scenarios.mjs";

const soon = { reconnect: { minMs: 1, maxMs: 5 } } as const;
const session = { clientId: "c", sessionExpiryMs: 60_000, ...soon } as const;

test("it keeps what the library promises at any broker", async () => {
  const { url } = new TestBroker();
  const all = { ...scenarios, ...scenariosOf5 };
  const well = Object.fromEntries(Object.keys(all).map((name) => [name, "ok"]));
  expect(await play(all, { url, lib, connect })).toEqual(well);
}, 60_000);

test.each([4, 5] as const)("version %i: QoS 2 is exactly once over each answer that is lost", async (version) => {
  const broker = new TestBroker();
  const options: ClientOptions = { ...session, version };
  const client = await connect(broker.url, options);
  const reader = await connect(broker.url, { ...options, clientId: "reader" });
  const messages = await reader.subscribe("t", { qos: 2 });
  for (const packet of ["publish", "pubrel", "pubrec"] as const) {
    broker.cutAt(packet);
    await client.publish("t", packet, { qos: 2 });
    expect((await messages.next()).value?.text).toBe(packet);
  }
  await client.publish("t", "last", { qos: 2 });
  expect((await messages.next()).value?.text).toBe("last");
  expect(broker.published.map(({ text }) => text)).toEqual(["publish", "pubrel", "pubrec", "last"]);
  await Promise.all([client.end(), reader.end()]);
});

test("refusals: of a connection, a publish, a subscription; so often, for whom, and on what they are wanted", async () => {
  const broker = new TestBroker();
  broker.refuse("connect", 0x87, { clientId: "stranger" });
  await expect(connect(broker.url, { clientId: "stranger" })).rejects.toMatchObject({ reasonCode: 0x87 });
  const client = await connect(broker.url, { clientId: "stranger" });
  broker.refuse("publish", 0x97, { filter: "full/#", times: 2 });
  for (const expected of ["QuotaExceeded", "QuotaExceeded", "taken"]) {
    const outcome = await client.publish("full/1", "x", { qos: 1 }).then(
      () => "taken",
      ({ name }) => name,
    );
    expect(outcome).toBe(expected);
    await client.publish("other", "x", { qos: 1 });
  }
  broker.refuse("subscribe", 0x87);
  await expect(client.subscribe("a")).rejects.toMatchObject({ name: "SubscribeRefused", reasonCode: 0x87 });
  await client.subscribe("a");
  expect(broker.subscriptions("stranger")).toEqual(["a"]);
  await client.end();
});

test("time: sessions, messages and wills wait until it is moved on", async () => {
  const broker = new TestBroker();
  const will = { topic: "gone", payload: "c", delayMs: 10_000 };
  const away = async (): Promise<Client> => connect(broker.url, { ...session, will, reconnect: false });
  const first = await away();
  await first.subscribe("in", { qos: 1 });
  broker.cut("c");
  broker.publish("in", "short", { qos: 1, properties: { messageExpiryInterval: 5 } });
  broker.publish("in", "long", { qos: 1 });
  broker.advance(9000);
  expect(broker.published.map(({ topic }) => topic)).toEqual(["in", "in"]);
  const second = await away();
  const messages = second.messages("in", { qos: 1 });
  expect((await messages.next()).value?.text).toBe("long");
  broker.cut("c");
  broker.advance(10_000);
  expect(broker.published.at(-1)).toMatchObject({ topic: "gone", text: "c", clientId: "c" });
  broker.advance(60_000);
  expect(broker.subscriptions("c")).toBeUndefined();
});

test("a broker that stops is away until it starts again; one that forgets has no session", async () => {
  const broker = new TestBroker();
  const client = await connect(broker.url, session);
  await client.subscribe("in", { qos: 1 });
  broker.stop();
  await eventually(() => client.status.state !== "connected", "the loss");
  await expect(connect(broker.url)).rejects.toThrow("there is no such broker in this process");
  const published = client.publish("t", "waits", { qos: 1 });
  broker.start();
  await published;
  expect(client.status).toMatchObject({ state: "connected", broker: broker.url, sessionPresent: true });
  broker.forget("c");
  await eventually(() => broker.subscriptions("c")?.length === 1, "the filter to be asked for again");
  expect(client.status).toMatchObject({ sessionPresent: false });
  await client.end();
});
