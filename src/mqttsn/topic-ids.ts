/**
 * One client's topic ids (6.5). They begin at a number that nobody can guess: who uses one has received what was sent
 * to his address.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { snTopicIdsMax } from "../base/sn-limits.ts";

/** 0 and 0xffff are reserved (5.3.11). */
const idMax = 0xfffe;

/** A topic that has an id. */
export interface RegisteredTopic {
  readonly id: number;
  readonly topic: string;
  readonly bytes: Uint8Array;
  /** True if the client knows the id: it was told in REGACK or SUBACK, or has answered REGISTER. */
  isKnown: boolean;
}

/** The topics of a client that has registered none: most have none, and a table for each would cost memory. */
const none = new Map<number, RegisteredTopic>();
/** Topics up to which a second table would cost more than it saves. */
const fewMax = 8;

export class TopicIds {
  /** In the order of their last use. */
  #byId = none;
  /** Undefined: there are so few that they are looked through. */
  #byTopic: Map<string, RegisteredTopic> | undefined;
  #next: number;

  /** `chance`: uniform in 0…1. */
  constructor(chance: number) {
    this.#next = 1 + Math.floor(chance * idMax);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Returns the topic's id, a new one if it has none. */
  idOf(topic: string): RegisteredTopic {
    const known = this.find(topic);
    if (known !== undefined) {
      this.#use(known);
      return known;
    }
    if (this.#byId.size >= snTopicIdsMax) this.#dropOldest();
    const id = this.#freeId();
    const registered = { id, topic, bytes: encodeUtf8(topic), isKnown: false };
    if (this.#byId === none) this.#byId = new Map();
    this.#byId.set(id, registered);
    this.#byTopic?.set(topic, registered);
    if (this.#byTopic === undefined && this.#byId.size > fewMax)
      this.#byTopic = new Map(Array.from(this.#byId.values(), (one) => [one.topic, one]));
    return registered;
  }

  /** Returns the topic with an id, undefined: there is none. */
  topicOf(id: number): RegisteredTopic | undefined {
    const registered = this.#byId.get(id);
    // Only where there are many does it matter which was used last.
    if (registered !== undefined && this.#byId.size > snTopicIdsMax / 2) this.#use(registered);
    return registered;
  }

  /** Returns the topic's entry if it has an id. */
  find(topic: string): RegisteredTopic | undefined {
    if (this.#byTopic !== undefined) return this.#byTopic.get(topic);
    for (const registered of this.#byId.values()) if (registered.topic === topic) return registered;
    return undefined;
  }

  /** The client may have been restarted: it is told ids again before it is sent something under them. */
  forgetKnown(): void {
    for (const registered of this.#byId.values()) registered.isKnown = false;
  }

  #use(registered: RegisteredTopic): void {
    this.#byId.delete(registered.id);
    this.#byId.set(registered.id, registered);
  }

  #dropOldest(): void {
    const [oldest] = this.#byId.values();
    this.#byId.delete(oldest!.id);
    this.#byTopic?.delete(oldest!.topic);
  }

  #freeId(): number {
    while (this.#byId.has(this.#next)) this.#advance();
    const id = this.#next;
    this.#advance();
    return id;
  }

  #advance(): void {
    this.#next = this.#next >= idMax ? 1 : this.#next + 1;
  }
}
