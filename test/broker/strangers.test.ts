/** Strangers' znodes in the tree of a broker: it starts, serves, and says which ones it leaves out. */
import { expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import type { Coordinator, CreateMode, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

function write(coordinator: Coordinator, ...operations: WriteOperation[]): Promise<string | undefined> {
  return new Promise((resolve) => coordinator.write(operations, (error) => resolve(error?.message)));
}

const create = (path: string, data: Uint8Array = noBytes, mode: CreateMode = "persistent"): WriteOperation => {
  return { kind: "create", path, data, mode };
};

const storeOf = (broker: TestBroker): Coordinator => broker.server.broker.context.coordinator;

test("an ephemeral znode where levels should be refuses what would be below it, and nothing else", async () => {
  const broker = await startBroker();
  expect(await write(storeOf(broker), create("/topics/x", noBytes, "ephemeral"))).toBeUndefined();
  expect(await write(storeOf(broker), create("/retained/x", noBytes, "ephemeral"))).toBeUndefined();
  const keeps = { clean: false, clientId: "away", protocolVersion: 5, properties: { sessionExpiryInterval: 600 } };
  const away = await RawClient.connect(broker.port, keeps);
  await away.subscribe("#", { qos: 1 });
  away.disconnect();
  const publisher = await RawClient.connect(broker.port);
  publisher.publish("x/y", "never", { qos: 1, messageId: 1 });
  publisher.publish("x/z", "never", { qos: 1, messageId: 2, retain: true });
  await publisher.untilClosed();
  const told = await RawClient.connect(broker.port, { protocolVersion: 5 });
  for (const qos of [1, 2] as const) {
    told.publish("x/y", "never", { qos, messageId: qos });
    const { reasonCode, properties } = await told.take(qos === 1 ? "puback" : "pubrec");
    expect([reasonCode, properties.reasonString]).toEqual([0x97, expect.stringContaining("stands in the store")]);
  }
  const other = await RawClient.connect(broker.port);
  other.publish("y", "kept", { qos: 1, messageId: 1 });
  await other.take("puback");
  expect(publisher.packets.filter(({ cmd }) => cmd === "puback")).toEqual([]);
  const back = await RawClient.connect(broker.port, keeps);
  expect((await back.take("publish")).topic).toBe("y");
  expect(broker.server.broker.context.strangers.words).toMatch(/^\/(topics|retained)\/x.* is in the way of a commit/);
  await broker.stop();
});

test("a bank that is not ours: nothing is stored, all else goes on, until it is put right", async () => {
  const first = await startBroker();
  const set = (text: string): WriteOperation => ({ kind: "set", path: "/bank", data: encodeUtf8(text), version: -1 });
  const capital = first.server.broker.context.bankAccount.capital;
  expect(await write(storeOf(first), set("junk"))).toBeUndefined();
  const broker = await first.restart();
  const subscriber = await RawClient.connect(broker.port);
  await subscriber.subscribe("#");
  const publisher = await RawClient.connect(broker.port);
  publisher.publish("y", "at once");
  expect(String((await subscriber.take("publish")).payload)).toBe("at once");
  const { strangers } = broker.server.broker.context;
  expect(strangers.words).toContain("/bank is no account of the bank");
  expect(await write(storeOf(broker), set(JSON.stringify({ capital, vault: capital })))).toBeUndefined();
  const keeps = { clean: false, clientId: "away", protocolVersion: 5, properties: { sessionExpiryInterval: 600 } };
  const away = await RawClient.connect(broker.port, keeps);
  await away.subscribe("z", { qos: 1 });
  away.disconnect();
  publisher.publish("z", "kept", { qos: 1, messageId: 1 });
  await publisher.take("puback");
  await broker.stop();
}, 120_000);
