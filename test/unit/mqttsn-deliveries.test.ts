/** Messages on their way to one client of MQTT-SN, whose address changes in the middle of QoS 2. */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { PacketType, type QoS } from "../../src/mqtt/constants.ts";
import { Deliveries, type Recipient } from "../../src/mqttsn/deliveries.ts";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage } from "../../src/mqttsn/messages.ts";
import { Peer } from "../../src/mqttsn/peer.ts";
import { newSnMetrics } from "../../src/mqttsn/sn-metrics.ts";
import { TopicIds } from "../../src/mqttsn/topic-ids.ts";

function setUp() {
  const sent: SnMessage[] = [];
  const acknowledged: [type: number, packetId: number][] = [];
  const tooLarge: [topic: number, size: number][] = [];
  const state = { mailWaits: false };
  const peerAt = (port: number): Peer =>
    new Peer(`${port}`, { address: "10.0.0.1", port, node: undefined }, (bytes) => {
      sent.push(decodeMessage(bytes) as SnMessage);
    });
  const recipient: Recipient & { peer: Peer } = {
    ...{ peer: peerAt(1), topics: new TopicIds(0), retryMs: 1000, datagramBytesMax: 1232, metrics: newSnMetrics() },
    predefinedId: () => undefined,
    acknowledge: (type, packetId) => void acknowledged.push([type, packetId]),
    mailWaits: () => state.mailWaits,
    tooLarge: (topic, size) => void tooLarge.push([topic.length, size]),
    unanswered() {},
    idle() {},
  };
  recipient.peer.isProven = true;
  const deliveries = new Deliveries(recipient, 0);
  /** A message on a topic of two characters, which needs no REGISTER. */
  const add = (packetId: number, { qos = 2 as QoS, topic = "ab", size = 0 } = {}): void => {
    const payload = size === 0 ? encodeUtf8(`message ${packetId}`) : new Uint8Array(size);
    deliveries.add({ kind: "publish", topic, qos, retain: false, dup: false, packetId, payload }, 0);
  };
  const take = (): string[] =>
    sent.splice(0).map((one) => ("messageId" in one ? `${one.kind} ${one.messageId}` : one.kind));
  return { deliveries, recipient, sent, acknowledged, tooLarge, state, peerAt, add, take };
}

test("what has been received is not sent again to another address, which must prove itself first", () => {
  const { deliveries, recipient, acknowledged, peerAt, add, take } = setUp();
  add(7);
  deliveries.received(7);
  deliveries.release(7, 1);
  expect(take()).toEqual(["publish 7", "pubrel 7"]);
  expect(acknowledged).toEqual([[PacketType.pubrec, 7]]);
  // PUBCOMP is lost; the client sleeps, and wakes elsewhere.
  deliveries.hold();
  recipient.peer = peerAt(2);
  deliveries.go(2);
  const [question] = take();
  expect(question).toMatch(/^register /);
  const messageId = Number(question!.split(" ")[1]);
  deliveries.registered({ topicId: 1, messageId, code: 0 }, 3);
  expect(take()).toEqual(["pubrel 7"]);
  deliveries.completed(7, 4);
  expect(acknowledged.at(-1)).toEqual([PacketType.pubcomp, 7]);
  expect(deliveries.isIdle).toBe(true);
});

test("PUBREC of what the broker has not heard of is not answered: it sends PUBLISH again", () => {
  const { deliveries, state, add, take } = setUp();
  // The client has connected anew, and the broker is reading its mailbox.
  state.mailWaits = true;
  deliveries.received(7);
  expect(take()).toEqual([]);
  add(7);
  deliveries.received(8);
  deliveries.received(7);
  deliveries.release(7, 1);
  expect(take()).toEqual(["publish 7", "pubrel 7"]);
  // PUBREL was lost.
  deliveries.received(7);
  expect(take()).toEqual(["pubrel 7"]);
  deliveries.completed(7, 2);
  // Nothing can come any more: the client is let go on.
  state.mailWaits = false;
  deliveries.received(9);
  expect(take()).toEqual(["pubrel 9"]);
});

test("what fits into no datagram is refused at once, also for a client that sleeps; what waits is counted", () => {
  const { deliveries, acknowledged, tooLarge, add, take } = setUp();
  deliveries.hold();
  for (let packetId = 1; packetId <= 20; packetId++) {
    add(0, { qos: 0, size: 50_000 });
    add(packetId, { qos: 1, size: 50_000 });
    add(0, { qos: 0, topic: "long".repeat(10_000) });
  }
  expect(tooLarge.length).toBe(60);
  expect(acknowledged.length).toBe(20);
  expect(acknowledged[0]).toEqual([PacketType.puback, 1]);
  expect(deliveries.memoryBytes).toBe(0);
  for (let number = 0; number < 10; number++) add(0, { qos: 0, size: 1000 });
  expect(deliveries.memoryBytes).toBeGreaterThan(10_000);
  deliveries.go(1);
  expect([take().length, deliveries.memoryBytes]).toEqual([10, 0]);
  deliveries.hold();
  add(0, { qos: 0, size: 1000 });
  deliveries.reset();
  expect(deliveries.memoryBytes).toBe(0);
});
