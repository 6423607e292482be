/**
 * The messages on their way to one client, one at a time (6.13): a topic that the client has no id for is registered
 * first, what is not answered is sent again, and an address that has not proved itself must do so before it is sent
 * much. While the client sleeps nothing is sent.
 */
import { messageMemoryBytes } from "../base/memory-limits.ts";
import { Ring } from "../base/ring.ts";
import { snQueuedMax, snRetriesMax } from "../base/sn-limits.ts";
import { PacketType } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { ReturnCode, TopicKind } from "./constants.ts";
import type { Delivery } from "./inner-connection.ts";
import type { SnMessage } from "./message-kinds.ts";
import { publishSizeOf } from "./messages.ts";
import type { Peer } from "./peer.ts";
import type { SnMetrics } from "./sn-metrics.ts";
import { shortIdOf } from "./terms.ts";
import type { TopicIds } from "./topic-ids.ts";

/** PUBREL of a message whose PUBLISH was received in an earlier connection. */
interface Release {
  readonly kind: "release";
  readonly packetId: number;
}

/** The message that is under way, and what is waited for. */
interface Current {
  readonly item: Delivery | Release;
  /** released: PUBREC has come, PUBREL is the broker's to send. */
  phase: "challenge" | "register" | "publish" | "released" | "release";
  /** The message id whose answer is waited for. */
  messageId: number;
  /** The message as it was sent last. */
  sent: SnMessage | undefined;
  tries: number;
  dueAt: number;
  /** True once PUBREC has come: PUBLISH is not sent again, whatever the client's address must prove meanwhile. */
  isReceived: boolean;
  /** How often the client has said that it does not know the topic's id. */
  unknown: number;
}

/** The client whose messages they are. */
export interface Recipient {
  readonly peer: Peer;
  readonly topics: TopicIds;
  readonly retryMs: number;
  readonly datagramBytesMax: number;
  readonly metrics: SnMetrics;
  /** Returns the predefined id of a topic, if the client has one. */
  predefinedId(topic: string): number | undefined;
  /** Answers the broker. `type`: PUBACK, PUBREC or PUBCOMP. */
  acknowledge(type: number, packetId: number, reason: number): void;
  /** A message is too large for a datagram; `size` in bytes. */
  tooLarge(topic: string, size: number): void;
  /** Returns true while the broker may have messages for the client that it has not handed over. */
  mailWaits(): boolean;
  /** The client has not answered, however often it was asked. */
  unanswered(): void;
  /** Nothing is under way any more. */
  idle(now: number): void;
}

/** How much longer each pause before a retransmission is than the one before. */
const backOff = 1.5;
/** The name in a REGISTER that asks for nothing but its answer. */
const challengeTopic = "~";

export class Deliveries {
  readonly #recipient: Recipient;
  readonly #queue = new Ring<Delivery | Release>();
  #current: Current | undefined;
  #queuedQoS0 = 0;
  #queuedBytes = 0;
  #isHeld = false;
  /** Messages that the client takes before it sleeps again. */
  #left = Infinity;
  /** The message ids of REGISTER begin where nobody can guess. */
  #nextId: number;

  /** `chance`: uniform in 0…1. */
  constructor(recipient: Recipient, chance: number) {
    this.#recipient = recipient;
    this.#nextId = 1 + Math.floor(chance * 0xfffe);
  }

  get isIdle(): boolean {
    return this.#current === undefined && (this.#queue.length === 0 || this.#left === 0);
  }

  /** True if it is idle though messages wait: the client takes so many and no more. */
  get isCutShort(): boolean {
    return this.#left === 0 && this.#queue.length > 0;
  }

  /** The memory of what waits, in bytes, about. */
  get memoryBytes(): number {
    return this.#queuedBytes;
  }

  nextDeadline(): number {
    return this.#isHeld ? Infinity : (this.#current?.dueAt ?? Infinity);
  }

  /** Takes a message from the broker. One that fits into no datagram does not wait until the client is awake. */
  add(delivery: Delivery, now: number): void {
    const size = this.#sizeBeyondLimit(delivery);
    if (size !== undefined) {
      this.#recipient.tooLarge(delivery.topic, size);
      return this.#refuse(delivery);
    }
    if (delivery.qos === 0) {
      if (this.#queuedQoS0 >= snQueuedMax) {
        this.#recipient.metrics.dropped++;
        return;
      }
      this.#queuedQoS0++;
    }
    this.#queue.push(delivery);
    this.#queuedBytes += memoryOf(delivery);
    this.#next(now);
  }

  /** Takes the broker's PUBREL. */
  release(packetId: number, now: number): void {
    const current = this.#current;
    if (current?.phase !== "released" || current.item.packetId !== packetId) {
      this.#queue.push({ kind: "release", packetId });
      return this.#next(now);
    }
    current.phase = "release";
    current.tries = 0;
    this.#send(current, { kind: "pubrel", messageId: packetId }, now);
  }

  /** Sends nothing more: the client sleeps. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Sends again, `most` messages at most: the client is awake. What was under way is sent once more. */
  go(now: number, most = Infinity): void {
    this.#left = most;
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const current = this.#current;
    if (current === undefined) return this.#next(now);
    current.tries = 0;
    if (current.sent !== undefined && current.phase !== "released") this.#repeat(current, now);
    else if (current.phase !== "released") this.#begin(current, now);
  }

  /** Forgets everything: the broker sends again what was not acknowledged. */
  reset(): void {
    this.#queue.drain();
    this.#queuedQoS0 = 0;
    this.#queuedBytes = 0;
    this.#current = undefined;
  }

  tick(now: number): void {
    const current = this.#current;
    if (current === undefined || this.#isHeld || current.dueAt > now) return;
    if (current.tries >= snRetriesMax) {
      current.dueAt = Infinity;
      return this.#recipient.unanswered();
    }
    current.tries++;
    this.#recipient.metrics.retransmitted++;
    this.#repeat(current, now);
  }

  /** Handles the client's REGACK. */
  registered({ topicId, messageId, code }: { topicId: number; messageId: number; code: number }, now: number): void {
    const current = this.#current;
    if (current === undefined || current.messageId !== messageId) return;
    if (current.phase !== "register" && current.phase !== "challenge") return;
    this.#recipient.peer.isProven = true;
    current.tries = 0;
    if (current.phase === "challenge" || current.item.kind === "release") return this.#begin(current, now);
    if (code === ReturnCode.congestion) return;
    if (code !== ReturnCode.accepted) return this.#refused(current, now);
    const topic = this.#recipient.topics.find(current.item.topic);
    if (topic?.id === topicId) topic.isKnown = true;
    this.#begin(current, now);
  }

  /** Handles the client's PUBACK: the end of QoS 1, or an error. */
  acknowledged({ topicId, messageId, code }: { topicId: number; messageId: number; code: number }, now: number): void {
    const { topics } = this.#recipient;
    const current = this.#current;
    if (code === ReturnCode.invalidTopicId) {
      // PUBACK of 2.0 does not name it.
      const sent = topicId === 0 && current?.messageId === messageId ? current.sent : undefined;
      const unknown = topics.topicOf(sent?.kind === "publish" ? sent.topicId : topicId);
      if (unknown !== undefined) unknown.isKnown = false;
    }
    if (current === undefined || current.item.kind === "release" || current.messageId !== messageId) return;
    if (current.phase !== "publish" || code === ReturnCode.congestion) return;
    if (code === ReturnCode.invalidTopicId && current.unknown < snRetriesMax) {
      current.unknown++;
      current.tries = 0;
      return this.#begin(current, now);
    }
    if (code !== ReturnCode.accepted) return this.#refused(current, now);
    if (current.item.qos !== 1) return;
    this.#recipient.acknowledge(PacketType.puback, messageId, Reason.success);
    this.#done(now);
  }

  /** Handles the client's PUBREC. */
  received(messageId: number): void {
    const current = this.#current;
    const isThis = current !== undefined && current.item.packetId === messageId;
    if (isThis && current.phase === "publish" && current.item.kind === "publish" && current.item.qos === 2) {
      current.phase = "released";
      current.isReceived = true;
      current.dueAt = Infinity;
      return this.#recipient.acknowledge(PacketType.pubrec, messageId, Reason.success);
    }
    if (isThis && current.phase === "released") return;
    // Of what the broker has not heard it sends PUBLISH again, after which the client must not have released it: it
    // would take it for another message. Where nothing can come any more the client is let go on.
    const isOver = current === undefined && this.#queue.length === 0 && !this.#recipient.mailWaits();
    if (isOver || (isThis && current.phase === "release")) this.#recipient.peer.tell({ kind: "pubrel", messageId });
  }

  /** Handles the client's PUBCOMP. */
  completed(messageId: number, now: number): void {
    const current = this.#current;
    if (current?.phase !== "release" || current.item.packetId !== messageId) return;
    this.#recipient.acknowledge(PacketType.pubcomp, messageId, Reason.success);
    this.#done(now);
  }

  #next(now: number): void {
    while (this.#current === undefined && !this.#isHeld && this.#left > 0) {
      const item = this.#queue.shift();
      if (item === undefined) return;
      if (item.kind === "publish") this.#queuedBytes -= memoryOf(item);
      if (item.kind === "publish" && item.qos === 0) this.#queuedQoS0--;
      const current: Current = {
        ...{ item, phase: "publish", messageId: item.packetId, sent: undefined },
        ...{ tries: 0, dueAt: Infinity, isReceived: false, unknown: 0 },
      };
      this.#current = current;
      this.#begin(current, now);
    }
  }

  #done(now: number): void {
    this.#current = undefined;
    this.#left--;
    this.#next(now);
    if (this.isIdle) this.#recipient.idle(now);
  }

  /** Sends the message that is under way, or what must be sent before it. */
  #begin(current: Current, now: number): void {
    const { item } = current;
    if (item.kind === "release" || current.isReceived) {
      current.phase = "release";
      return this.#send(current, { kind: "pubrel", messageId: item.packetId }, now);
    }
    // The client may have said since that it takes no packets so large, or be behind a forwarder now.
    const size = this.#sizeBeyondLimit(item);
    if (size !== undefined) {
      this.#recipient.tooLarge(item.topic, size);
      return this.#refused(current, now);
    }
    const topic = this.#topicOf(item.topic);
    if (topic === undefined) return this.#register(current, item.topic, now);
    const { qos, retain, packetId, payload: data } = item;
    const dup = item.dup || (current.unknown > 0 && qos > 0);
    current.phase = "publish";
    current.messageId = packetId;
    this.#send(current, { kind: "publish", dup, qos, retain, ...topic, messageId: packetId, data }, now);
    if (qos === 0 && current.phase === "publish" && this.#current === current) this.#done(now);
  }

  /** Returns how the client knows a topic; undefined: it does not yet. */
  #topicOf(topic: string): { topicKind: TopicKind; topicId: number } | undefined {
    const { topics } = this.#recipient;
    const registered = topics.find(topic);
    if (registered?.isKnown) return { topicKind: TopicKind.name, topicId: registered.id };
    const predefined = this.#recipient.predefinedId(topic);
    if (predefined !== undefined) return { topicKind: TopicKind.predefined, topicId: predefined };
    const short = shortIdOf(topic);
    return short === undefined ? undefined : { topicKind: TopicKind.short, topicId: short };
  }

  #register(current: Current, topic: string, now: number): void {
    const { topics, peer, datagramBytesMax } = this.#recipient;
    const { id: topicId } = topics.idOf(topic);
    const messageId = this.#newId();
    current.phase = "register";
    current.messageId = messageId;
    const message: SnMessage = { kind: "register", topicId, messageId, topic };
    const size = peer.encode(message).length + peer.overhead;
    if (size > datagramBytesMax) {
      this.#recipient.tooLarge(topic, size);
      return this.#refused(current, now);
    }
    this.#send(current, message, now);
  }

  /** The message cannot reach the client: the broker is told that it is refused, and the next one has its turn. */
  #refused({ item }: Current, now: number): void {
    if (item.kind === "publish") this.#refuse(item);
    this.#done(now);
  }

  #refuse({ qos, packetId }: Delivery): void {
    if (qos === 0) return;
    const type = qos === 1 ? PacketType.puback : PacketType.pubrec;
    this.#recipient.acknowledge(type, packetId, Reason.implementationSpecific);
  }

  /** Returns the size of the datagram that a message needs, in bytes, if the client is sent none so large. */
  #sizeBeyondLimit({ topic, payload }: Delivery): number | undefined {
    const { peer, datagramBytesMax } = this.#recipient;
    const size = publishSizeOf(payload.length) + peer.overhead;
    if (size > Math.min(datagramBytesMax, peer.packetBytesMax || Infinity)) return size;
    // A topic that the client has no id for comes in a datagram of its own.
    return topic.length > datagramBytesMax && this.#topicOf(topic) === undefined ? topic.length : undefined;
  }

  #send(current: Current, message: SnMessage, now: number): void {
    const { peer } = this.#recipient;
    const bytes = peer.encode(message);
    if (!peer.allows(bytes.length)) return this.#challenge(current, now);
    current.sent = message;
    current.dueAt = now + this.#recipient.retryMs * backOff ** current.tries;
    peer.send(bytes);
  }

  /** Asks the client to show that it hears us, before it is sent what is larger than what it has sent. */
  #challenge(current: Current, now: number): void {
    const { peer, topics, metrics, retryMs } = this.#recipient;
    metrics.challenged++;
    const messageId = this.#newId();
    current.phase = "challenge";
    current.messageId = messageId;
    current.sent = undefined;
    current.dueAt = now + retryMs * backOff ** current.tries;
    // Some clients refuse ids that are reserved, so it is one like any other.
    const topicId = topics.idOf(challengeTopic).id;
    peer.challenge(peer.encode({ kind: "register", topicId, messageId, topic: challengeTopic }));
  }

  #repeat(current: Current, now: number): void {
    const { sent } = current;
    if (sent === undefined || current.phase === "challenge") return this.#begin(current, now);
    const isAgain = sent.kind === "publish" && sent.qos > 0;
    this.#send(current, isAgain ? { ...sent, dup: true } : sent, now);
  }

  #newId(): number {
    this.#nextId = this.#nextId >= 0xffff ? 1 : this.#nextId + 1;
    return this.#nextId;
  }
}

/** Returns the memory of a message that waits, in bytes, about. */
function memoryOf({ payload, topic }: Delivery): number {
  return messageMemoryBytes + payload.length + topic.length;
}
