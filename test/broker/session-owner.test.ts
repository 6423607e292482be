/** Sessions belong to users: by a client id nobody resumes, ends, empties or interrupts what another user has made. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-owners-"));
const passwordFile = join(folder, "users");

beforeAll(async () => {
  const salt = Buffer.from("salt");
  const entries = ["alice", "eve", "50% off"].map(
    async (name) => `${name}:${await hashForScram(`${name}-pw`, { iterations: 1, salt })}\n`,
  );
  writeFileSync(passwordFile, (await Promise.all(entries)).join(""));
});
afterAll(() => rmSync(folder, { recursive: true }));

const users = (options: Partial<BrokerOptions> = {}): Promise<TestBroker> => startBroker({ passwordFile, ...options });

const as = (username: string, more: AnyPacket = {}): AnyPacket => ({
  ...{ protocolVersion: 5, clean: false, clientId: "phone", properties: { sessionExpiryInterval: 600 } },
  ...{ username, password: Buffer.from(`${username}-pw`), ...more },
});

/** The answer to CONNECT, with the connection. */
async function connect(
  port: number,
  packet: AnyPacket,
): Promise<{ client: RawClient; code: number; present: boolean }> {
  const client = await RawClient.dial(port, packet.protocolVersion);
  client.send(connectPacket(packet));
  const { reasonCode, returnCode, sessionPresent } = await client.take("connack");
  return { client, code: reasonCode ?? returnCode, present: sessionPresent };
}

const older = { protocolVersion: 4, properties: undefined };

test("a session in the store is its user's alone: mail, subscriptions and end, also after a restart", async () => {
  let broker = await users();
  const first = await connect(broker.port, as("alice"));
  await first.client.subscribe("alice/#", { qos: 1 });
  first.client.disconnect();
  await first.client.untilClosed();
  const publisher = await RawClient.connect(broker.port, as("alice", { clientId: "p" }));
  publisher.publish("alice/pay", "100", { qos: 1, messageId: 1 });
  await publisher.take("puback");
  const intrude = async (): Promise<void> => {
    const refused = [as("eve"), as("eve", { clean: true }), as("eve", { clean: true, properties: {} })];
    for (const packet of refused) expect((await connect(broker.port, packet)).code).toBe(0x85);
    for (const clean of [true, false])
      expect((await connect(broker.port, as("eve", { ...older, clean }))).code).toBe(2);
  };
  await intrude();
  broker = await broker.restart();
  await intrude();
  const { metrics } = broker.server.broker.context;
  expect([metrics.turnedAway.client_id, metrics.protocolErrors.size]).toEqual([5, 0]);
  const back = await connect(broker.port, as("alice"));
  expect([back.code, back.present]).toEqual([0, true]);
  const { topic, payload } = await back.client.take("publish");
  expect(`${topic} ${payload}`).toBe("alice/pay 100");
  await broker.stop();
});

test("a connection is not taken over by another user, whose session ends with it too; nor is one that waits", async () => {
  const broker = await users();
  const alice = await connect(broker.port, as("alice", { clean: true, properties: {} }));
  expect((await connect(broker.port, as("eve", { clean: true }))).code).toBe(0x85);
  await alice.client.ping();
  // The same user takes it over, as ever.
  expect((await connect(broker.port, as("alice"))).code).toBe(0);
  expect((await alice.client.take("disconnect")).reasonCode).toBe(0x8e);
  // Two at once: whoever was there first is let in.
  const both = await Promise.all([RawClient.dial(broker.port, 5), RawClient.dial(broker.port, 5)]);
  both[0]!.send(connectPacket(as("alice", { clientId: "race" })));
  both[1]!.send(connectPacket(as("eve", { clientId: "race" })));
  const codes = await Promise.all(both.map(async (client) => (await client.take("connack")).reasonCode));
  expect(codes.toSorted((a, b) => a - b)).toEqual([0, 0x85]);
  await broker.stop();
});

test("when a session has ended its client id is free again, and one that is nobody's is anybody's", async () => {
  const broker = await users({ allowAnonymous: true });
  const gone = await connect(broker.port, as("alice", { clean: true, properties: {} }));
  gone.client.disconnect();
  await gone.client.untilClosed();
  const nobody = { ...as("x"), username: undefined, password: undefined };
  const anonymous = await connect(broker.port, nobody);
  expect([anonymous.code, anonymous.present]).toEqual([0, false]);
  const eve = await connect(broker.port, as("eve"));
  expect([eve.code, eve.present]).toEqual([0, true]);
  for (const packet of [nobody, as("alice")]) expect((await connect(broker.port, packet)).code).toBe(0x85);
  await broker.stop();
});

test("client ids begin with the user's name, where the operator wants that", async () => {
  const broker = await users({ clientIdPrefix: "%u-", allowAnonymous: true });
  const codeOf = async (packet: AnyPacket): Promise<number> => (await connect(broker.port, packet)).code;
  expect(await codeOf(as("alice", { clientId: "alice-phone" }))).toBe(0);
  expect(await codeOf(as("50% off", { clientId: "50% off-$&" }))).toBe(0);
  for (const clientId of ["phone", "eve-phone", "alice", "alice-", "%u-phone", "Alice-phone"])
    expect(await codeOf(as("alice", { clientId }))).toBe(0x85);
  expect(await codeOf({ ...as("x", { clientId: "-phone" }), username: undefined, password: undefined })).toBe(0x85);
  // What the broker makes up itself nobody can guess.
  expect(await codeOf(as("alice", { clientId: "", clean: true }))).toBe(0);
  await broker.stop();
});
