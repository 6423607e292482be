/**
 * A store whose disk is nearly full: what is left of it serves acks and deletions. Whatever would be new there, not
 * publishes only, is refused in words; whoever comes for what is stored is let in.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { children } from "../../src/coordinator/mirror.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

const quotaExceeded = 0x97;
const words = "the disk of the broker's store is full";
const lasting = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 600 } };
const willOf = (bytes: number): AnyPacket => ({ will: { topic: "gone", payload: "x".repeat(bytes), qos: 1 } });

let broker: TestBroker;
beforeEach(async () => {
  broker = await startBroker();
});
afterEach(() => broker.stop());

function setFull(isFull: boolean): void {
  (broker.server.broker.context.coordinator as { isFull: boolean }).isFull = isFull;
}

/** CONNACK of a client that connects, and leaves at once. */
async function connackOf(options: AnyPacket): Promise<AnyPacket> {
  const client = await RawClient.dial(broker.port, options.protocolVersion ?? 5);
  client.send(connectPacket({ protocolVersion: 5, ...options }));
  const connack = await client.take("connack");
  client.abort();
  return connack;
}

/** Lists what stands in the tree of sessions, wills and subscriptions. */
async function kept(): Promise<string[]> {
  const { coordinator } = broker.server.broker.context;
  const below = async (path: string): Promise<string[]> => {
    const names = await children(coordinator, path);
    return [path, ...(await Promise.all(names.map((name) => below(`${path}/${name}`)))).flat()];
  };
  return (await Promise.all(["/sessions", "/wills", "/subscribers"].map(below))).flat().sort();
}

test("sessions and wills that are new are refused in words, and nothing is written for them", async () => {
  setFull(true);
  const before = await kept();
  for (const options of [{ ...lasting, clientId: "new" }, willOf(10), { ...lasting, ...willOf(10), clientId: "new" }]) {
    const { reasonCode, properties } = await connackOf(options);
    expect(reasonCode).toBe(quotaExceeded);
    expect(properties.reasonString).toContain(words);
  }
  // Server unavailable: the nearest that there was before MQTT 5.
  expect((await connackOf({ protocolVersion: 4, clean: false, clientId: "new" })).returnCode).toBe(3);
  expect(await kept()).toEqual(before);
  // Whoever leaves nothing in the store is welcome.
  expect((await connackOf({})).reasonCode).toBe(0);
  setFull(false);
  expect((await connackOf({ ...lasting, clientId: "new" })).reasonCode).toBe(0);
});

test("CONNACK that says why is no larger than its client takes", async () => {
  setFull(true);
  const properties = { sessionExpiryInterval: 600, maximumPacketSize: 20 };
  const connack = await connackOf({ ...lasting, properties, clientId: "small" });
  expect([connack.reasonCode, connack.properties?.reasonString]).toEqual([quotaExceeded, undefined]);
});

test("a session that is there is served, with a small will; whoever has it begins anew only in its place", async () => {
  const first = await RawClient.connect(broker.port, { ...lasting, clientId: "reader" });
  await first.subscribe("mail", { qos: 1 });
  first.disconnect();
  const publisher = await RawClient.connect(broker.port);
  publisher.publish("mail", "kept", { qos: 1, messageId: 1 });
  await publisher.take("puback");
  setFull(true);
  expect(await connackOf({ ...lasting, ...willOf(5000), clientId: "reader" })).toMatchObject({
    reasonCode: quotaExceeded,
  });
  const reader = await RawClient.connect(broker.port, { ...lasting, ...willOf(50), clientId: "reader" });
  expect(reader.connack.sessionPresent).toBe(true);
  const mail = await reader.take("publish");
  expect(mail.payload.toString()).toBe("kept");
  reader.send({ cmd: "puback", messageId: mail.messageId });
  // What it has already it may have again.
  expect((await reader.subscribe("mail", { qos: 1 })).granted).toEqual([1]);
  reader.disconnect();
  expect((await connackOf({ ...lasting, clean: true, clientId: "reader" })).reasonCode).toBe(0);
});

test("subscriptions that are new are refused in words, of all kinds of sessions", async () => {
  const brief = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await brief.subscribe("shared/by/many", { qos: 1 });
  const old = await RawClient.connect(broker.port, { protocolVersion: 4 });
  const long = await RawClient.connect(broker.port, { ...lasting, clientId: "long" });
  setFull(true);
  const before = await kept();
  for (const client of [brief, long]) {
    const suback = await client.subscribe("new", { qos: 1 });
    expect(suback.granted).toEqual([quotaExceeded]);
    expect(suback.properties.reasonString).toContain(words);
  }
  expect((await old.subscribe("new", { qos: 1 })).granted).toEqual([0x80]);
  expect(await kept()).toEqual(before);
  // Somebody else here has it already: nothing is to be written for one more.
  expect((await old.subscribe("shared/by/many", { qos: 1 })).granted).toEqual([1]);
  setFull(false);
  const takes = async (): Promise<boolean> => (await long.subscribe("new", { qos: 1 })).granted[0] === 1;
  await eventually(takes, "what is new is taken again");
});
