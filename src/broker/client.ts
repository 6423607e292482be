/**
 * A client as the broker sees it: its session, its connection if there is one, and everything on its way to
 * it. Messages for a session that ends with its connection wait in memory, within limits; those for a session
 * that outlives it wait in its mailbox.
 */
import { ProtocolError } from "../base/errors.ts";
import { outputBytesHigh, outputBytesMax, pumpOutputBytesMax, queueBytesMax } from "../base/limits.ts";
import { Ring } from "../base/ring.ts";
import type { Timer } from "../base/timers.ts";
import { sessionPath } from "../coordinator/paths.ts";
import type { SessionRecord, WillRecord } from "../mail/records.ts";
import { Settlement } from "../mail/settlement.ts";
import type { Owned, Slip } from "../mail/slips.ts";
import { writeAck } from "../mqtt/acks.ts";
import { PacketType, type QoS } from "../mqtt/constants.ts";
import { Envelope, type Publish, publishSize, writePublish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import type { RetainedMessage } from "../router/retained.ts";
import { Inflight } from "../session/inflight.ts";
import type { Verdict } from "../session/owed-acks.ts";
import type { Session } from "../session/session.ts";
import type { Connection } from "./connection.ts";
import type { Context } from "./context.ts";
import type { DropFeed } from "./drop-feed.ts";
import { Mailbox } from "./mailbox.ts";
import {
  bySettlement,
  Outgoing,
  type OutgoingTarget,
  plainQoS1,
  plainQoS2,
  plainReleased,
  reserved,
} from "./outgoing.ts";

/** Retained messages that a new subscription is still owed; they are looked up when its turn comes. */
interface RetainedFeed {
  readonly subscription: Subscription;
  entries: readonly RetainedMessage[] | undefined;
  at: number;
}

/** One envelope for all: it is filled in and used up within a call. */
const envelope = new Envelope();

export class Client {
  readonly session: Session;
  readonly context: Context;
  connection: Connection | undefined;
  /** Only a session that outlives its connection has one. */
  mailbox: Mailbox | undefined;
  /** Its session has a znode. */
  isRecorded = false;
  /** What that znode said when it was read. */
  record: SessionRecord | undefined;
  readonly owned: Owned;
  /** The number that other brokers name it by, while a persistent session is connected; 0: none. */
  handle = 0;
  /** Its session has been let go of: nothing that comes of this object counts any more. */
  isReleased = false;
  /** Ends the watch on the session's znodes. */
  unwatch: (() => void) | undefined;
  will: WillRecord | undefined;
  /** Fires when the session expires, while its client is away. */
  expiryTimer: Timer | undefined;
  /** Fires when the will of a lost connection is due. */
  willTimer: Timer | undefined;
  /** While it is connected: its ways along what lies in mail drops, by the filters of its subscriptions. */
  dropFeeds: Map<string, DropFeed> | undefined;
  /** QoS 2 publishes of this client that are not settled: how to acknowledge each when it is. */
  unsettled: Map<number, (verdict: Verdict) => void> | undefined;
  #inflight: Inflight<Outgoing> | undefined;
  #receiveMaximum = 0;
  #queue: Ring<Outgoing> | undefined;
  #queueBytes = 0;
  #feeds: Ring<RetainedFeed> | undefined;

  constructor(context: Context, session: Session) {
    this.context = context;
    this.session = session;
    this.owned = { path: sessionPath(session.clientId), version: 0 };
    if (session.persistent) this.mailbox = new Mailbox(this);
  }

  get inflight(): Inflight<Outgoing> {
    this.#inflight ??= new Inflight(this.#receiveMaximum);
    return this.#inflight;
  }

  /** True if one more QoS 1 or 2 message may be sent now. */
  get hasRoom(): boolean {
    return this.isOpen && !this.inflight.full;
  }

  /** True if the client is there and reads. */
  get isOpen(): boolean {
    const { connection } = this;
    return connection?.channel.phase === "open" && connection.writer.unsent < outputBytesHigh;
  }

  attach(connection: Connection, receiveMaximum: number): void {
    this.connection = connection;
    this.#receiveMaximum = receiveMaximum;
    this.#inflight = undefined;
  }

  /** The connection is gone. Returns what was sent and not acknowledged, with what still waited in memory. */
  detach(): Outgoing[] {
    this.connection = undefined;
    const unacknowledged = this.#inflight?.drain() ?? [];
    this.#inflight = undefined;
    this.mailbox?.detach(unacknowledged.map(([, outgoing]) => outgoing));
    const queued = this.#queue?.drain() ?? [];
    this.#queue = undefined;
    this.#queueBytes = 0;
    if (this.mailbox === undefined) this.#feeds = undefined;
    return [...unacknowledged.map(([, outgoing]) => outgoing), ...queued];
  }

  /** QoS 0: now or never. */
  sendQoS0(publish: Publish, target: OutgoingTarget): void {
    const { connection } = this;
    if (connection === undefined || connection.channel.phase !== "open") return;
    if (connection.writer.unsent > outputBytesMax) {
      this.context.metrics.droppedOutput++;
      return;
    }
    if (this.#fits(connection, publish, target, 0)) this.#write(connection, publish, target, 0, 0);
  }

  /** QoS 1 or 2 for a session that ends with its connection. */
  offer(publish: Publish, qos: QoS, target: OutgoingTarget): void {
    const { connection } = this;
    if (connection === undefined || !this.#fits(connection, publish, target, qos)) return;
    if (this.hasRoom && (this.#queue === undefined || this.#queue.length === 0)) {
      const plain =
        target.group !== undefined ? this.#outgoing(publish, qos, target) : qos === 1 ? plainQoS1 : plainQoS2;
      plain.packetId = this.inflight.add(plain);
      this.#write(connection, publish, target, qos, plain.packetId);
      return;
    }
    this.#queue ??= new Ring();
    const size = publish.size;
    if (this.#queue.length >= this.context.options.maxQueued || this.#queueBytes + size > queueBytesMax) {
      this.context.metrics.droppedQueue++;
      return;
    }
    this.#queueBytes += size;
    this.#queue.push(this.#outgoing(publish, qos, target));
  }

  /** QoS 1 for a persistent session that is connected and has room: sent at once, kept until acknowledged. */
  sendLive(outgoing: Outgoing): void {
    outgoing.packetId = this.inflight.add(outgoing);
    this.transmit(outgoing, false);
  }

  /** Writes a message that has its packet id. */
  transmit(outgoing: Outgoing, dup: boolean): void {
    this.#write(this.connection!, outgoing.publish!, outgoing, outgoing.qos, outgoing.packetId, dup);
  }

  /** True unless the client said that it takes no packet so large: then it counts as delivered [MQTT-3.1.2-25]. */
  fits(publish: Publish, target: OutgoingTarget): boolean {
    return this.connection === undefined || this.#fits(this.connection, publish, target, target.qos);
  }

  isExpired(publish: Publish): boolean {
    const until = Math.min(publish.expiresAt, publish.keepUntil);
    if (until === Infinity || until > this.context.clock.wall()) return false;
    this.context.metrics.droppedExpired++;
    return true;
  }

  /** PUBACK, PUBREC or PUBCOMP has come. Throws `ProtocolError` for one of the wrong kind. */
  acknowledge(type: number, packetId: number, reason: number): void {
    const outgoing = this.#inflight?.get(packetId);
    if (outgoing === undefined || outgoing === reserved || outgoing.acknowledged) {
      if (type === PacketType.pubrec) this.#sendPubrel(packetId, Reason.packetIdentifierNotFound);
      return;
    }
    if ((type === PacketType.puback) !== (outgoing.qos === 1) || (type === PacketType.pubcomp && !outgoing.released)) {
      throw new ProtocolError(Reason.protocolError, `the wrong ack for packet identifier ${packetId}`);
    }
    if (type === PacketType.pubrec && reason < Reason.unspecifiedError) return this.#receiveMessage(outgoing, packetId);
    if (outgoing.client === undefined) this.inflight.remove(packetId);
    else this.#finish(outgoing);
    this.pump();
  }

  /**
   * Messages that were sent and are not acknowledged go to the mailbox now, before one that must not come ahead of them
   * there.
   */
  bankLive(): void {
    const live: Outgoing[] = [];
    for (const outgoing of this.#inflight?.all() ?? []) {
      if (outgoing.settlement !== undefined && !outgoing.takenCareOf && !outgoing.acknowledged) live.push(outgoing);
    }
    for (const outgoing of live.sort(bySettlement)) this.context.settlements.bank(outgoing.settlement!, [outgoing]);
  }

  /** Names of the slips whose messages were sent in this connection. */
  slipsInFlight(): Set<string> {
    const names = new Set<string>();
    for (const { slip } of this.#inflight?.all() ?? []) if (slip?.name !== undefined) names.add(slip.name);
    return names;
  }

  /** True if it was sent in this connection and holds its packet id. */
  isInFlight(outgoing: Outgoing): boolean {
    return this.#inflight?.get(outgoing.packetId) === outgoing;
  }

  /** The slip of a message that was acknowledged while it was being committed. */
  bankedTooLate(outgoing: Outgoing, slip: Slip): void {
    this.discard(slip);
    if (this.#inflight?.get(outgoing.packetId) === outgoing) this.#inflight.remove(outgoing.packetId);
    this.pump();
  }

  /** Sends what waits, as far as there is room. */
  pump(): void {
    if (this.#feeds !== undefined) this.#pumpFeeds(this.#feeds);
    if (this.#queue !== undefined && this.#queue.length > 0) this.#pumpQueue(this.#queue);
    this.mailbox?.pump();
    if (this.dropFeeds !== undefined) for (const feed of this.dropFeeds.values()) feed.pump();
  }

  /** Streams the retained messages of a new subscription. */
  feed(subscription: Subscription): void {
    this.#feeds ??= new Ring();
    this.#feeds.push({ subscription, entries: undefined, at: 0 });
    this.#pumpFeeds(this.#feeds);
  }

  /** The slip's recipient has its message. */
  discard(slip: Slip): void {
    this.mailbox!.discard(slip);
  }

  #outgoing(publish: Publish, qos: QoS, target: OutgoingTarget): Outgoing {
    return new Outgoing(this, { ...pick(target), qos }, publish.kept());
  }

  #receiveMessage(outgoing: Outgoing, packetId: number): void {
    if (outgoing === plainQoS2) this.inflight.replace(packetId, plainReleased);
    if (outgoing.slip === undefined || outgoing.released) {
      if (outgoing.client !== undefined) outgoing.released = true;
      return this.#sendPubrel(packetId, Reason.success);
    }
    outgoing.released = true;
    const { connection } = this;
    this.context.slips.release(outgoing.slip, {
      owned: this.owned,
      done: () => {
        if (this.connection === connection) this.#sendPubrel(packetId, Reason.success);
      },
      refused: () => this.context.evict(this),
    });
  }

  #finish(outgoing: Outgoing): void {
    outgoing.acknowledged = true;
    if (outgoing.settlement !== undefined && !outgoing.takenCareOf) {
      outgoing.takenCareOf = true;
      outgoing.settlement.done();
    }
    // Its slip is on its way into the store: the packet id is not free before it is on its way out again. After a
    // crash two messages would claim the id otherwise.
    if (outgoing.slip === undefined && outgoing.isBeingBanked) return;
    if (outgoing.slip !== undefined) this.discard(outgoing.slip);
    this.inflight.remove(outgoing.packetId);
  }

  #sendPubrel(packetId: number, reason: number): void {
    const { writer, channel } = this.connection!;
    writeAck(writer, PacketType.pubrel, packetId, channel.version === 5 ? reason : 0);
  }

  #pumpQueue(queue: Ring<Outgoing>): void {
    while (this.hasRoom) {
      const outgoing = queue.shift();
      if (outgoing === undefined) return;
      const publish = outgoing.publish!;
      this.#queueBytes -= publish.size;
      if (this.isExpired(publish)) continue;
      const plain = outgoing.group !== undefined ? outgoing : outgoing.qos === 1 ? plainQoS1 : plainQoS2;
      plain.packetId = this.inflight.add(plain);
      this.#write(this.connection!, publish, outgoing, outgoing.qos, plain.packetId);
    }
  }

  #pumpFeeds(feeds: Ring<RetainedFeed>): void {
    for (let feed = feeds.peek(); feed !== undefined; feed = feeds.peek()) {
      feed.entries ??= this.context.retained.match(feed.subscription.filter.levels);
      while (feed.at < feed.entries.length) {
        if (!this.#feedOne(feed.subscription, feed.entries[feed.at]!)) return;
        feed.at++;
      }
      feeds.shift();
    }
  }

  /** False if there is no room now. */
  #feedOne(subscription: Subscription, { topic, publish }: RetainedMessage): boolean {
    const { connection, context } = this;
    if (connection === undefined || connection.channel.phase !== "open") return false;
    // Replaced since the client subscribed: it has had the newer one as a live message, and must not get the
    // older one after it.
    if (context.retained.get(topic)?.publish !== publish || this.isExpired(publish)) return true;
    // It lies in a mail drop too, and comes from there in its turn.
    if (publish.copyUntil > context.clock.wall() && this.dropFeeds?.has(subscription.filter.text)) return true;
    const qos = Math.min(publish.qos, subscription.qos) as QoS;
    const subscriptionIds = subscription.id === 0 ? [] : [subscription.id];
    const target: OutgoingTarget = { qos, retain: true, subscriptionIds, group: undefined };
    if (!this.#fits(connection, publish, target, qos)) return true;
    if (qos === 0) {
      if (connection.writer.unsent > pumpOutputBytesMax) return false;
      this.#write(connection, publish, target, 0, 0);
      return true;
    }
    if (!this.hasRoom) return false;
    if (this.mailbox === undefined) {
      this.#write(connection, publish, target, qos, this.inflight.add(qos === 1 ? plainQoS1 : plainQoS2));
      return true;
    }
    const { banking, mail, metrics } = context;
    const payment = banking.reserve(banking.termsOf(publish).credits);
    if (payment === undefined) {
      metrics.refused++;
      return true;
    }
    const outgoing = new Outgoing(this, target, publish);
    outgoing.settlement = new Settlement(publish, mail.nextOrder());
    outgoing.settlement.payment = payment;
    outgoing.settlement.waitFor(outgoing);
    if (qos === 1) this.sendLive(outgoing);
    else this.mailbox.store(outgoing);
    return true;
  }

  #fits(connection: Connection, publish: Publish, target: OutgoingTarget, qos: QoS): boolean {
    const { channel } = connection;
    if (channel.packetBytesMax === Infinity) return true;
    envelope.version5 = channel.version === 5;
    envelope.qos = qos;
    envelope.subscriptionIds = target.subscriptionIds;
    // Room for an alias is reserved: whether one is given is decided when the packet is written.
    envelope.alias = channel.outgoingAliases === undefined ? 0 : 1;
    envelope.aliasKnown = false;
    if (publishSize(publish, envelope) <= channel.packetBytesMax) return true;
    this.context.metrics.droppedSize++;
    return false;
  }

  #write(
    connection: Connection,
    publish: Publish,
    target: OutgoingTarget,
    qos: QoS,
    packetId: number,
    dup = false,
  ): void {
    const { channel, writer } = connection;
    envelope.qos = qos;
    envelope.retain = target.retain;
    envelope.dup = dup;
    envelope.packetId = packetId;
    envelope.version5 = channel.version === 5;
    envelope.subscriptionIds = target.subscriptionIds;
    envelope.alias = 0;
    envelope.aliasKnown = false;
    if (channel.outgoingAliases !== undefined) {
      const { alias, known } = channel.outgoingAliases.assign(publish);
      envelope.alias = alias;
      envelope.aliasKnown = known;
    }
    const wall = publish.expiresAt === Infinity ? 0 : this.context.clock.wall();
    writePublish(writer, publish, envelope, wall);
    const { metrics } = this.context;
    metrics.publishesSent++;
    if (qos === 1) metrics.sentQoS1++;
    else if (qos === 2) metrics.sentQoS2++;
  }
}

function pick({ retain, subscriptionIds, group }: OutgoingTarget): Omit<OutgoingTarget, "qos"> {
  return { retain, subscriptionIds, group };
}
