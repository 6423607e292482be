/** The prices of what clients make the store keep, in znodes and bytes: whoever cannot pay is refused in words. */
import { expect, test } from "bun:test";
import type { ReadResult } from "../../src/coordinator/coordinator.ts";
import { childrenOf } from "../../src/coordinator/read-results.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { RawClient } from "../support/raw-client.ts";

const five = { protocolVersion: 5 } as const;

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
  await eventually(() => account.bound > 0, "they are registered", 20_000);
  const before = account.bound;
  expect(await countBelow(broker, "/publishers")).toBeLessThan(10_000);
  const poor = await startBroker();
  await leaveCredits(poor.server.broker.context, 20_000);
  const other = await RawClient.connect(poor.port);
  const isAnyRegistered = (): boolean => {
    // What could not be paid for is found again when it is published on again.
    for (let index = 0; index < 3; index++) other.publish(deep(index, 30), "");
    return poor.server.broker.context.bankAccount.account.bound > 0;
  };
  await eventually(isAnyRegistered, "one is registered", 20_000);
  expect((await countBelow(poor, "/publishers")) * 17.9).toBeLessThan(20_000);
  expect(before).toBeGreaterThan(0);
  await broker.stop();
  await poor.stop();
}, 60_000);
