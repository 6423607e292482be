/**
 * One process's share of a load: its clients, what they have sent and seen. It is told when to go and when to stop;
 * connections are made by whoever runs it.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { loadBatchMax, loadUnsentBytesMax } from "../base/client-limits.ts";
import type { Clock } from "../base/clock.ts";
import { writeAck } from "../mqtt/acks.ts";
import { PacketType } from "../mqtt/constants.ts";
import { Publish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Sink } from "../mqtt/sink.ts";
import { Latencies, type LatenciesJson } from "./latencies.ts";
import { fill, indicesOf, isShared, isStamped, isVarying, type Kind, type Plan, type Share } from "./plan.ts";
import { Stamp } from "./stamp.ts";
import { Streams } from "./streams.ts";
import { fillPayload } from "./template.ts";

/** A connection, as the load needs it. */
export interface LoadConnection {
  readonly unsent: number;
  /** Undefined: it acknowledges by itself. */
  readonly sink: Sink | undefined;
  /** Undefined: it is open. */
  readonly whyClosed: string | undefined;
  write(publish: Publish, packetId: number, dup: boolean): void;
  subscribe(filters: readonly string[], options: { readonly qos: 0 | 1 | 2 }): Promise<readonly number[]>;
  disconnect(): void;
}

/** The events of a connection; of a session that was kept, messages may come before `DialLoad` has resolved. */
export interface LoadEvents {
  readonly onPublish: (publish: Publish, connection: LoadConnection) => void;
  /** A publish of ours has ended; its packet id is free again. */
  readonly onSettled: (unacknowledged: InFlight, reason: number) => void;
  readonly onClose: (why: string) => void;
  readonly onDrained: () => void;
}

export interface Dialled {
  readonly connection: LoadConnection;
  /** Takes a publish of QoS 1 or 2 under a packet id. */
  readonly add: (inFlight: InFlight) => number;
}

export type DialLoad = (kind: Kind, index: number, events: LoadEvents) => Promise<Dialled>;

export interface InFlight {
  readonly publish: Publish;
  released: boolean;
  reason: number;
  /** ms since 1970. */
  readonly sentAt: number;
}

/** Counts since the load began. */
export interface Counts {
  connected: number;
  /** Connections that could not be made, or were lost. */
  failed: number;
  /** The reason that the last of those connections gave. */
  failure: string | undefined;
  sent: number;
  /** Acknowledged by the broker. */
  acked: number;
  refused: number;
  /** Messages received for the first time. */
  received: number;
  duplicates: number;
  outOfOrder: number;
  /** Messages that the load has not sent. */
  foreign: number;
}

export interface Outcome {
  readonly counts: Counts;
  /** Messages of each publisher of this share, in the order of their numbers. */
  readonly sentBy: readonly number[];
  readonly connecting: LatenciesJson;
  readonly acking: LatenciesJson;
  readonly delivering: LatenciesJson;
}

class Publisher {
  readonly index: number;
  readonly dialled: Dialled;
  readonly publish = new Publish();
  sent = 0;
  inFlight = 0;

  constructor(index: number, dialled: Dialled) {
    this.index = index;
    this.dialled = dialled;
  }
}

export class LoadWorker {
  /** The broker has taken something: there may be more to do than when `work` was called last. */
  onRoom: () => void = () => {};
  readonly #plan: Plan;
  readonly #share: Share;
  readonly #isStamped: boolean;
  readonly #isVarying: boolean;
  readonly #dial: DialLoad;
  readonly #clock: Clock;
  readonly #publishers: Publisher[] = [];
  readonly #streams: Streams[] = [];
  readonly #connections: LoadConnection[] = [];
  readonly #connecting = new Latencies();
  readonly #acking = new Latencies();
  readonly #delivering = new Latencies();
  readonly #stamp = new Stamp();
  readonly #seen = new Stamp();
  readonly #counts = { connected: 0, failed: 0, sent: 0, acked: 0, refused: 0, foreign: 0 };
  #failure: string | undefined;
  /** The publisher whose turn it is. */
  #turn = 0;
  #isStopped = false;
  #startedAt = 0;

  constructor(plan: Plan, share: Share, { dial, clock }: { dial: DialLoad; clock: Clock }) {
    this.#plan = plan;
    this.#share = share;
    this.#isStamped = isStamped(plan);
    this.#isVarying = isVarying(plan) || plan.template !== undefined;
    this.#dial = dial;
    this.#clock = clock;
  }

  get counts(): Counts {
    const sum = (what: "received" | "duplicates" | "outOfOrder"): number =>
      this.#streams.reduce((total, streams) => total + streams[what], 0);
    return {
      ...this.#counts,
      failure: this.#failure,
      received: sum("received"),
      duplicates: sum("duplicates"),
      outOfOrder: sum("outOfOrder"),
    };
  }

  get outcome(): Outcome {
    return {
      counts: this.counts,
      sentBy: this.#publishers.map(({ sent }) => sent),
      connecting: this.#connecting.toJSON(),
      acking: this.#acking.toJSON(),
      delivering: this.#delivering.toJSON(),
    };
  }

  /** All messages of all publishers are sent and, at QoS 1 and 2, acknowledged. */
  get isDone(): boolean {
    const { limit } = this.#plan;
    return this.#publishers.every(({ sent, inFlight, dialled }) => {
      const isOver = this.#isStopped || sent >= limit || dialled.connection.whyClosed !== undefined;
      return isOver && (inFlight === 0 || dialled.connection.whyClosed !== undefined);
    });
  }

  /** Connects everybody and subscribes, subscribers first. `pause` waits so many ms. */
  async connect(pause: (ms: number) => Promise<void>): Promise<void> {
    const { subscribers, publishers, idle, connectRate } = this.#plan;
    const everybody: (readonly [Kind, number])[] = [
      ...[...indicesOf(subscribers, this.#share)].map((index) => ["sub", index] as const),
      ...[...indicesOf(publishers, this.#share)].map((index) => ["pub", index] as const),
      ...[...indicesOf(idle, this.#share)].map((index) => ["idle", index] as const),
    ];
    const startedAt = this.#clock.now();
    const rate = connectRate === 0 ? Infinity : connectRate / this.#share.of;
    const under = new Set<Promise<void>>();
    for (const [at, [kind, index]] of everybody.entries()) {
      const wait = startedAt + (at / rate) * 1000 - this.#clock.now();
      if (wait > 0) await pause(wait);
      if (this.#isStopped) break;
      const one = this.#connectOne(kind, index).finally(() => under.delete(one));
      under.add(one);
      if (under.size >= connectsAtOnce) await Promise.race(under);
    }
    await Promise.all(under);
    this.#publishers.sort((a, b) => a.index - b.index);
  }

  /** The time from which on the rate counts. */
  go(): void {
    this.#startedAt = this.#clock.now();
  }

  /** Publishes what is due and what the connections take. False: there was nothing to do. */
  work(): boolean {
    if (this.#isStopped || this.#publishers.length === 0) return false;
    const { rate, publishers } = this.#plan;
    const here = (rate * this.#publishers.length) / publishers;
    const due = rate === 0 ? Infinity : ((this.#clock.now() - this.#startedAt) / 1000) * here - this.#counts.sent;
    if (due < 1) return false;
    let left = Math.min(due, loadBatchMax * this.#publishers.length);
    const before = this.#counts.sent;
    this.#stamp.sentAt = this.#clock.wall();
    // In turn, so that a rate is everybody's alike.
    const each = rate === 0 ? loadBatchMax : Math.max(1, Math.floor(left / this.#publishers.length));
    for (let tried = 0; tried < this.#publishers.length && left >= 1; tried++) {
      const publisher = this.#publishers[this.#turn++ % this.#publishers.length]!;
      left -= this.#publishSome(publisher, Math.min(each, Math.floor(left)));
    }
    return this.#counts.sent > before;
  }

  /** Publishes nothing from now on. */
  stop(): void {
    this.#isStopped = true;
  }

  end(): void {
    for (const connection of this.#connections) connection.disconnect();
  }

  async #connectOne(kind: Kind, index: number): Promise<void> {
    const startedAt = this.#clock.now();
    const plan = this.#plan;
    const streams = new Streams(isShared(plan));
    let publisher: Publisher | undefined;
    let dialled: Dialled | undefined;
    try {
      dialled = await this.#dial(kind, index, {
        onPublish: (publish, connection) => this.#receive(publish, streams, connection),
        onSettled: (inFlight, reason) => this.#settled(publisher!, inFlight, reason),
        // Before that it has failed as it was dialled.
        onClose: (why) => {
          if (dialled !== undefined) this.#fail(why);
        },
        onDrained: () => this.onRoom(),
      });
      this.#connecting.record(this.#clock.now() - startedAt);
      this.#counts.connected++;
      this.#connections.push(dialled.connection);
      if (kind === "pub") {
        publisher = this.#prepare(new Publisher(index, dialled));
        this.#publishers.push(publisher);
      }
      if (kind !== "sub") return;
      this.#streams.push(streams);
      const filter = fill(plan, plan.filter, kind, index);
      const [code = 0x80] = await dialled.connection.subscribe([filter], { qos: plan.qos });
      if (code >= Reason.unspecifiedError) this.#fail(`the broker refused ${filter}`);
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #fail(why: string): void {
    if (why === "disconnected") return;
    this.#counts.failed++;
    this.#failure = why;
  }

  #prepare(publisher: Publisher): Publisher {
    const { publish, index } = publisher;
    const { qos, retain, payload, payloadBytes } = this.#plan;
    publish.qos = qos;
    publish.retain = retain;
    publish.topicBytes = encodeUtf8(fill(this.#plan, this.#plan.topic, "pub", index));
    publish.topicEnd = publish.topicBytes.length;
    publish.payloadBytes = payload === undefined ? new Uint8Array(payloadBytes).fill(0x2e) : encodeUtf8(payload);
    publish.payloadEnd = publish.payloadBytes.length;
    return publisher;
  }

  /** Returns how many. */
  #publishSome(publisher: Publisher, most: number): number {
    const { inflight, qos, limit } = this.#plan;
    const { connection } = publisher.dialled;
    let count = 0;
    while (count < most && publisher.sent < limit && connection.whyClosed === undefined) {
      if (qos === 0 ? connection.unsent > loadUnsentBytesMax : publisher.inFlight >= inflight) break;
      this.#publishOne(publisher);
      count++;
    }
    return count;
  }

  #publishOne(publisher: Publisher): void {
    const { qos } = this.#plan;
    const stamp = this.#stamp;
    stamp.publisher = publisher.index;
    stamp.sequence = publisher.sent++;
    this.#counts.sent++;
    const { connection, add } = publisher.dialled;
    if (this.#isStamped) stamp.write(publisher.publish.payloadBytes);
    if (this.#isVarying) this.#vary(publisher);
    if (qos === 0) return connection.write(publisher.publish, 0, false);
    // It is not sent again, so it need not be kept; when it was sent is.
    publisher.inFlight++;
    const inFlight = { publish: publisher.publish, released: false, reason: 0, sentAt: stamp.sentAt };
    connection.write(publisher.publish, add(inFlight), false);
  }

  /** Gives the next message a topic and a payload of its own. */
  #vary({ publish, index, sent }: Publisher): void {
    const { topic, template, payloadBytes: randomBytes } = this.#plan;
    publish.topicBytes = encodeUtf8(fill(this.#plan, topic, "pub", index, sent));
    publish.topicEnd = publish.topicBytes.length;
    if (template === undefined) return;
    const unique = `${index * uniquesPerPublisher + sent}`;
    publish.payloadBytes = fillPayload(template, { wall: this.#clock.wall(), unique, randomBytes });
    publish.payloadEnd = publish.payloadBytes.length;
  }

  #settled(publisher: Publisher, { sentAt }: InFlight, reason: number): void {
    publisher.inFlight--;
    if (reason >= Reason.unspecifiedError) this.#counts.refused++;
    else this.#counts.acked++;
    this.#acking.record(this.#clock.wall() - sentAt);
    this.onRoom();
  }

  #receive(publish: Publish, streams: Streams, connection: LoadConnection): void {
    const { qos, packetId, payloadBytes, payloadStart, payloadEnd } = publish;
    const { sink } = connection;
    if (qos > 0 && sink !== undefined) writeAck(sink, qos === 1 ? PacketType.puback : PacketType.pubrec, packetId, 0);
    const seen = this.#seen;
    if (!seen.read(payloadBytes, payloadStart, payloadEnd)) {
      // Without a stamp it is only counted.
      this.#counts.foreign++;
      return;
    }
    streams.receive(seen.publisher, seen.sequence);
    this.#delivering.record(Math.max(0, this.#clock.wall() - seen.sentAt));
  }
}

/** Numbers of messages that each publisher has for itself. */
const uniquesPerPublisher = 1_000_000_000;
/** Connections that are being made at the same time. */
const connectsAtOnce = 100;
