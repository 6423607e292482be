/** The client library over lost connections, packet by packet at a broker that does what the test says. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  type Client,
  ClientClosed,
  type ClientOptions,
  connect,
  MqttError,
  QueueFull,
  type Status,
} from "../../src/client/for-bun.ts";
import { eventually } from "../support/broker.ts";
import { ScriptedBroker, type ScriptedConnection } from "../support/scripted-broker.ts";

let broker: ScriptedBroker;
beforeEach(() => {
  broker = new ScriptedBroker();
});
afterEach(() => broker.stop());

const soon = { reconnect: { minMs: 1, maxMs: 10 } } as const;
const session = { clientId: "c", sessionExpiryMs: 600_000, ...soon };

function url(...brokers: readonly ScriptedBroker[]): string {
  return `mqtt://${brokers.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
}

/** A client, and the connection that it has begun with. */
async function begin(options: ClientOptions, granted?: object): Promise<[Client, ScriptedConnection]> {
  const connecting = connect(url(broker), options);
  const connection = await broker.next();
  await connection.admit(granted);
  return [await connecting, connection];
}

test("with its session: what is in flight is sent again under its packet id, and settles in the later connection", async () => {
  const connecting = connect(url(broker), session);
  const first = await broker.next();
  expect(await first.admit()).toMatchObject({ clean: false, properties: { sessionExpiryInterval: 600 } });
  const client = await connecting;
  const published = [1, 2].map((qos) => client.publish("t", `at ${qos}`, { qos: qos as 1 | 2 }));
  const sent = [await first.take("publish"), await first.take("publish")];
  first.send({ cmd: "pubrec", messageId: sent[1].messageId });
  await first.take("pubrel");
  first.cut();
  const second = await broker.next();
  await second.admit({}, true);
  expect(await second.take("publish")).toMatchObject({ dup: true, messageId: sent[0].messageId, qos: 1 });
  // After PUBREC the message itself is not sent again.
  expect((await second.take("pubrel")).messageId).toBe(sent[1].messageId);
  second.send({ cmd: "pubcomp", messageId: sent[1].messageId });
  second.send({ cmd: "puback", messageId: sent[0].messageId });
  expect(await Promise.all(published)).toEqual([{ noSubscribers: false }, { noSubscribers: false }]);
  expect(client.pending).toBe(0);
  await client.end();
  expect((await second.take("disconnect")).reasonCode).toBe(0);
});

test("without its session: filters are asked for again, what is in flight is sent as new, in its order", async () => {
  const [client, first] = await begin(soon);
  const messages = client.messages("in/{x}", { qos: 1 });
  const asked = await first.grant();
  await messages.ready;
  const published = ["a", "b"].map((text) => client.publish("t", text, { qos: 1 }));
  await first.take("publish");
  first.cut();
  await eventually(() => client.status.state !== "connected", "the loss to be seen");
  published.push(client.publish("t", "c", { qos: 1 }));
  const second = await broker.next();
  await second.admit();
  const again = await second.grant();
  expect(again.subscriptions).toEqual(asked.subscriptions);
  expect(again.properties.subscriptionIdentifier).toBe(asked.properties.subscriptionIdentifier);
  for (const text of ["a", "b", "c"]) {
    const { payload, dup, messageId } = await second.take("publish");
    expect([payload.toString(), dup]).toEqual([text, false]);
    second.send({ cmd: "puback", messageId });
  }
  await Promise.all(published);
  await client.end();
});

test("messages of QoS 2 come once, and are released in the connection that there is; of QoS 1 what was not taken comes again, once", async () => {
  const [client, first] = await begin(session);
  const messages = client.messages("in", { qos: 2 });
  const { properties } = await first.grant();
  await messages.ready;
  const publish = (messageId: number, qos: number) => ({
    cmd: "publish",
    topic: "in",
    payload: `${messageId}`,
    qos,
    messageId,
    properties,
  });
  first.send(publish(1, 2));
  first.send(publish(2, 1));
  await eventually(() => messages.waiting === 2, "both to come");
  const { value: one } = await messages.next();
  expect(one?.text).toBe("1");
  first.cut();
  const second = await broker.next();
  await second.admit({}, true);
  await eventually(() => messages.waiting === 0, "what will come again to be let go");
  second.send({ ...publish(1, 2), dup: true });
  second.send({ ...publish(2, 1), dup: true });
  await eventually(() => messages.waiting === 1, "the second to come again");
  expect(second.packets.filter(({ cmd }) => cmd === "pubrec" || cmd === "puback")).toEqual([]);
  const { value: two } = await messages.next();
  expect([two?.text, two?.dup]).toEqual(["2", true]);
  expect((await second.take("pubrec")).messageId).toBe(1);
  second.send({ cmd: "pubrel", messageId: 1 });
  await second.take("pubcomp");
  // Released: under this packet id comes another message.
  second.send(publish(1, 2));
  const { value: next } = await messages.next();
  expect([next?.text, (await second.take("puback")).messageId]).toEqual(["1", 2]);
  await client.end();
});

test("it goes to the next broker, and to where a broker sends it", async () => {
  const [other, third] = [new ScriptedBroker(), new ScriptedBroker()];
  try {
    const states: Status[] = [];
    const connecting = connect(url(broker, other), { ...soon, onStatus: (status) => states.push(status) });
    const first = await broker.next();
    await first.admit();
    const client = await connecting;
    first.cut();
    const second = await other.next();
    await second.admit();
    await eventually(() => states.length === 5, "the second connection");
    second.send({ cmd: "disconnect", reasonCode: 0x9d, properties: { serverReference: `127.0.0.1:${third.port}` } });
    const referred = await third.next();
    await referred.admit();
    await eventually(() => states.length === 8, "the third connection");
    expect(states.map(({ state }) => state)).toEqual([
      "connecting",
      "connected",
      "reconnecting",
      "connecting",
      "connected",
      "reconnecting",
      "connecting",
      "connected",
    ]);
    expect(client.status).toMatchObject({ broker: `mqtt://127.0.0.1:${third.port}` });
    await client.end();
  } finally {
    other.stop();
    third.stop();
  }
});

test("a CONNACK that sends it elsewhere is followed, and brokers that send it to each other are not followed for ever", async () => {
  const other = new ScriptedBroker();
  try {
    const connecting = connect(url(broker), soon);
    connecting.catch(() => {});
    const to = ({ port }: ScriptedBroker): object => ({
      cmd: "connack",
      reasonCode: 0x9c,
      sessionPresent: false,
      properties: { serverReference: `127.0.0.1:${port}` },
    });
    let isOver = false;
    connecting.catch(() => {
      isOver = true;
    });
    let asked = 0;
    for (; !isOver; asked++) {
      const [here, there] = asked % 2 === 0 ? [broker, other] : [other, broker];
      await eventually(() => isOver || here.connections.length > asked >> 1, "the next one to be asked");
      if (!isOver) (await here.next()).send(to(there));
    }
    expect(asked).toBeLessThan(12);
    await expect(connecting).rejects.toMatchObject({ name: "ConnectFailed", reasonCode: 0x9c });
  } finally {
    other.stop();
  }
});

test("offline, so many messages wait and no more; which one goes is a choice", async () => {
  for (const whenFull of ["reject", "drop-oldest"] as const) {
    const connecting = connect(url(broker), { ...soon, offline: { messagesMax: 2, whenFull } });
    const first = await broker.next();
    await first.admit();
    const client = await connecting;
    first.cut();
    await eventually(() => client.status.state !== "connected", "the loss to be seen");
    const outcomes = await Promise.all(
      ["a", "b", "c"].map((text) => {
        const published = client.publish("t", text);
        return Promise.race([published.catch((error) => error), Bun.sleep(0).then(() => "waits")]);
      }),
    );
    const expected = whenFull === "reject" ? ["waits", "waits", "full"] : ["full", "waits", "waits"];
    expect(outcomes.map((outcome) => (outcome instanceof QueueFull ? "full" : outcome))).toEqual(expected);
    const second = await broker.next();
    await second.admit();
    const sent = [await second.take("publish"), await second.take("publish")];
    expect(sent.map(({ payload }) => payload.toString())).toEqual(whenFull === "reject" ? ["a", "b"] : ["b", "c"]);
    await client.end();
  }
});

test("no more is in flight than the broker takes, nothing larger, and no better QoS", async () => {
  const [client, connection] = await begin({}, { receiveMaximum: 2, maximumPacketSize: 1000, maximumQoS: 1 });
  const published = ["a", "b", "c"].map((text) => client.publish("t", text, { qos: 1 }));
  // What is written after them comes before the third.
  await client.publish("t", "at QoS 0");
  const come = [await connection.take("publish"), await connection.take("publish"), await connection.take("publish")];
  expect(come.map(({ payload }) => payload.toString())).toEqual(["a", "b", "at QoS 0"]);
  connection.send({ cmd: "puback", messageId: come[1].messageId });
  const third = await connection.take("publish");
  expect(third.payload.toString()).toBe("c");
  for (const { messageId } of [come[0], third]) connection.send({ cmd: "puback", messageId });
  await Promise.all(published);
  await expect(client.publish("t", new Uint8Array(1000))).rejects.toBeInstanceOf(MqttError);
  await expect(client.publish("t", "", { qos: 2 })).rejects.toThrow("no more than QoS 1");
  await client.end();
});

test("an aborted publish that was not sent is not sent; end() waits for what is under way, and lets go of the rest", async () => {
  const [client, connection] = await begin({}, { receiveMaximum: 1 });
  const aborting = new AbortController();
  const first = client.publish("t", "first", { qos: 1 });
  const aborted = client.publish("t", "aborted", { qos: 1, signal: aborting.signal });
  const last = client.publish("t", "last", { qos: 1 });
  aborting.abort(new Error("not any more"));
  await expect(aborted).rejects.toThrow("not any more");
  const ending = client.end({ timeoutMs: 60_000 });
  connection.send({ cmd: "puback", messageId: (await connection.take("publish")).messageId });
  const { payload, messageId } = await connection.take("publish");
  expect(payload.toString()).toBe("last");
  connection.send({ cmd: "puback", messageId });
  await Promise.all([first, last, ending]);
  await connection.take("disconnect");
  await expect(client.publish("t", "")).rejects.toBeInstanceOf(ClientClosed);
});

test("waits between attempts are drawn between 0 and twice the last bound", async () => {
  const waits: number[] = [];
  const connecting = connect(url(broker), {
    reconnect: { minMs: 4, maxMs: 16 },
    onStatus: (status) => {
      if (status.state === "reconnecting") waits.push(status.inMs);
    },
  });
  await (await broker.next()).admit();
  const client = await connecting;
  broker.connections[0]!.cut();
  // Nobody answers there any more.
  broker.stop();
  await eventually(() => waits.length >= 40, "forty attempts");
  await client.end();
  expect(waits[0]).toBeLessThanOrEqual(4);
  expect(waits[1]).toBeLessThanOrEqual(8);
  expect(Math.max(...waits)).toBeLessThanOrEqual(16);
  // Forty draws that are all alike would not be drawn.
  expect(new Set(waits.slice(2)).size).toBeGreaterThan(4);
});

test("a connection that is never answered is given up for the next broker", async () => {
  const silent = new ScriptedBroker();
  try {
    const connecting = connect(url(silent, broker), { ...soon, connectTimeoutMs: 1500 });
    await (await broker.next()).admit();
    const client = await connecting;
    expect(client.status).toMatchObject({ broker: `mqtt://127.0.0.1:${broker.port}` });
    await client.end();
    silent.stop();
    broker.stop();
    await expect(connect(url(silent), { connectTimeoutMs: 50 })).rejects.toMatchObject({
      name: "ConnectFailed",
      reasonCode: undefined,
    });
  } finally {
    silent.stop();
  }
});
