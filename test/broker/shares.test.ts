/**
 * The shares of users: what is stored for one of them takes no more than a part of the bank, whatever it is, whoever
 * stores it, and after a restart. Random packets of three users; a failure prints its seed.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { hashForScram } from "../../src/access/hashes.ts";
import { audit, heldBy } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { milli } from "../../src/bank/price.ts";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { fill } from "../support/credits.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-shares-"));
const names = ["alice", "bob", "reader", "writer", "mourned", "asking"];

beforeAll(async () => {
  const salt = Buffer.from("salt");
  const entry = async (name: string) => `${name}:${await hashForScram(`${name}-pw`, { iterations: 1, salt })}\n`;
  const entries = await Promise.all(names.map(entry));
  writeFileSync(join(folder, "one"), entries[0]!);
  writeFileSync(join(folder, "all"), entries.join(""));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts a broker that knows all of them, and takes anonymous clients. */
const start = (options: Partial<BrokerOptions>): Promise<TestBroker> =>
  startBroker({ passwordFile: join(folder, "all"), allowAnonymous: true, ...options });

/** A CONNECT of a user; "": anonymous. */
const as = (user: string, clientId: string, more: AnyPacket = {}): AnyPacket => ({
  ...{ protocolVersion: 5, clean: false, clientId, properties: { sessionExpiryInterval: 1000 } },
  ...(user === "" ? {} : { username: user, password: Buffer.from(`${user}-pw`) }),
  ...more,
});

/** Returns what users hold, in milli-credits: as the broker counts it, and as the tree says. */
async function holdings({ server }: TestBroker): Promise<{ here: [string, number][]; stored: [string, number][] }> {
  const { coordinator, clock, bankAccount } = server.broker.context;
  const taken = (await takeWeighed(coordinator, clock.wall()))!;
  const users = [...heldBy(taken)].flatMap(([user, { credits }]): [string, number][] =>
    user === null || credits === 0 ? [] : [[user, credits]],
  );
  const here = [...bankAccount.account.shares.holders()].map(({ user, held }): [string, number] => [user, held]);
  return { here: here.sort(), stored: users.sort() };
}

/** Waits until the broker counts for each user what the tree says. */
async function untilCounted(broker: TestBroker): Promise<[string, number][]> {
  const isSame = async (): Promise<boolean> => {
    const { here, stored } = await holdings(broker);
    return JSON.stringify(here) === JSON.stringify(stored);
  };
  await eventually(isSame, "the broker counts what the tree says", 60_000);
  return (await holdings(broker)).stored;
}

test("where all of the bank may be one user's, what is left of it at last is for clients that hold little", async () => {
  const broker = await startBroker({ bankCapital: 10_000 });
  const { metrics, bankAccount } = broker.server.broker.context;
  const hoarder = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "hoarder" });
  const { taken, why } = await fill(hoarder, "hoard");
  expect(why).toMatch(
    /it is nearly empty, and client "hoarder" holds more than is left \(9\d\d\d\.\d credits\): price/,
  );
  expect([metrics.refusedByShare, metrics.refusedByBank]).toEqual([0, 1]);
  const { held } = bankAccount.account.shares.of("", "hoarder");
  expect(held).toBeGreaterThan((15 / 16) * 10_000 * milli - 2 * (held / taken));
  const honest = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "honest" });
  honest.publish("state/x", "on", { qos: 1, messageId: 1, retain: true });
  expect((await honest.take("puback")).reasonCode).toBe(0);
  const old = await RawClient.connect(broker.port, { clientId: "old" });
  old.publish("state/y", "on", { qos: 1, messageId: 1, retain: true });
  expect((await old.take("puback")).messageId).toBe(1);
  // What is cleared is its own again.
  for (let number = 1; number <= 9; number++) {
    hoarder.publish(`hoard/${number}`, "", { qos: 1, messageId: number, retain: true });
    expect((await hoarder.take("puback")).reasonCode).toBe(0);
  }
  hoarder.publish("hoard/1", "x".repeat(1000), { qos: 1, messageId: 1, retain: true });
  expect((await hoarder.take("puback")).reasonCode).toBe(0);
  await broker.stop();
});

test("a user whose share is used up is told so, others are served; what goes is his again", async () => {
  const broker = await start({ bankCapital: 10_000, bankShare: 25 });
  const { metrics, bankAccount } = broker.server.broker.context;
  const alice = await RawClient.connect(broker.port, as("alice", "a"));
  const first = await fill(alice, "alice");
  expect(first.why).toMatch(/the share of "alice" is used up \(25 % of it, 2\d\d\d\.\d credits held\): price \d+/);
  expect(bankAccount.account.shares.heldBy("alice")).toBeGreaterThan(2400 * milli);
  expect(bankAccount.account.shares.heldBy("alice")).toBeLessThanOrEqual(2500 * milli);
  expect([metrics.refusedByShare, metrics.refusedByBank]).toEqual([1, 0]);
  // Nor may he have anything else, at whichever client, but what costs nothing.
  const other = await RawClient.connect(broker.port, as("alice", "b", { clean: true, properties: {} }));
  expect((await fill(other, "more")).taken).toBe(0);
  const dialled = await RawClient.dial(broker.port, 5);
  dialled.send(connectPacket(as("alice", "c")));
  const refused = await dialled.take("connack");
  expect([refused.reasonCode, refused.properties.reasonString]).toEqual([0x97, expect.stringContaining('"alice"')]);
  const suback = await alice.subscribe("x/y/z/long/filter", { qos: 1 });
  expect(suback.granted).toEqual([0x97]);
  expect(suback.properties.reasonString).toContain('the share of "alice" is used up');
  // Before MQTT 5 there is no such answer: the publish is held, and the connection closed.
  const old = await RawClient.connect(
    broker.port,
    as("alice", "old", { protocolVersion: 4, clean: true, properties: undefined }),
  );
  old.publish("old/x", "x".repeat(1000), { qos: 1, messageId: 1, retain: true });
  // Nobody else notices.
  const bob = await RawClient.connect(broker.port, as("bob", "bob"));
  const nobody = await RawClient.connect(broker.port, as("", "nobody"));
  expect((await fill(bob, "bob")).why).toContain('the share of "bob" is used up');
  expect((await fill(nobody, "nobody")).why).toContain("the share of anonymous clients is used up");
  // What is cleared is paid back: alice's held publish is taken as well.
  for (let number = 1; number <= 5; number++) {
    alice.publish(`alice/${number}`, "", { qos: 1, messageId: number, retain: true });
    expect((await alice.take("puback")).reasonCode).toBe(0);
  }
  expect((await old.take("puback")).messageId).toBe(1);
  await untilCounted(broker);
  const again = await broker.restart();
  expect((await untilCounted(again)).map(([user]) => user)).toEqual(["", "alice", "bob"]);
  const back = await RawClient.connect(again.port, as("alice", "a"));
  expect((await fill(back, "again")).taken).toBeLessThan(5);
  await again.stop();
}, 120_000);

test("mail is its publisher's, whoever it is for; copies of what is retained are the subscriber's", async () => {
  const broker = await start({ bankShare: 30, mailDrop: ["drop/#"] });
  const reader = await RawClient.connect(broker.port, as("reader", "r"));
  await reader.subscribe("mail/#", { qos: 1 });
  reader.disconnect();
  await reader.untilClosed();
  const sessionOf = new Map(await untilCounted(broker));
  const writer = await RawClient.connect(broker.port, as("writer", "w", { clean: true, properties: {} }));
  for (const [index, topic] of ["mail/x", "drop/x", "kept/x"].entries()) {
    writer.publish(topic, "1", { qos: 1, messageId: index + 1, retain: topic.startsWith("kept") });
    await writer.take("puback");
  }
  const written = new Map(await untilCounted(broker));
  expect(written.get("reader")).toBe(sessionOf.get("reader")!);
  expect(written.get("writer")).toBeGreaterThan(0);
  // A will is its client's, and so is what comes of it.
  const will = { topic: "mail/gone", payload: "gone", qos: 1, retain: false };
  const mourned = await RawClient.connect(broker.port, as("mourned", "m", { clean: true, properties: {}, will }));
  expect(new Map(await untilCounted(broker)).get("mourned")).toBeGreaterThan(0);
  mourned.close();
  await eventually(async () => (await holdings(broker)).stored.length === 3, "the will is mail", 60_000);
  expect(new Map(await untilCounted(broker)).get("mourned")).toBeGreaterThan(0);
  const again = await broker.restart();
  expect((await untilCounted(again)).map(([user]) => user)).toEqual(["mourned", "reader", "writer"]);
  // One that asks for a copy of the retained message, and goes without acknowledging it.
  const asking = await RawClient.connect(again.port, as("asking", "k"));
  await asking.subscribe("kept/#", { qos: 1 });
  const before = (await holdings(again)).here;
  await asking.take("publish");
  asking.close();
  await eventually(
    async () => {
      const { stored } = await holdings(again);
      const [now] = stored.filter(([user]) => user === "asking");
      return now !== undefined && now[1] > sessionOf.get("reader")!;
    },
    "the copy is stored for who has asked",
    60_000,
  );
  const writerHas = (all: [string, number][]): number => new Map(all).get("writer")!;
  expect(writerHas(await untilCounted(again))).toBe(writerHas(before));
  await again.stop();
}, 120_000);

test("without a word of the operator's, several users have 25 % each, and one has all of it", async () => {
  const percentOf = async (options: Parameters<typeof startBroker>[0]): Promise<number> => {
    const broker = await startBroker(options);
    const { percent } = broker.server.broker.context.bankAccount.account.shares;
    await broker.stop();
    return percent;
  };
  const one = join(folder, "one");
  expect(await percentOf({})).toBe(100);
  expect(await percentOf({ passwordFile: one })).toBe(100);
  expect(await percentOf({ passwordFile: one, allowAnonymous: true })).toBe(25);
  expect(await percentOf({ passwordFile: join(folder, "all") })).toBe(25);
  expect(await percentOf({ passwordFile: join(folder, "all"), bankShare: 60 })).toBe(60);
  expect(await percentOf({ authHook: "http://127.0.0.1:1/" })).toBe(25);
});

const capital = 6000;
const user = fc.constantFrom("alice", "bob", "");
const topic = fc.constantFrom("a", "a/b", "long/".repeat(10), "drop/x", "ä/ö");
const size = fc.constantFrom(0, 1, 300, 5000);
type Step = (broker: TestBroker) => Promise<void>;

const visit = fc
  .record({ user, number: fc.nat(2), lasts: fc.boolean(), filters: fc.array(topic, { maxLength: 3 }), will: size })
  .map(({ user: name, number, lasts, filters, will: bytes }): Step => {
    return async (broker) => {
      const will = { topic: "a/b", payload: "w".repeat(bytes), qos: 1, retain: lasts };
      const packet = as(name, `${name}-${number}`, { ...(bytes > 0 ? { will } : {}), clean: !lasts });
      const connected = await RawClient.connect(broker.port, packet).catch(String);
      if (typeof connected === "string") return expect(connected).toContain("the bank cannot pay");
      for (const filter of filters) await connected.subscribe(filter, { qos: 1 });
      if (filters.length % 2 === 0) return connected.close();
      connected.disconnect();
      await connected.untilClosed();
    };
  });

const publish = fc
  .record({ user, topic, bytes: size, retain: fc.boolean(), qos: fc.constantFrom(0, 1, 2) })
  .map(({ user: name, topic: to, bytes, retain, qos }): Step => {
    return async (broker) => {
      const publisher = await RawClient.connect(broker.port, as(name, `${name}-p`, { clean: true, properties: {} }));
      publisher.publish(to, "p".repeat(bytes), {
        qos,
        retain,
        messageId: 1,
        properties: { messageExpiryInterval: 60 },
      });
      if (qos === 1) await publisher.take("puback");
      if (qos === 2 && (await publisher.take("pubrec")).reasonCode < 0x80) {
        publisher.send({ cmd: "pubrel", messageId: 1 });
        await publisher.take("pubcomp");
      }
      if (qos === 0) await publisher.ping();
      publisher.disconnect();
      await publisher.untilClosed();
    };
  });

test("whatever packets users send, none holds more than the share, and each what the tree says", async () => {
  let refused = 0;
  const steps = fc.array(fc.oneof(visit, publish), { minLength: 30, maxLength: 50 });
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      let broker = await start({ bankCapital: capital, bankShare: 30, bankWait: 1, mailDrop: ["drop/#"] });
      for (const [index, step] of all.entries()) {
        await step(broker);
        if (index !== 20) continue;
        refused += broker.server.broker.context.metrics.refusedByShare;
        broker = await broker.restart();
      }
      const { coordinator, clock, metrics } = broker.server.broker.context;
      await eventually(() => metrics.connections === 0, "all have gone", 60_000);
      await untilCounted(broker);
      refused += metrics.refusedByShare;
      const picture = (await takeWeighed(coordinator, clock.wall()))!;
      expect(audit(picture, { graceMs: 60_000, sharePercent: 30 })).toEqual([]);
      await broker.stop();
    }),
    { numRuns: 4, endOnFailure: true },
  );
  // It is no small matter: shares are used up now and then.
  expect(refused).toBeGreaterThan(0);
}, 120_000);
