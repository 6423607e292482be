/** Shared subscriptions: what a member has not acknowledged when its session ends goes to another member. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

const lasting = (clientId: string, sessionExpiryInterval = 1000): AnyPacket => ({
  clientId,
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval },
});
const connect = (options: AnyPacket = {}) => RawClient.connect(broker.port, options);

async function publish(topic: string, payload: string, qos: 1 | 2 = 1): Promise<void> {
  const publisher = await connect({ protocolVersion: 5 });
  publisher.publish(topic, payload, { qos, messageId: 1 });
  await publisher.take(qos === 1 ? "puback" : "pubrec");
  publisher.disconnect();
}

const isAway = (clientId: string) => () =>
  broker.server.broker.context.localSessions.get(clientId)?.connection === undefined;

/**
 * A member with a message that it has not acknowledged, whose connection is lost; `waits`: it came when it was away.
 */
async function leaveBehind(name: string, how: "in flight" | "waits", { qos = 1, expiry = 1000 } = {}): Promise<void> {
  const member = await connect(lasting(name, expiry));
  await member.subscribe(`$share/g/${name}`, { qos });
  if (how === "in flight") {
    void publish(name, "kept", qos as 1 | 2);
    await member.take("publish");
  }
  member.abort();
  await eventually(isAway(name), "it is gone");
  if (how === "waits") await publish(name, "kept", qos as 1 | 2);
}

const endings: Record<string, (name: string) => Promise<unknown>> = {
  "its expiry": async () => {},
  "a clean start": (name) => connect({ ...lasting(name), clean: true }),
  "DISCONNECT that says so": async (name) =>
    (await connect({ ...lasting(name), properties: { sessionExpiryInterval: 1000, receiveMaximum: 1 } })).disconnect({
      properties: { sessionExpiryInterval: 0 },
    }),
};

const cases = Object.keys(endings).flatMap((end) =>
  (["in flight", "waits"] as const).map((how) => [end, how] as const),
);

test.each(cases)("a session that ends by %s: what is %s goes to a connected member", async (end, how) => {
  const name = `brief-${cases.findIndex((one) => one[0] === end && one[1] === how)}`;
  await leaveBehind(name, how, { expiry: end === "its expiry" ? 2 : 1000 });
  const other = await connect();
  await other.subscribe(`$share/g/${name}`, { qos: 1 });
  await endings[end]!(name);
  const message = await other.take("publish");
  expect([message.payload.toString(), message.qos]).toEqual(["kept", 1]);
  other.send({ cmd: "puback", messageId: message.messageId });
  // It was stored once, and is gone.
  await eventually(() => broker.server.broker.context.bankAccount.account.messages === 0, "nothing is left of it");
});

test.each([1, 2] as const)(
  "QoS %i: it goes into the mailbox of a member that is away, and stays paid for",
  async (qos) => {
    const name = `away-${qos}`;
    await leaveBehind(name, "waits", { qos });
    const { account } = broker.server.broker.context.bankAccount;
    const { messages } = account;
    const other = await connect(lasting(`${name}-other`));
    await other.subscribe(`$share/g/${name}`, { qos: 2 });
    other.disconnect();
    await eventually(isAway(`${name}-other`), "it is gone");
    (await connect({ ...lasting(name), clean: true })).disconnect();
    expect(account.messages).toBe(messages);
    const back = await connect(lasting(`${name}-other`));
    const message = await back.take("publish");
    expect([message.payload.toString(), message.qos]).toEqual(["kept", qos]);
    back.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId: message.messageId });
    await eventually(() => account.messages === 0, "nothing is left of it");
  },
);

test("what waits in a connected member's memory goes to one that is away", async () => {
  const away = await connect(lasting("memory-away"));
  await away.subscribe("$share/g/memory", { qos: 1 });
  const member = await connect({ protocolVersion: 5, properties: { receiveMaximum: 1 } });
  await member.subscribe("$share/g/memory", { qos: 1 });
  away.disconnect();
  await eventually(isAway("memory-away"), "it is gone");
  for (const payload of ["1", "2", "3"]) await publish("memory", payload);
  await member.take("publish");
  member.abort();
  const back = await connect(lasting("memory-away"));
  const got = new Set<string>();
  for (const { payload } of await back.takeMany("publish", 3)) got.add(payload.toString());
  expect([...got].sort()).toEqual(["1", "2", "3"]);
  for (let messageId = 1; messageId <= 3; messageId++) back.send({ cmd: "puback", messageId });
});

test("what was sent at QoS 2 goes to nobody else [MQTT-4.8.2-5]", async () => {
  await leaveBehind("sent-twice", "in flight", { qos: 2 });
  const other = await connect();
  await other.subscribe("$share/g/sent-twice", { qos: 2 });
  (await connect({ ...lasting("sent-twice"), clean: true })).disconnect();
  await publish("sent-twice", "next", 2);
  expect((await other.take("publish")).payload.toString()).toBe("next");
});

test("what was stored for an ordinary subscription, or another group, goes with its session", async () => {
  const member = await connect(lasting("mixed"));
  await member.subscribe("$share/g/mixed/+", { qos: 1 });
  await member.subscribe("$share/h/mixed/+", { qos: 1 });
  await member.subscribe("mixed/#", { qos: 1 });
  member.disconnect();
  await eventually(isAway("mixed"), "it is gone");
  // Three copies lie in its mailbox.
  await publish("mixed/x", "kept");
  const others = await Promise.all(
    ["g", "h"].map(async (group) => {
      const other = await connect();
      await other.subscribe(`$share/${group}/mixed/+`, { qos: 1 });
      return other;
    }),
  );
  (await connect({ ...lasting("mixed"), clean: true })).disconnect();
  for (const other of others) {
    expect((await other.take("publish")).payload.toString()).toBe("kept");
    await other.ping();
    expect(other.packets).toEqual([]);
  }
});

test("the last member's message goes with it", async () => {
  await leaveBehind("last", "waits");
  (await connect({ ...lasting("last"), clean: true })).disconnect();
  const { account } = broker.server.broker.context.bankAccount;
  await eventually(() => account.holders(10).every(({ path }) => !path.includes("last")), "nothing is left of it");
});
