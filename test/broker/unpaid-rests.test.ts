/**
 * Rests in the store that nobody pays for: packet ids that are never released, slips whose clients never give their
 * packet ids back, slips for what lies in mail drops. Hostile clients take all of it that they can, and the store holds
 * no more than is paid for and as many of them as a session may have.
 */
import { expect, test } from "bun:test";
import { audit, heldBy, type StoredSlip } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { weightPaidBy } from "../../src/bank/price.ts";
import { heldIdsFreeMax, slipsFreeMax } from "../../src/base/bank-limits.ts";
import { walk } from "../../src/coordinator/mirror.ts";
import { isHeldId, isMailbox, parentPath, sessionPath, sessionsPath } from "../../src/coordinator/paths.ts";
import { dropSlipsFreeWeightOf, nodeWeightOf, sessionWeightOf } from "../../src/coordinator/weight.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";
import { unpaidIn } from "../support/unpaid-slips.ts";

const patienceMs = 60_000;
const maxInflight = 16;
const lasting = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 1000 } };
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

/** The nodes below sessions that are free of charge: their weight, and how many each session has. */
interface Rests {
  readonly weight: number;
  readonly bySession: ReadonlyMap<string, number>;
}

/** Counts and weighs packet ids that nobody pays for, or all slips. */
async function restsOf(broker: TestBroker, kind: "ids" | "slips"): Promise<Rests> {
  const bySession = new Map<string, number>();
  let weight = 0;
  await walk(broker.server.broker.context.coordinator, sessionsPath, (path, { data }) => {
    const isRest = kind === "ids" ? isHeldId(path) && data.length === 0 : isMailbox(parentPath(path));
    if (!isRest) return;
    const session = parentPath(parentPath(path));
    bySession.set(session, 1 + (bySession.get(session) ?? 0));
    weight += nodeWeightOf(path, data.length);
  });
  return { weight, bySession };
}

/** Expects the store to hold no more than what is paid for and those rests, and the bank to balance. */
async function expectBound(broker: TestBroker, restWeight: number): Promise<void> {
  const { coordinator, clock, bankAccount, journal } = broker.server.broker.context;
  const taken = async () => {
    await new Promise<void>((done) => journal.drained(done));
    return (await takeWeighed(coordinator, clock.wall()))!;
  };
  const isBounded = async (): Promise<boolean> => {
    const { weight } = await taken();
    return weight <= weightPaidBy(bankAccount.account.bound) + restWeight;
  };
  await eventually(isBounded, "no more is stored than is paid for, besides the rests", patienceMs);
  expect(audit(await taken(), { graceMs: 60_000 })).toEqual([]);
}

/**
 * Returns what is bound for clients, in milli-credits, without what the broker announces, which it may do at any time;
 * the broker must have counted the same as there is in the store.
 */
async function heldIn(broker: TestBroker): Promise<number> {
  const { coordinator, clock, bankAccount, journal } = broker.server.broker.context;
  let held = 0;
  const isCounted = async (): Promise<boolean> => {
    await new Promise<void>((done) => journal.drained(done));
    const by = heldBy((await takeWeighed(coordinator, clock.wall()))!);
    const announced = by.get(null)?.credits ?? 0;
    held = [...by.values()].reduce((sum, { credits }) => sum + credits, -announced);
    return held + announced === bankAccount.account.bound;
  };
  await eventually(isCounted, "the broker has counted what is in the store", patienceMs);
  return held;
}

/** Ends sessions by beginning them anew, and expects all that they have left in the store to go, with its credits. */
async function expectNothingLeft(broker: TestBroker, clientIds: readonly string[]): Promise<void> {
  for (const clientId of clientIds) {
    const client = await RawClient.connect(broker.port, { clientId });
    client.disconnect();
    await client.untilClosed();
  }
  const { bankAccount, coordinator } = broker.server.broker.context;
  const isEmpty = async (): Promise<boolean> => {
    let nodes = 0;
    await walk(coordinator, sessionsPath, (path) => {
      if (path.split("/").length > 3) nodes++;
    });
    return nodes === 0 && bankAccount.account.bound === 0;
  };
  await eventually(isEmpty, "all of it has gone", patienceMs);
}

async function leave(client: RawClient): Promise<void> {
  client.disconnect();
  await client.untilClosed();
}

test("packet ids that are never released: a few are paid for with the session, and each further one by itself", async () => {
  let broker = await startBroker({ maxInflight: 60 });
  const old = numbers(4).map((number) => `old-${number}`);
  const late = numbers(3).map((number) => `late-${number}`);
  // Before MQTT 5 there is no Receive Maximum.
  for (const clientId of old) {
    const client = await RawClient.connect(broker.port, { clientId, clean: false });
    for (const messageId of numbers(150)) client.publish("nobody", "x", { qos: 2, messageId });
    await client.takeMany("pubrec", 150);
    client.abort();
  }
  // And it begins anew with each connection.
  for (const clientId of late)
    for (const visit of numbers(8)) {
      const client = await RawClient.connect(broker.port, { ...lasting, clientId });
      for (const id of numbers(maxInflight))
        client.publish("nobody", "x", { qos: 2, messageId: visit * maxInflight + id });
      await client.takeMany("pubrec", maxInflight);
      await leave(client);
    }
  const sessions = old.length + late.length;
  const expectHeld = async (): Promise<void> => {
    const { bySession } = await restsOf(broker, "ids");
    expect([...bySession.values()]).toEqual(Array.from({ length: sessions }, () => heldIdsFreeMax));
    await expectBound(broker, 0);
  };
  await expectHeld();
  const held = await heldIn(broker);
  broker = await broker.restart();
  expect(await heldIn(broker)).toBe(held);
  await expectHeld();
  // What is released is free again, whoever paid for it.
  const back = await RawClient.connect(broker.port, { clientId: old[0], clean: false });
  for (const messageId of numbers(150)) back.send({ cmd: "pubrel", messageId });
  await back.takeMany("pubcomp", 150);
  expect(await heldIn(broker)).toBeLessThan(held - 130 * 40 * 448);
  await leave(back);
  await expectNothingLeft(broker, [...old, ...late]);
  await broker.stop();
}, 120_000);

test("a packet id that nobody can pay for is refused in words; what is released makes room", async () => {
  const broker = await startBroker({ maxInflight });
  const { context } = broker.server.broker;
  const send = (client: RawClient, messageId: number): Promise<AnyPacket> => {
    client.publish("nobody", "x", { qos: 2, messageId });
    return client.take("pubrec");
  };
  const first = await RawClient.connect(broker.port, { ...lasting, clientId: "c" });
  for (const id of numbers(maxInflight)) expect((await send(first, id)).reasonCode).toBeLessThan(0x80);
  await leave(first);
  await leaveCredits(context, 10);
  const client = await RawClient.connect(broker.port, { ...lasting, clientId: "c" });
  const refused = await send(client, 100);
  expect(refused.reasonCode).toBe(0x97);
  expect(refused.properties.reasonString).toMatch(/^the bank cannot pay: .*price \d+/);
  for (const messageId of numbers(maxInflight)) client.send({ cmd: "pubrel", messageId });
  await client.takeMany("pubcomp", maxInflight);
  // One at a time goes on, whatever the bank has.
  await leaveCredits(context, 10);
  for (const messageId of [100, 101]) {
    expect((await send(client, messageId)).reasonCode).toBeLessThan(0x80);
    expect((await send(client, messageId + 100)).reasonCode).toBe(0x97);
    client.send({ cmd: "pubrel", messageId });
    await client.take("pubcomp");
  }
  await leave(client);
  await expectNothingLeft(broker, ["c"]);
  await broker.stop();
}, 120_000);

/** Takes all that comes, until nothing more does, answers each message with `ack`, and says how many there were. */
async function takeAll(client: RawClient, ack: "pubrec" | "puback" | "none"): Promise<number> {
  let taken = 0;
  for (let idle = 0; idle < 20; ) {
    await client.ping();
    const packets = client.packets.filter(({ cmd }) => cmd === "publish");
    client.packets.splice(0);
    for (const { messageId } of packets) if (ack !== "none") client.send({ cmd: ack, messageId });
    taken += packets.length;
    idle = packets.length === 0 ? idle + 1 : 0;
    await Bun.sleep(5);
  }
  return taken;
}

/** Begins sessions that subscribe to a filter at QoS 2. */
async function subscribeAll(broker: TestBroker, clientIds: readonly string[], filter: string): Promise<void> {
  for (const clientId of clientIds) {
    const client = await RawClient.connect(broker.port, { ...lasting, clientId });
    await client.subscribe(filter, { qos: 2 });
    await leave(client);
  }
}

/** Publishes messages at QoS 2, each on a topic of its own. */
async function publishAll(broker: TestBroker, topic: string, count: number, properties: object = {}): Promise<void> {
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  for (const messageId of numbers(count)) {
    publisher.publish(`${topic}/${messageId}`, "x", { qos: 2, messageId, properties });
    await publisher.take("pubrec");
    publisher.send({ cmd: "pubrel", messageId });
    await publisher.take("pubcomp");
  }
  await leave(publisher);
}

/** Has each client come several times, answer messages with `ack`, and never give a packet id back. */
async function visitAll(broker: TestBroker, clientIds: readonly string[], ack: "pubrec" | "none"): Promise<void> {
  for (const _visit of numbers(4))
    for (const clientId of clientIds) {
      const client = await RawClient.connect(broker.port, { ...lasting, clientId });
      await takeAll(client, ack);
      client.abort();
    }
}

async function slipsOf(broker: TestBroker): Promise<readonly StoredSlip[]> {
  const { coordinator, clock, journal } = broker.server.broker.context;
  await new Promise<void>((done) => journal.drained(done));
  return (await takeWeighed(coordinator, clock.wall()))!.slips;
}

/** A client takes what is left at QoS 2, to the end of each exchange. Returns how many messages came. */
async function finishAll(broker: TestBroker, clientId: string, count: number): Promise<void> {
  const client = await RawClient.connect(broker.port, { ...lasting, clientId });
  let received = 0;
  const answered = (): boolean => {
    for (const { cmd, messageId } of client.packets.splice(0)) {
      if (cmd === "publish") received++;
      if (cmd === "publish") client.send({ cmd: "pubrec", messageId });
      if (cmd === "pubrel") client.send({ cmd: "pubcomp", messageId });
    }
    return received === count;
  };
  await client.until(answered, "all the rest");
  client.abort();
}

test("slips whose packet ids are never given back are as many as the window, and each is paid for", async () => {
  let broker = await startBroker({ maxInflight });
  const clientIds = numbers(3).map((number) => `c-${number}`);
  const total = 5 * maxInflight;
  // Their paths are long, and what is left of a slip names none.
  await subscribeAll(broker, clientIds, "mail/#");
  await publishAll(broker, `mail/${"long".repeat(100)}`, total);
  await visitAll(broker, clientIds, "pubrec");
  const slips = await slipsOf(broker);
  expect(slips.filter(({ isReleased }) => isReleased).length).toBe(clientIds.length * maxInflight);
  expect(slips.length).toBe(clientIds.length * total);
  await expectBound(broker, 0);
  const held = await heldIn(broker);
  broker = await broker.restart();
  expect(await heldIn(broker)).toBe(held);
  await expectBound(broker, 0);
  // Whoever gives them back is sent all the rest.
  for (const clientId of clientIds) await finishAll(broker, clientId, total - maxInflight);
  await expectNothingLeft(broker, clientIds);
  await broker.stop();
}, 120_000);

test("slips whose messages have lapsed are paid for until their packet ids are given back", async () => {
  let broker = await startBroker({ maxInflight });
  const clientIds = numbers(3).map((number) => `c-${number}`);
  await subscribeAll(broker, clientIds, "mail/#");
  await publishAll(broker, `mail/${"long".repeat(100)}`, maxInflight, { messageExpiryInterval: 3 });
  await visitAll(broker, clientIds, "none");
  const hasLapsed = async (): Promise<boolean> => {
    broker.server.broker.handle({ kind: "sweep", done: (why) => expect(why).toBeUndefined() });
    const slips = await slipsOf(broker);
    return slips.length === clientIds.length * maxInflight && slips.every(({ isReleased }) => isReleased);
  };
  await eventually(hasLapsed, "all messages have lapsed", patienceMs);
  await expectBound(broker, 0);
  broker = await broker.restart();
  await expectBound(broker, 0);
  for (const clientId of clientIds) {
    const client = await RawClient.connect(broker.port, { ...lasting, clientId });
    for (const { messageId } of await client.takeMany("pubrel", maxInflight))
      client.send({ cmd: "pubcomp", messageId });
    await client.ping();
    await leave(client);
  }
  expect(await slipsOf(broker)).toEqual([]);
  // What has paid for them is given back, too, whoever has paid.
  const { coordinator } = broker.server.broker.context;
  await walk(coordinator, sessionsPath, (path) => expect(isHeldId(path) ? path : undefined).toBeUndefined());
  await expectNothingLeft(broker, clientIds);
  await broker.stop();
}, 120_000);

test("where nobody can pay for more slips a client gets its mail a few messages at a time", async () => {
  const broker = await startBroker({ maxInflight });
  const total = 2 * maxInflight;
  await subscribeAll(broker, ["c"], "mail/#");
  // They are cheap: what comes free with the first does not pay for more slips.
  await publishAll(broker, "mail", total, { messageExpiryInterval: 1000 });
  await leaveCredits(broker.server.broker.context, 10);
  await visitAll(broker, ["c"], "pubrec");
  const released = (await slipsOf(broker)).filter(({ isReleased }) => isReleased);
  expect(released.length).toBe(slipsFreeMax);
  await expectBound(broker, 0);
  await finishAll(broker, "c", total - slipsFreeMax);
  await expectNothingLeft(broker, ["c"]);
  await broker.stop();
}, 120_000);

test("slips for what lies in mail drops are paid for, and as many as one take and half a window for a session", async () => {
  const maxQueued = 100;
  const options = { maxInflight, maxQueued, mailDrop: ["drop/#"] };
  let broker = await startBroker(options);
  const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
  const topic = `drop/a/${"b".repeat(200)}`;
  // They pay for little but their weight.
  const properties = { messageExpiryInterval: 1000 };
  for (const messageId of numbers(200)) {
    publisher.publish(topic, "x", { qos: 1, messageId, properties });
    await publisher.take("puback");
  }
  const clientIds = numbers(3).map((number) => `c-${number}`);
  const filters = ["drop/#", "drop/a/#", topic, "drop/+/+", "drop/a/+", "+/a/+"];
  for (const clientId of clientIds) {
    const client = await RawClient.connect(broker.port, { ...lasting, clientId });
    for (const filter of filters) await client.subscribe(filter, { qos: 2 });
    client.abort();
  }
  const expectHeld = async (): Promise<void> => {
    for (const clientId of clientIds) {
      const client = await RawClient.connect(broker.port, { ...lasting, clientId });
      await takeAll(client, "none");
      client.abort();
    }
    const { bySession } = await restsOf(broker, "slips");
    expect(bySession.size).toBe(clientIds.length);
    for (const count of bySession.values()) {
      expect(count).toBeGreaterThan(maxInflight / 2);
      expect(count).toBeLessThanOrEqual(maxInflight / 2 + maxQueued / 4);
    }
    const { coordinator, clock } = broker.server.broker.context;
    expect(await unpaidIn(coordinator)).toEqual([]);
    const { places } = (await takeWeighed(coordinator, clock.wall()))!;
    for (const path of clientIds.map(sessionPath)) {
      const { credits } = places.find((place) => place.path === path)!;
      expect(weightPaidBy(credits)).toBeGreaterThan(sessionWeightOf(path, 0) + dropSlipsFreeWeightOf(path));
    }
    await expectBound(broker, 0);
  };
  await expectHeld();
  await expectHeld();
  broker = await broker.restart();
  await expectHeld();
  for (const clientId of clientIds) {
    const client = await RawClient.connect(broker.port, { clientId });
    await leave(client);
  }
  const { coordinator } = broker.server.broker.context;
  await eventually(
    async () => (await restsOf(broker, "slips")).bySession.size === 0,
    "the slips have gone",
    patienceMs,
  );
  await walk(coordinator, sessionsPath, (path) => expect(path.split("/").length).toBeLessThan(5));
  await broker.stop();
}, 120_000);
