/**
 * One client's requests, and the broker's answers to them: PUBLISH, REGISTER, SUBSCRIBE and UNSUBSCRIBE. What comes
 * again, from the client or from the network, is answered again and not done again; what cannot be done now is answered
 * with "congestion".
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { snRequestsMax, snUnreadMax } from "../base/sn-limits.ts";
import { PacketType, type QoS } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { isTopicName, parseFilter } from "../mqtt/topic.ts";
import { Answers, hashOf } from "./answers.ts";
import { ReturnCode, type SnQoS, TopicKind } from "./constants.ts";
import type { SnMessage, SnPublish, TopicChoice } from "./message-kinds.ts";
import { ackPacket, publishPacket, subscribePacket, unsubscribePacket } from "./mqtt-packets.ts";
import type { Peer } from "./peer.ts";
import type { PredefinedTopics } from "./predefined-topics.ts";
import type { SnMetrics } from "./sn-metrics.ts";
import type { TopicIds } from "./topic-ids.ts";

type Of<Kind extends SnMessage["kind"]> = Extract<SnMessage, { kind: Kind }>;

/** A request whose answer the broker owes. */
interface Asked {
  readonly kind: "publish" | "subscribe" | "unsubscribe";
  readonly topicId: number;
  readonly question: number;
  /** The topic of a subscription that gets an id; undefined: it gets none. */
  readonly topic?: string | undefined;
}

/** The way to the broker. */
interface Way {
  readonly waiting: number;
  send(packet: Uint8Array): void;
}

/** The client whose requests they are. */
interface Asker {
  readonly clientId: string;
  readonly peer: Peer;
  readonly topics: TopicIds;
  /** The way to the broker; undefined: it has none. */
  readonly way: Way | undefined;
}

/** The parts that all clients share. */
interface Shared {
  readonly predefined: PredefinedTopics;
  readonly metrics: SnMetrics;
}

export class Requests {
  readonly #device: Asker;
  readonly #shared: Shared;
  /** Undefined: nothing is asked, as of most. */
  #asked: Map<number, Asked> | undefined;
  readonly #answers = new Answers();

  constructor(device: Asker, shared: Shared) {
    this.#device = device;
    this.#shared = shared;
  }

  /** Forgets what is asked; `isNew`: the client begins anew, and its old answers count no more. */
  reset(isNew: boolean): void {
    this.#asked = undefined;
    if (isNew) this.#answers.clear();
  }

  receive(message: Of<"publish" | "register" | "subscribe" | "unsubscribe">, bytes: Uint8Array, now: number): void {
    switch (message.kind) {
      case "publish":
        return message.qos === 1 || message.qos === 2
          ? this.#publish(message, message.qos, bytes, now)
          : this.#publishQoS0(message);
      case "register":
        return this.#register(message);
      case "subscribe":
        return this.#subscribe(message, bytes, now);
      case "unsubscribe":
        return this.#unsubscribe(message, bytes, now);
    }
  }

  /** Handles the client's PUBREL. */
  release(messageId: number): void {
    if (messageId !== 0) this.#device.way?.send(ackPacket(PacketType.pubrel, messageId));
  }

  /** Handles the broker's answer. */
  answered(packet: { kind: string; packetId: number; reason: number }, now: number): void {
    const { packetId: messageId, reason } = packet;
    const device = this.#device;
    if (packet.kind === "pubcomp") return void device.peer.tell({ kind: "pubcomp", messageId });
    const asked = this.#asked?.get(messageId);
    if (asked === undefined) {
      // QoS 2 that the client sends again after its connection has changed.
      if (packet.kind === "pubrec") device.peer.tell({ kind: "pubrec", messageId });
      return;
    }
    this.#asked?.delete(messageId);
    if (this.#asked?.size === 0) this.#asked = undefined;
    this.#answer(messageId, asked.question, this.#replyTo(asked, packet.kind, { messageId, reason }), now);
  }

  #replyTo(asked: Asked, kind: string, { messageId, reason }: { messageId: number; reason: number }): SnMessage {
    const { topicId, topic } = asked;
    const { topics } = this.#device;
    if (asked.kind === "unsubscribe") return { kind: "unsuback", messageId };
    if (asked.kind === "subscribe") {
      const isGranted = reason < Reason.unspecifiedError;
      const qos: SnQoS = isGranted ? (reason as QoS) : 0;
      if (!isGranted) return { kind: "suback", qos, topicId: 0, messageId, code: codeOf(reason) };
      if (topic === undefined) return { kind: "suback", qos, topicId, messageId, code: ReturnCode.accepted };
      const predefined = this.#predefinedIn2(topic);
      if (predefined !== undefined)
        return { kind: "suback", qos, topicId: predefined, messageId, code: ReturnCode.accepted, isPredefined: true };
      const registered = topics.idOf(topic);
      registered.isKnown = true;
      return { kind: "suback", qos, topicId: registered.id, messageId, code: ReturnCode.accepted };
    }
    if (kind === "pubrec" && reason < Reason.unspecifiedError) return { kind: "pubrec", messageId };
    return { kind: "puback", topicId, messageId, code: codeOf(reason) };
  }

  #answer(messageId: number, question: number, message: SnMessage, now: number): void {
    this.#countCongestion(message);
    const reply = this.#device.peer.encode(message);
    // What was refused for the moment may be asked again.
    if (!("code" in message) || message.code === ReturnCode.accepted)
      this.#answers.add(messageId, question, reply, now);
    this.#device.peer.send(reply);
  }

  #tell(message: SnMessage): void {
    this.#countCongestion(message);
    this.#device.peer.tell(message);
  }

  #countCongestion(message: SnMessage): void {
    if ("code" in message && message.code === ReturnCode.congestion) this.#shared.metrics.congested++;
  }

  #publishQoS0(message: SnPublish): void {
    const device = this.#device;
    const { metrics } = this.#shared;
    const topic = this.#topicOf(message);
    const { topicId, messageId } = message;
    if (topic === undefined)
      return void device.peer.tell({ kind: "puback", topicId, messageId, code: ReturnCode.invalidTopicId });
    const inner = this.#device.way;
    if (inner === undefined || inner.waiting >= snUnreadMax) {
      metrics.dropped++;
      return;
    }
    const { retain, data } = message;
    inner.send(publishPacket({ topic, qos: 0, retain, dup: false, packetId: 0 }, data));
  }

  #publish(message: SnPublish, qos: 1 | 2, bytes: Uint8Array, now: number): void {
    const { topicId, messageId, dup } = message;
    const refuse = (code: number): void => this.#tell({ kind: "puback", topicId, messageId, code });
    if (messageId === 0) return refuse(ReturnCode.notSupported);
    const topic = this.#topicOf(message);
    if (topic === undefined) return refuse(ReturnCode.invalidTopicId);
    const question = hashOf(bytes, true);
    if (this.#isDone(messageId, question, dup, now)) return;
    if (!this.#hasRoom(messageId)) return refuse(ReturnCode.congestion);
    this.#ask(messageId, { kind: "publish", topicId, question });
    const { retain, data } = message;
    this.#device.way?.send(publishPacket({ topic, qos, retain, dup, packetId: messageId }, data));
  }

  #register({ messageId, topic }: Of<"register">): void {
    const { peer, topics } = this.#device;
    if (!isTopicName(topic))
      return void peer.tell({ kind: "regack", topicId: 0, messageId, code: ReturnCode.notSupported });
    const predefined = this.#predefinedIn2(topic);
    const code = ReturnCode.accepted;
    if (predefined !== undefined)
      return void peer.tell({ kind: "regack", topicId: predefined, messageId, code, isPredefined: true });
    const registered = topics.idOf(topic);
    registered.isKnown = true;
    peer.tell({ kind: "regack", topicId: registered.id, messageId, code });
  }

  /** Returns the predefined id of a topic, which in 2.0 gets no other one (4.7.2.2). */
  #predefinedIn2(topic: string): number | undefined {
    const device = this.#device;
    const { predefined } = this.#shared;
    return device.peer.version === 2 ? predefined.find(device.clientId, topic)?.id : undefined;
  }

  #subscribe(message: Of<"subscribe">, bytes: Uint8Array, now: number): void {
    const { messageId, dup } = message;
    const refuse = (code: number): void => this.#tell({ kind: "suback", qos: 0, topicId: 0, messageId, code });
    const filter = this.#filterOf(message);
    if (filter === undefined) return refuse(ReturnCode.invalidTopicId);
    if (messageId === 0 || message.qos === -1 || parseFilter(filter) === undefined)
      return refuse(ReturnCode.notSupported);
    const question = hashOf(bytes, true);
    if (this.#isDone(messageId, question, dup, now)) return;
    if (!this.#hasRoom(messageId)) return refuse(ReturnCode.congestion);
    // A filter with wildcards has no id: its topics get theirs before their first PUBLISH.
    const topic = message.topicKind === TopicKind.name && isTopicName(filter) ? filter : undefined;
    const topicId = message.topicKind === TopicKind.predefined ? message.topicId : 0;
    this.#ask(messageId, { kind: "subscribe", topicId, question, topic });
    this.#device.way?.send(subscribePacket(messageId, { topic: filter, qos: message.qos, ...message.of2 }));
  }

  #unsubscribe(message: Of<"unsubscribe">, bytes: Uint8Array, now: number): void {
    const { messageId } = message;
    const filter = this.#filterOf(message);
    const { peer } = this.#device;
    if (messageId === 0) return;
    // There is no return code: what is not there is not subscribed to.
    if (filter === undefined || parseFilter(filter) === undefined)
      return void peer.tell({ kind: "unsuback", messageId });
    const question = hashOf(bytes, true);
    if (this.#isDone(messageId, question, true, now) || !this.#hasRoom(messageId)) return;
    this.#ask(messageId, { kind: "unsubscribe", topicId: 0, question });
    this.#device.way?.send(unsubscribePacket(messageId, filter));
  }

  #ask(messageId: number, asked: Asked): void {
    this.#asked ??= new Map();
    this.#asked.set(messageId, asked);
  }

  /** Returns true if the same is being done, or has been: then it is answered again. */
  #isDone(messageId: number, question: number, isAgain: boolean, now: number): boolean {
    const device = this.#device;
    const { metrics } = this.#shared;
    const isAsked = this.#asked?.get(messageId)?.question === question;
    const reply = isAsked ? undefined : this.#answers.find(messageId, question, isAgain, now);
    if (reply !== undefined) device.peer.send(reply);
    if (!isAsked && reply === undefined) return false;
    metrics.doubled++;
    return true;
  }

  #hasRoom(messageId: number): boolean {
    const inner = this.#device.way;
    const isFull = inner === undefined || inner.waiting >= snUnreadMax || (this.#asked?.size ?? 0) >= snRequestsMax;
    return !isFull && this.#asked?.has(messageId) !== true;
  }

  #filterOf(choice: TopicChoice): string | undefined {
    const device = this.#device;
    const { predefined } = this.#shared;
    if (choice.topicKind === 3) return device.topics.topicOf(choice.topicId)?.topic;
    if (choice.topicKind !== TopicKind.predefined) return choice.topic;
    return predefined.topicOf(device.clientId, choice.topicId)?.topic;
  }

  /** Returns the bytes of the topic that a PUBLISH names; undefined: the id stands for none. */
  #topicOf({ topicKind, topicId, topic }: SnPublish): Uint8Array | undefined {
    const device = this.#device;
    const { predefined } = this.#shared;
    if (topic !== undefined) return isTopicName(topic) ? encodeUtf8(topic) : undefined;
    if (topicKind === TopicKind.predefined) return predefined.topicOf(device.clientId, topicId)?.bytes;
    if (topicKind === TopicKind.short) return shortTopic(topicId);
    const registered = device.topics.topicOf(topicId);
    // Nobody can know it who has not received what was sent to him.
    if (registered !== undefined) device.peer.isProven = true;
    return registered?.bytes;
  }
}

/** Short topic names by their ids, as far as they have been used: fewer than 2^14 are names. */
const shortTopics = new Map<number, Uint8Array>();

/** Returns the two characters of a short topic name; undefined: they are none. */
export function shortTopic(topicId: number): Uint8Array | undefined {
  const known = shortTopics.get(topicId);
  if (known !== undefined) return known;
  const topic = String.fromCharCode(topicId >> 8, topicId & 0xff);
  if (topicId >> 8 >= 0x80 || (topicId & 0xff) >= 0x80 || !isTopicName(topic)) return undefined;
  const bytes = encodeUtf8(topic);
  shortTopics.set(topicId, bytes);
  return bytes;
}

/** The return code for a reason code of the broker's. */
function codeOf(reason: number): number {
  if (reason < Reason.unspecifiedError) return ReturnCode.accepted;
  const isFull =
    reason === Reason.quotaExceeded || reason === Reason.serverBusy || reason === Reason.messageRateTooHigh;
  return isFull ? ReturnCode.congestion : ReturnCode.notSupported;
}
