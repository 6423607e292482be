/** A client's session at the test broker: subscriptions, what waits, and what is under way in both directions. */
import { Buffer } from "node:buffer";
import type { IPublishPacket, Packet } from "mqtt-packet";
import type { QoS } from "../mqtt/constants.ts";
import { filterMatches, parseFilter } from "../mqtt/topic.ts";
import type { TestMessage } from "./test-message.ts";

export interface TestSubscription {
  readonly filter: string;
  readonly levels: readonly string[];
  /** The group of a shared subscription. */
  readonly group: string | undefined;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly id: number | undefined;
}

interface UnderWay {
  readonly packet: IPublishPacket;
  isReleased: boolean;
}

/** The connection of a session, as the session sees it. */
export interface SessionLine {
  readonly version: 4 | 5;
  /** Messages of QoS 1 and 2 that the client takes unacknowledged. */
  readonly receiveMaximum: number;
  send(packet: Packet): void;
}

export class TestSession {
  readonly clientId: string;
  readonly subscriptions = new Map<string, TestSubscription>();
  /** Packet ids of QoS 2 that have come and are not released. */
  readonly incoming = new Set<number>();
  line: SessionLine | undefined;
  /** The time at which it ends, once its connection has, in ms of the broker's clock. */
  expiresAt = Infinity;
  /** Messages that wait for the client. */
  readonly #queue: { readonly packet: IPublishPacket; readonly expiresAt: number }[] = [];
  readonly #underWay = new Map<number, UnderWay>();
  #lastId = 0;

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  /** Messages that it has not acknowledged, or not been sent. */
  get waiting(): number {
    return this.#queue.length + this.#underWay.size;
  }

  /** Returns the subscriptions that match a topic. */
  matching(topic: string): TestSubscription[] {
    const levels = topic.split("/");
    return [...this.subscriptions.values()].filter((one) => filterMatches(one.levels, levels));
  }

  deliver(
    message: TestMessage,
    options: { readonly qos: QoS; readonly retain: boolean; readonly id: number | undefined },
  ): void {
    const { qos, retain, id } = options;
    const properties = { ...message.properties, ...(id === undefined ? {} : { subscriptionIdentifier: id }) };
    const packet = {
      ...{
        cmd: "publish",
        topic: message.topic,
        payload: Buffer.from(message.payload),
        qos,
        retain,
        dup: false,
        properties,
      },
    } as IPublishPacket;
    if (qos === 0) this.line?.send(packet);
    else {
      this.#queue.push({ packet, expiresAt: message.expiresAt });
      this.pump(message.publishedAt);
    }
  }

  /** Sends what the client takes now. */
  pump(now: number): void {
    while (this.line !== undefined && this.#underWay.size < this.line.receiveMaximum) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      if (next.expiresAt <= now) continue;
      const messageId = this.#takeId();
      this.#underWay.set(messageId, { packet: { ...next.packet, messageId }, isReleased: false });
      this.line.send({ ...next.packet, messageId });
    }
  }

  /** A connection goes on with it: what was under way is sent again. */
  resume(line: SessionLine, now: number): void {
    this.line = line;
    for (const [messageId, { packet, isReleased }] of this.#underWay)
      line.send(isReleased ? ({ cmd: "pubrel", messageId } as Packet) : { ...packet, dup: true });
    this.pump(now);
  }

  /** The client has acknowledged: PUBACK, PUBREC (`isRefused`: it will not have it), or PUBCOMP. */
  acknowledged(cmd: "puback" | "pubrec" | "pubcomp", messageId: number, isRefused: boolean): void {
    const one = this.#underWay.get(messageId);
    if (cmd !== "pubrec" || isRefused) this.#underWay.delete(messageId);
    else {
      if (one !== undefined) one.isReleased = true;
      this.line?.send({ cmd: "pubrel", messageId } as Packet);
    }
  }

  #takeId(): number {
    do this.#lastId = (this.#lastId % 65_535) + 1;
    while (this.#underWay.has(this.#lastId));
    return this.#lastId;
  }
}

/** Returns a filter's levels and group; undefined: it is none. */
export function readFilter(text: string): Pick<TestSubscription, "levels" | "group"> | undefined {
  const filter = parseFilter(text);
  return filter && { levels: filter.levels, group: filter.group };
}
