/** Messages on their way to one client of MQTT-SN, whose address changes in the middle of QoS 2. */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { PacketType } from "../../src/mqtt/constants.ts";
import { Deliveries, type Recipient } from "../../src/mqttsn/deliveries.ts";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage } from "../../src/mqttsn/messages.ts";
import { Peer } from "../../src/mqttsn/peer.ts";
import { newSnMetrics } from "../../src/mqttsn/sn-metrics.ts";
import { TopicIds } from "../../src/mqttsn/topic-ids.ts";

function setUp() {
  const sent: SnMessage[] = [];
  const acknowledged: [type: number, packetId: number][] = [];
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
    tooLarge() {},
    unanswered() {},
    idle() {},
  };
  recipient.peer.isProven = true;
  const deliveries = new Deliveries(recipient, 0);
  /** A message on a topic of two characters, which needs no REGISTER. */
  const add = (packetId: number): void => {
    const payload = encodeUtf8(`message ${packetId}`);
    deliveries.add({ kind: "publish", topic: "ab", qos: 2, retain: false, dup: false, packetId, payload }, 0);
  };
  const take = (): string[] =>
    sent.splice(0).map((one) => ("messageId" in one ? `${one.kind} ${one.messageId}` : one.kind));
  return { deliveries, recipient, sent, acknowledged, state, peerAt, add, take };
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
