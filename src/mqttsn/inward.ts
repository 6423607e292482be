/** The messages that come to a client of MQTT-SN, with what it answers: REGACK, and the acks of QoS 1 and 2. */
import { ReturnCode, TopicKind } from "./constants.ts";
import type { SnMessage, SnPublish } from "./message-kinds.ts";
import { shortNameOf } from "./terms.ts";

/** A message for the client; its payload is a view of the datagram. */
export interface Received {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly messageId: number;
}

interface InwardDoors {
  tell(message: SnMessage): void;
  received(message: Received): void;
}

export class Inward {
  readonly #doors: InwardDoors;
  readonly #topics = new Map<number, string>();
  /** Messages of QoS 2 whose PUBREL has not come: they are not taken twice. The gateway sends one at a time. */
  readonly #unreleased = new Set<number>();

  constructor(doors: InwardDoors) {
    this.#doors = doors;
  }

  /** Remembers which topic an id stands for. */
  learn(topicId: number, topic: string): void {
    this.#topics.set(topicId, topic);
  }

  register({ topicId, messageId, topic }: Extract<SnMessage, { kind: "register" }>): void {
    this.learn(topicId, topic);
    this.#doors.tell({ kind: "regack", topicId, messageId, code: ReturnCode.accepted });
  }

  publish(message: SnPublish): void {
    const { topicKind, topicId, messageId, qos, retain, dup, data } = message;
    if (qos === -1) return;
    const topic = topicKind === TopicKind.name ? this.#topics.get(topicId) : nameOf(topicKind, topicId);
    if (topic === undefined)
      return this.#doors.tell({ kind: "puback", topicId, messageId, code: ReturnCode.invalidTopicId });
    if (qos === 2 && this.#unreleased.has(messageId)) return this.#doors.tell({ kind: "pubrec", messageId });
    if (qos === 2) this.#unreleased.add(messageId);
    this.#doors.received({ topic, payload: data, qos, retain, dup, messageId });
    if (qos === 1) this.#doors.tell({ kind: "puback", topicId, messageId, code: ReturnCode.accepted });
    if (qos === 2) this.#doors.tell({ kind: "pubrec", messageId });
  }

  release(messageId: number): void {
    this.#unreleased.delete(messageId);
    this.#doors.tell({ kind: "pubcomp", messageId });
  }
}

/** Returns what a topic is called that needs no registration; a predefined id, by its number: its name is not known. */
function nameOf(topicKind: TopicKind, topicId: number): string {
  return topicKind === TopicKind.short ? shortNameOf(topicId) : `${topicId}`;
}
