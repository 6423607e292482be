/** Mail drops that are opened when sessions and subscriptions are there: who pays for what these make of them. */
import { expect, test } from "bun:test";
import { heldBy } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { weightPaidBy } from "../../src/bank/price.ts";
import { walk } from "../../src/coordinator/mirror.ts";
import { sessionsPath } from "../../src/coordinator/paths.ts";
import { eventually, startBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { openDrop } from "../support/open-drop.ts";
import { RawClient } from "../support/raw-client.ts";
import { unpaidIn } from "../support/unpaid-slips.ts";

const patienceMs = 60_000;
const lasting = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 1000 } };

test("sessions and subscriptions that are older than their mail drop pay before they get what lies there", async () => {
  const broker = await startBroker();
  const { context } = broker.server.broker;
  const clients: RawClient[] = [];
  for (const qos of [0, 1, 2] as const) {
    const client = await RawClient.connect(broker.port, { ...lasting, clientId: `older-${qos}` });
    await client.subscribe("drop/#", { qos });
    clients.push(client);
  }
  await leaveCredits(context, 30);
  await openDrop(broker, "drop/#");
  const lay = async (text: string): Promise<void> => {
    const publisher = await RawClient.connect(broker.port, { protocolVersion: 5 });
    publisher.publish("drop/a", text, { qos: 2, messageId: 1, properties: { messageExpiryInterval: 1000 } });
    await publisher.take("pubrec");
    publisher.disconnect();
    await publisher.untilClosed();
  };
  const saved = async (): Promise<number> => {
    let count = 0;
    await walk(context.coordinator, sessionsPath, (path) => {
      if (path.endsWith("/drop%2F#")) count++;
    });
    return count;
  };
  // Nobody can pay for their places: it is tried again.
  await new Promise<void>((done) => context.journal.drained(done));
  for (const client of clients) await client.ping();
  expect(await saved()).toBe(0);
  await leaveCredits(context, 10_000);
  await eventually(async () => (await saved()) === clients.length, "their places are paid for", patienceMs);
  await lay("x");
  for (const client of clients) expect((await client.take("publish")).payload.toString()).toBe("x");
  expect(await unpaidIn(context.coordinator)).toEqual([]);
  // What is paid is given back with the subscriptions, and is no more than one price.
  for (const client of clients) {
    client.send({ cmd: "unsubscribe", unsubscriptions: ["drop/#"], messageId: 9 });
    await client.take("unsuback");
  }
  expect(await saved()).toBe(0);
  for (const client of clients) client.abort();
  const isBalanced = async (): Promise<boolean> => {
    const picture = (await takeWeighed(context.coordinator, context.clock.wall()))!;
    const bound = [...heldBy(picture).values()].reduce((sum, { credits }) => sum + credits, 0);
    return bound === context.bankAccount.account.bound && picture.weight <= weightPaidBy(bound);
  };
  await eventually(isBalanced, "the broker has counted what is in the store", patienceMs);
  await broker.stop();
}, 120_000);
