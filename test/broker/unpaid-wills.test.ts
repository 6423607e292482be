/** Wills that come due while the bank has too little for them here: they wait for it, or are given up in words. */
import { expect, test } from "bun:test";
import { willsPath } from "../../src/coordinator/paths.ts";
import { childrenOf } from "../../src/coordinator/read-results.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const lasting = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 1000 } };
const bytes = 20_000;
const will = (clientId: string): AnyPacket => ({
  clientId,
  will: { topic: "will", payload: "w".repeat(bytes), qos: 1, retain: false },
});

/** Has a session wait for wills, away. */
async function wait(broker: TestBroker): Promise<void> {
  const waiting = await RawClient.connect(broker.port, { ...lasting, clientId: "waits" });
  await waiting.subscribe("will", { qos: 1 });
  waiting.disconnect();
  await waiting.untilClosed();
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test("wills for which the vault must be asked are published when it has answered", async () => {
  const broker = await startBroker({ bankCapital: 100_000 });
  const { bankAccount, metrics } = broker.server.broker.context;
  await wait(broker);
  const clients = await Promise.all(numbers(6).map((number) => RawClient.connect(broker.port, will(`c-${number}`))));
  // There is enough for all of them, and most of it is in the vault.
  expect(bankAccount.account.free).toBeLessThan(6 * bytes * 40);
  expect(bankAccount.vault).toBeGreaterThan(6 * bytes * 80);
  for (const client of clients) client.abort();
  const back = await RawClient.connect(broker.port, { ...lasting, clientId: "waits" });
  expect((await back.takeMany("publish", 6)).map(({ payload }) => payload.length)).toEqual(Array(6).fill(bytes));
  expect(metrics.willsRefused).toBe(0);
  await broker.stop();
}, 120_000);

test("a will that nobody can pay for is given up, counted, and keeps its client from nothing", async () => {
  const broker = await startBroker();
  const { context } = broker.server.broker;
  const { coordinator, metrics } = context;
  await wait(broker);
  const client = await RawClient.connect(broker.port, will("c"));
  await leaveCredits(context, 10);
  client.abort();
  const again = await RawClient.connect(broker.port, { clientId: "c" });
  await again.ping();
  const isGone = async (): Promise<boolean> => {
    const listed = await new Promise<readonly string[]>((done) =>
      coordinator.read([{ kind: "children", path: `${willsPath}/test` }], (_, [found]) => done(childrenOf(found))),
    );
    return listed.length === 0;
  };
  await eventually(isGone, "the will has gone from the store");
  expect([metrics.willsRefused, metrics.refusedByBank]).toEqual([1, 1]);
  again.disconnect();
  const waiting = await RawClient.connect(broker.port, { ...lasting, clientId: "waits" });
  await waiting.ping();
  expect(waiting.packets).toEqual([]);
  await broker.stop();
}, 120_000);
