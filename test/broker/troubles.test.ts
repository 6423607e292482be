/** Troubles that a broker alone can have, planted one by one: each is named in words, with what helps. */
import { afterEach, expect, test } from "bun:test";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import { troublesOf } from "../../src/server/api-troubles.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

let broker: TestBroker | undefined;
afterEach(async () => {
  await broker?.stop();
  broker = undefined;
});

async function started(options: Partial<BrokerOptions>): Promise<TestBroker> {
  broker = await startBroker(options);
  expect(named()).toEqual([]);
  return broker;
}

const troubles = () => [...troublesOf(broker!.server.broker, [])];
const named = (): string[] => troubles().map(({ name }) => name);
const textOf = (what: string): string => troubles().find(({ name }) => name === what)?.text ?? "";

/** A session that outlives its connection, and whose client is away. */
async function away(port: number, clientId: string): Promise<void> {
  const client = await RawClient.connect(port, {
    protocolVersion: 5,
    clientId,
    clean: false,
    properties: { sessionExpiryInterval: 1000 },
  });
  await client.subscribe("t/#", { qos: 1 });
  client.abort();
}

/** Publishes until the answer is a refusal, `most` times at most. Returns how many were taken. */
async function publish(port: number, most: number, payload = "x"): Promise<number> {
  const client = await RawClient.connect(port, { protocolVersion: 5 });
  let taken = 0;
  for (; taken < most; taken++) {
    client.publish(`t/${taken}`, payload, { qos: 1, messageId: taken + 1 });
    if (((await client.take("puback")).reasonCode ?? 0) >= 0x80) break;
  }
  client.abort();
  return taken;
}

test("a bank that is nearly empty, and then refuses", async () => {
  const { port } = await started({ bankCapital: 20_000 });
  await away(port, "reader");
  expect(await publish(port, 1000, "x".repeat(20_000))).toBeLessThan(1000);
  await eventually(() => named().includes("bank"), "it is named");
  expect(textOf("bank")).toMatch(/^\d+ % of the bank's capital is left .*mqttzoo bank deposit$/);
  expect(textOf("refused")).toContain("the bank cannot pay");
}, 30_000);

test("a user whose share is used up", async () => {
  const { port } = await started({ bankCapital: 40_000, bankShare: 25 });
  await away(port, "reader");
  // Small ones at the end, so that nearly nothing of the share is left.
  for (const bytes of [20_000, 500, 1]) expect(await publish(port, 1000, "x".repeat(bytes))).toBeLessThan(1000);
  expect(named()).toContain("share");
  expect(textOf("share")).toMatch(/^1 user has used up what one may store \(--bank-share\)/);
  expect(named()).not.toContain("bank");
}, 30_000);

test("a mailbox that is nearly full, and one that was", async () => {
  const { port } = await started({ maxQueued: 10 });
  await away(port, "reader");
  expect(await publish(port, 9)).toBe(9);
  await eventually(() => named().includes("mailbox"), "it is named");
  expect(textOf("mailbox")).toContain("1 mailbox is filled to 80 % of --max-queued 10 or more");
  await publish(port, 5);
  await eventually(() => !named().includes("mailbox"), "it has ended");
}, 30_000);

test("a client that takes less than comes for it", async () => {
  const { port } = await started({ maxQueued: 5 });
  const slow = await RawClient.connect(port, {
    protocolVersion: 5,
    clientId: "slow",
    properties: { receiveMaximum: 1 },
  });
  await slow.subscribe("t/#", { qos: 1 });
  await publish(port, 20);
  expect(named()).toEqual(["dropped"]);
  expect(textOf("dropped")).toMatch(/^for client slow messages were dropped \(\d+\), .*too much waits in memory/);
  slow.abort();
});

test("a disk that is nearly full, and records that are damaged", async () => {
  const { server } = await started({});
  const { coordinator } = server.broker.context;
  for (const [what, value] of [
    ["isFull", true],
    ["damagedRecords", 3],
  ] as const)
    Object.defineProperty(coordinator, what, { get: () => value, configurable: true });
  expect(named()).toEqual(["disk", "store"]);
  expect(textOf("store")).toMatch(/^3 records of the store are damaged .*mqttzoo repair$/);
});
