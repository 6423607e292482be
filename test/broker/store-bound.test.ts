/**
 * The store's size is bounded by the capital, whatever clients do: random sequences of packets at a broker with little
 * of it. A failure prints its seed.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { audit, type WeighedSnapshot } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { weightPaidBy } from "../../src/bank/price.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { openDrop } from "../support/open-drop.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";
import { unpaidIn } from "../support/unpaid-slips.ts";

const capital = 4000;
/** Bytes that nobody pays for: what is removed just now. */
const slackBytes = 8 * 1024;
const patienceMs = 60_000;

const level = fc.constantFrom("a", "b", "long".repeat(20), "ä", "");
const name = fc.array(level, { minLength: 1, maxLength: 25 }).map((levels) => levels.join("/") || "x");
const size = fc.constantFrom(0, 1, 100, 2000);
const will = fc.option(fc.record({ topic: name, bytes: size }));
const client = fc.nat(5);

type Step = (broker: TestBroker) => Promise<void>;

/** A client comes, with a session that outlives its connection or not, subscribes, and goes in order or not. */
const visit = fc
  .record({ client, will, isClean: fc.boolean(), lasts: fc.boolean(), filters: fc.array(name, { maxLength: 4 }) })
  .map(({ client: number, will: asked, isClean, lasts, filters }): Step => {
    return async (broker) => {
      const options: AnyPacket = { clientId: `client-${number}`, clean: isClean, protocolVersion: 5 };
      if (asked !== null)
        options.will = { topic: asked.topic, payload: "w".repeat(asked.bytes), qos: 1, retain: lasts };
      if (lasts) options.properties = { sessionExpiryInterval: 1000 };
      const connected = await RawClient.connect(broker.port, options).catch(String);
      // Refused, in words.
      if (typeof connected === "string") return expect(connected).toContain("the bank cannot pay");
      for (const filter of filters) await connected.subscribe(filter, { qos: 1 });
      // Half of them are lost: their wills are published.
      if (filters.length % 2 === 0) return connected.close();
      connected.disconnect();
      await connected.untilClosed();
    };
  });

const publish = fc
  .record({ topic: name, bytes: size, retain: fc.boolean(), qos: fc.constantFrom(0, 1, 2), expiry: fc.boolean() })
  .map(({ topic, bytes, retain, qos, expiry }): Step => {
    return async (broker) => {
      const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
      const properties = expiry ? { messageExpiryInterval: 100 } : {};
      publisher.publish(topic, "p".repeat(bytes), { qos, retain, messageId: 1, properties });
      if (qos === 1) await publisher.take("puback");
      else if (qos === 2) await publisher.take("pubrec");
      else await publisher.ping();
      publisher.disconnect();
      await publisher.untilClosed();
    };
  });

/** Messages come into a mail drop, where each of them may have as many slips as there are sessions. */
const drop = fc.record({ count: fc.nat(9), name: fc.constantFrom("", "long".repeat(200)) }).map((asked): Step => {
  return async (broker) => {
    const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
    for (let messageId = 1; messageId <= asked.count; messageId++) {
      const properties = { messageExpiryInterval: 100 };
      publisher.publish(`drop/${asked.name}`, "d", { qos: 1, messageId, properties });
      await publisher.take("puback");
    }
    publisher.disconnect();
    await publisher.untilClosed();
  };
});

/** The operator opens a mail drop: sessions and subscriptions have been there before. */
const open: Step = (broker) => openDrop(broker, "drop/#");

/**
 * A client with a session takes what there is, in mail drops, too, and never ends an exchange at QoS 2: it says that it
 * has each message, or not even that.
 */
function holdAs({ number, filter, says, qos: most }: Holding): Step {
  return async (broker) => {
    const options = { clientId: `holder-${number}`, clean: false, protocolVersion: 5 };
    const properties = { sessionExpiryInterval: 1000 };
    const holder = await RawClient.connect(broker.port, { ...options, properties }).catch(String);
    if (typeof holder === "string") return expect(holder).toContain("the bank cannot pay");
    await holder.subscribe(filter, { qos: most });
    // What lies in mail drops is read first.
    for (let quiet = 0; quiet < (filter === "drop/#" ? 20 : 3); quiet++) {
      await holder.ping();
      for (const { cmd, qos, messageId } of holder.packets.splice(0)) {
        if (cmd !== "publish" || messageId === undefined) continue;
        quiet = 0;
        if (says) holder.send({ cmd: qos === 2 ? "pubrec" : "puback", messageId });
      }
    }
    holder.abort();
    await holder.untilClosed();
  };
}

interface Holding {
  readonly number: number;
  readonly filter: string;
  readonly says: boolean;
  readonly qos: 1 | 2;
}

const filter = fc.oneof(name, fc.constantFrom("#", "drop/#"));
const hold = fc
  .record({ number: client, filter, says: fc.boolean(), qos: fc.constantFrom(1 as const, 2 as const) })
  .map(holdAs);
/** A holder that keeps all that it is sent of what lies in mail drops. */
const keep = holdAs({ number: 6, filter: "drop/#", says: false, qos: 1 });

test("whatever clients do, the store holds no more than the capital pays for, and it balances", async () => {
  let heaviest = 0;
  const steps = fc.array(fc.oneof(visit, visit, publish, publish, drop, hold, hold), { minLength: 30, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const broker = await startBroker({ bankCapital: capital, bankWait: 1 });
      const { coordinator, clock, metrics } = broker.server.broker.context;
      for (const step of [keep, open, ...all, keep]) await step(broker);
      await eventually(() => metrics.connections === 0, "all have gone", patienceMs);
      const picture = async (): Promise<WeighedSnapshot> => (await takeWeighed(coordinator, clock.wall()))!;
      heaviest = Math.max(heaviest, (await picture()).weight);
      // Levels that have become empty go a second later.
      const isBounded = async (): Promise<boolean> =>
        (await picture()).weight < weightPaidBy(capital * 1000) + slackBytes;
      await eventually(isBounded, "the store holds no more than is paid for", patienceMs);
      expect(audit(await picture(), { graceMs: 60_000 })).toEqual([]);
      expect(await unpaidIn(coordinator)).toEqual([]);
      await broker.stop();
    }),
    { numRuns: 3, endOnFailure: true },
  );
  // It is no small matter: most of what the capital pays for is used now and then.
  expect(heaviest).toBeGreaterThan(weightPaidBy(capital * 1000) / 5);
}, 600_000);
