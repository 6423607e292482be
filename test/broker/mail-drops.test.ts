/** Mail drops: what is published is there for whoever comes later, in one order with what comes then. */
import { expect, test } from "bun:test";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const five = { protocolVersion: 5 };
const text = ({ payload }: AnyPacket): string => payload.toString();
const drop = (options = {}): Promise<TestBroker> => startBroker({ mailDrop: ["drop/#"], ...options });

async function publishAll(port: number, topic: string, payloads: readonly string[], qos = 1): Promise<void> {
  const client = await RawClient.connect(port);
  payloads.forEach((payload, index) => {
    client.publish(topic, payload, { qos, messageId: qos === 0 ? undefined : index + 1 });
  });
  if (qos > 0) await client.takeMany(qos === 1 ? "puback" : "pubrec", payloads.length);
  await client.ping();
  client.disconnect();
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => String(from + index));
}

/** Takes so many messages, acknowledges them, and returns their payloads. */
async function read(client: RawClient, count: number): Promise<string[]> {
  const packets = await client.takeMany("publish", count);
  for (const { qos, messageId } of packets) {
    if (qos === 1) client.send({ cmd: "puback", messageId });
    if (qos === 2) client.send({ cmd: "pubrec", messageId });
  }
  return packets.map(text);
}

test("a later subscriber is handed what lies there, oldest first, at every QoS; then what comes", async () => {
  const broker = await drop();
  for (const qos of [0, 1, 2]) await publishAll(broker.port, `drop/${qos}`, numbers(0, 20), qos);
  await publishAll(broker.port, "elsewhere/x", ["lost"]);
  for (const qos of [0, 1, 2]) {
    const client = await RawClient.connect(broker.port);
    await client.subscribe(`drop/${qos}`, { qos: 2 });
    expect(await read(client, 20)).toEqual(numbers(0, 20));
    await publishAll(broker.port, `drop/${qos}`, numbers(20, 25), qos);
    expect(await read(client, 5)).toEqual(numbers(20, 25));
    await client.ping();
    expect(client.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  }
  const late = await RawClient.connect(broker.port);
  await late.subscribe("elsewhere/x", { qos: 1 });
  await late.ping();
  expect(late.packets).toEqual([]);
  await broker.stop();
});

test("no gap, no duplicate, no overtaking while messages arrive during the hand-over, also on wildcards", async () => {
  const broker = await drop();
  const { metrics } = broker.server.broker.context;
  const total = 600;
  const publishers = await Promise.all(["a", "b", "c"].map(() => RawClient.connect(broker.port)));
  const sent = publishers.map(async (publisher, which) => {
    for (let index = 0; index < total; index++) {
      publisher.publish(`drop/${which}/x`, `${which} ${index}`, { qos: index % 2, messageId: (index % 60_000) + 1 });
      if (index % 100 === 99) await publisher.ping();
    }
  });
  const subscribers: Promise<void>[] = [];
  for (let index = 0; index < 8; index++) {
    // They come one after the other, while it is published.
    await eventually(() => metrics.publishesReceived >= index * 150, "more is published");
    subscribers.push(follow(broker.port, index));
  }
  await Promise.all([...sent, ...subscribers]);
  await broker.stop();

  async function follow(port: number, index: number): Promise<void> {
    const isPersistent = index % 2 === 1;
    const client = await RawClient.connect(port, { clean: !isPersistent, clientId: `follower-${index}` });
    await client.subscribe(["drop/#", "drop/+/x"][index >> 2]!, { qos: 1 });
    const next = [0, 0, 0];
    const last = new Map<string, number>();
    for (let count = 0; count < 3 * total; count++) {
      const packet = await client.take("publish");
      if (packet.qos === 1) client.send({ cmd: "puback", messageId: packet.messageId });
      const [which, number] = text(packet).split(" ").map(Number) as [number, number];
      const key = `${which} ${number % 2}`;
      expect(number).toBe((last.get(key) ?? (number % 2) - 2) + 2);
      last.set(key, number);
      // A session that ends with its connection gets everything in one order.
      if (!isPersistent) expect(number).toBe(next[which]!++);
    }
    await client.ping();
    expect(client.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    client.disconnect();
  }
}, 120_000);

test("a session that outlives its connection goes on where it was: nothing twice, nothing missed, after a restart too", async () => {
  let broker = await drop();
  for (const [qos, ack] of [
    [1, "puback"],
    [2, "pubrec"],
  ] as const) {
    const topic = `drop/s${qos}`;
    const clientId = `session-${qos}`;
    await publishAll(broker.port, topic, numbers(0, 5), qos);
    const first = await RawClient.connect(broker.port, { clean: false, clientId });
    await first.subscribe(topic, { qos });
    for (const { messageId } of await first.takeMany("publish", 5)) {
      first.send({ cmd: ack, messageId });
      if (qos === 2) {
        await first.take("pubrel");
        first.send({ cmd: "pubcomp", messageId });
      }
    }
    await first.ping();
    first.disconnect();
    await first.untilClosed();
    await publishAll(broker.port, topic, numbers(5, 10), qos);
    if (qos === 2) broker = await broker.restart();
    const second = await RawClient.connect(broker.port, { clean: false, clientId });
    expect(await read(second, 5)).toEqual(numbers(5, 10));
    await second.ping();
    expect(second.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    second.disconnect();
    await second.untilClosed();
  }
  await broker.stop();
});

test("what has outlived its time is not handed out, and its credits come back", async () => {
  const broker = await drop();
  const { bankAccount } = broker.server.broker.context;
  const publisher = await RawClient.connect(broker.port, five);
  publisher.publish("drop/brief", "gone soon", { qos: 1, messageId: 1, properties: { messageExpiryInterval: 1 } });
  await publisher.take("puback");
  publisher.publish("drop/brief", "stays", { qos: 1, messageId: 2 });
  await publisher.take("puback");
  expect(bankAccount.account.messages).toBe(2);
  await eventually(() => Date.now() > 0 && bankAccount.account.messages === 2, "both are there");
  const until = Date.now() + 1100;
  await eventually(() => Date.now() > until, "a second is over");
  const late = await RawClient.connect(broker.port);
  await late.subscribe("drop/brief", { qos: 1 });
  expect(await read(late, 1)).toEqual(["stays"]);
  await broker.stop();
});

test("what the bank cannot pay reaches nobody; a publish on a mail drop nobody hears is no miss", async () => {
  const broker = await drop({ bankCapital: 400, bankTtlMin: 60, bankTtlMax: 60 });
  const publisher = await RawClient.connect(broker.port, five);
  const listener = await RawClient.connect(broker.port, five);
  await listener.subscribe("drop/#", { qos: 1 });
  const codes: number[] = [];
  for (let index = 0; index < 6; index++) {
    publisher.publish("drop/x", "x".repeat(1000), { qos: 1, messageId: index + 1 });
    codes.push((await publisher.take("puback")).reasonCode);
  }
  const taken = codes.filter((code) => code === 0).length;
  expect(taken).toBeGreaterThan(0);
  expect(codes.slice(taken).every((code) => code === 0x97)).toBe(true);
  expect((await listener.takeMany("publish", taken)).length).toBe(taken);
  await listener.ping();
  expect(listener.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  await broker.stop();
});

test("retained messages, no local, retain as published and retain handling", async () => {
  const broker = await drop();
  const publisher = await RawClient.connect(broker.port, { ...five, clientId: "author" });
  publisher.publish("drop/kept", "plain", { qos: 1, messageId: 1 });
  publisher.publish("drop/kept", "kept", { qos: 1, messageId: 2, retain: true });
  publisher.publish("drop/kept", "after", { qos: 1, messageId: 3 });
  await publisher.takeMany("puback", 3);
  const subscribe = async (client: RawClient, options: AnyPacket): Promise<void> => {
    client.send({ cmd: "subscribe", messageId: 9, subscriptions: [{ topic: "drop/#", qos: 1, ...options }] });
    await client.take("suback");
  };
  const late = await RawClient.connect(broker.port, five);
  await subscribe(late, { rap: true });
  const got = await late.takeMany("publish", 3);
  // The retained message comes once, in its turn.
  expect(got.map((packet) => [text(packet), packet.retain])).toEqual([
    ["plain", false],
    ["kept", true],
    ["after", false],
  ]);
  const modest = await RawClient.connect(broker.port, five);
  await subscribe(modest, { rh: 2 });
  await subscribe(publisher, { nl: true });
  publisher.publish("drop/kept", "new", { qos: 1, messageId: 4 });
  await publisher.take("puback");
  expect(text(await modest.take("publish"))).toBe("new");
  await publisher.ping();
  expect(publisher.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  await broker.stop();
});

test("shared subscriptions and wills; and who unsubscribes is handed nothing more", async () => {
  const broker = await drop();
  const member = await RawClient.connect(broker.port);
  await member.subscribe("$share/g/drop/#", { qos: 1 });
  const listener = await RawClient.connect(broker.port, { clean: false, clientId: "listener" });
  await listener.subscribe("drop/#", { qos: 1 });
  const doomed = await RawClient.connect(broker.port, { will: { topic: "drop/will", payload: "farewell", qos: 1 } });
  doomed.abort();
  expect(await read(member, 1)).toEqual(["farewell"]);
  expect(await read(listener, 1)).toEqual(["farewell"]);
  listener.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["drop/#"] });
  await listener.take("unsuback");
  await publishAll(broker.port, "drop/x", ["unheard"]);
  await listener.ping();
  expect(listener.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
  await listener.subscribe("drop/x", { qos: 0 });
  expect(await read(listener, 1)).toEqual(["unheard"]);
  await broker.stop();
});
