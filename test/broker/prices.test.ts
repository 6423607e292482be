/** The prices of what clients make the store keep, in znodes and bytes: whoever cannot pay is refused in words. */
import { expect, test } from "bun:test";
import type { ReadResult } from "../../src/coordinator/coordinator.ts";
import { childrenOf } from "../../src/coordinator/read-results.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const five = { protocolVersion: 5 } as const;
const lasting = { properties: { sessionExpiryInterval: 100 } } as const;

/** A topic of so many levels, which shares none with any other number's. */
function deep(number: number, levels: number): string {
  return [number.toString(), ...Array.from({ length: levels - 1 }, () => "a")].join("/");
}

/** Counts the znodes below a path of a broker's store. */
async function countBelow(broker: TestBroker, path: string): Promise<number> {
  const { coordinator } = broker.server.broker.context;
  const [listed] = await new Promise<readonly ReadResult[]>((done) =>
    coordinator.read([{ kind: "children", path }], (_, results) => done(results)),
  );
  let count = 0;
  for (const name of childrenOf(listed)) count += 1 + (await countBelow(broker, `${path}/${name}`));
  return count;
}

test("retained messages on deep topics cost their levels: of a small bank they leave no more than it pays for", async () => {
  const broker = await startBroker({ bankCapital: 5000 });
  const publisher = await RawClient.connect(broker.port, five);
  const codes: number[] = [];
  for (let index = 0; index < 40; index++) {
    publisher.publish(deep(index, 20), "x", { qos: 1, messageId: 1, retain: true });
    codes.push((await publisher.take("puback")).reasonCode);
  }
  const taken = codes.filter((code) => code !== 0x97).length;
  expect(taken).toBeGreaterThan(4);
  expect(codes.at(-1)).toBe(0x97);
  // A znode costs more than 17.9 credits.
  const znodes = await countBelow(broker, "/retained");
  expect(znodes).toBe(20 * taken);
  expect(znodes * 17.9).toBeLessThan(5000);
  await broker.stop();
});

test("topics that are only published on are registered as far as the bank pays, and as there is room for them", async () => {
  const broker = await startBroker();
  const publisher = await RawClient.connect(broker.port);
  for (let index = 0; index < 300; index++) publisher.publish(deep(index, 30), "");
  await publisher.ping();
  const { account } = broker.server.broker.context.bankAccount;
  await eventually(() => account.bound > 0, "they are registered", 60_000);
  const before = account.bound;
  expect(await countBelow(broker, "/publishers")).toBeLessThan(10_000);
  const poor = await startBroker();
  // They may take a 64th of it, which a few of them do; all of them would take more than half.
  await leaveCredits(poor.server.broker.context, 300_000);
  const other = await RawClient.connect(poor.port);
  const isAnyRegistered = async (): Promise<boolean> => {
    // What could not be paid for is found again when it is published on again.
    for (let index = 0; index < 300; index++) other.publish(deep(index, 30), "");
    await other.ping();
    await Bun.sleep(500);
    return poor.server.broker.context.bankAccount.account.bound > 0;
  };
  await eventually(isAnyRegistered, "one is registered", 60_000);
  expect((await countBelow(poor, "/publishers")) * 17.9).toBeLessThan(300_000 / 64);
  expect(before).toBeGreaterThan(0);
  await broker.stop();
  await poor.stop();
}, 120_000);

/** The Reason String with which a session that would outlive its connection is refused. */
async function refusalOf(broker: TestBroker, options: AnyPacket): Promise<string> {
  const refused = await RawClient.connect(broker.port, { ...five, ...lasting, ...options }).catch(String);
  expect(refused).toContain('"reasonCode":151');
  return JSON.parse(String(refused).slice(String(refused).indexOf("{"))).properties.reasonString;
}

/** A session that outlives its connection, and has subscribed to filters of 1,000 bytes; returns the codes it got. */
async function stay(broker: TestBroker, clientId: string, filters: number): Promise<number[]> {
  const client = await RawClient.connect(broker.port, { ...five, ...lasting, clientId });
  const codes: number[] = [];
  for (let index = 0; index < filters; index++)
    codes.push(...(await client.subscribe(`${clientId}/${index}/${"f".repeat(1000)}`, { qos: 1 })).granted);
  client.disconnect();
  await client.untilClosed();
  return codes;
}

test("sessions and subscriptions are paid for, refused in words, and all of it comes back when they end", async () => {
  const broker = await startBroker();
  const { context } = broker.server.broker;
  const { account } = context.bankAccount;
  await stay(broker, "kept", 2);
  const price = account.bound;
  // Five znodes of the session, and four for each subscription, with their bytes.
  expect(price).toBeGreaterThan(40 * (5 + 2 * 4) * 448);
  await leaveCredits(context, 700);
  const codes = await stay(broker, "second", 5);
  expect(codes[0]).toBe(1);
  expect(codes.at(-1)).toBe(0x97);
  await leaveCredits(context, 50);
  expect(await refusalOf(broker, { clientId: "third" })).toMatch(/^the bank cannot pay: price \d+/);
  // Who was there before is let in, and loses nothing.
  const back = await RawClient.connect(broker.port, { ...five, ...lasting, clientId: "kept", clean: false });
  expect(back.connack.sessionPresent).toBe(true);
  // What it has may be changed, and costs nothing more.
  expect((await back.subscribe(`kept/0/${"f".repeat(1000)}`, { qos: 0 })).granted).toEqual([0]);
  back.close();
  const restarted = await broker.restart();
  const after = restarted.server.broker.context.bankAccount.account;
  expect(after.bound).toBeGreaterThan(price);
  for (const clientId of ["kept", "second"]) {
    const gone = await RawClient.connect(restarted.port, { ...five, clientId });
    gone.disconnect();
    await gone.untilClosed();
  }
  await eventually(() => after.bound === 0, "all credits come back");
  await restarted.stop();
}, 120_000);

test("wills are paid for; one that came with a session may always come again, and none that is larger", async () => {
  const broker = await startBroker();
  const { context } = broker.server.broker;
  const { account } = context.bankAccount;
  const willOf = (bytes: number) => ({ topic: "will", payload: "w".repeat(bytes), qos: 1, retain: false });
  const brief = await RawClient.connect(broker.port, { ...five, clientId: "brief", will: willOf(1000) });
  expect(account.bound).toBeGreaterThan(40 * (2 * 448 + 1000));
  brief.disconnect();
  await brief.untilClosed();
  await eventually(() => account.bound === 0, "it is gone with its will");
  const first = await RawClient.connect(broker.port, { ...five, ...lasting, clientId: "stays", will: willOf(1000) });
  first.disconnect();
  await first.untilClosed();
  await leaveCredits(context, 10);
  expect(await refusalOf(broker, { clientId: "other", properties: {}, will: willOf(10) })).toContain("price");
  const again = { clientId: "stays", clean: false };
  const back = await RawClient.connect(broker.port, { ...five, ...lasting, ...again, will: willOf(1000) });
  expect(back.connack.sessionPresent).toBe(true);
  back.disconnect();
  await back.untilClosed();
  expect(await refusalOf(broker, { ...again, will: willOf(3000) })).toContain("price");
  const watcher = await RawClient.connect(broker.port);
  await watcher.subscribe("will");
  const third = await RawClient.connect(broker.port, { ...five, ...lasting, ...again, will: willOf(900) });
  expect(third.connack.sessionPresent).toBe(true);
  third.close();
  expect((await watcher.take("publish")).payload.length).toBe(900);
  await broker.stop();
}, 120_000);
