/**
 * A session that this broker keeps, with all messages on their way to its client: those sent and not yet acknowledged;
 * those that wait in memory, within limits, if the session ends with its connection; those in its mailbox if it does
 * not.
 */
import { ProtocolError } from "../../base/errors.ts";
import { outputBytesHigh, queueBytesMax } from "../../base/limits.ts";
import { messageMemoryBytes } from "../../base/memory-limits.ts";
import { Ring } from "../../base/ring.ts";
import type { Slip } from "../../mail/slips.ts";
import { writeAck } from "../../mqtt/acks.ts";
import { PacketType, type QoS } from "../../mqtt/constants.ts";
import { Envelope, type Publish, publishSize, topicOf, writePublish } from "../../mqtt/publish.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { Inflight } from "../../session/inflight.ts";
import type { Session } from "../../session/session.ts";
import type { Connection } from "./connection.ts";
import type { DeliveryContext } from "./delivery-context.ts";
import { KeptSession } from "./kept-session.ts";
import { Mailbox } from "./mailbox.ts";
import {
  bySettlement,
  OutgoingMessage,
  type OutgoingTarget,
  plainQoS1,
  plainQoS2,
  plainReleased,
  reserved,
  takesOf,
} from "./outgoing-message.ts";
import { RetainedFeeds } from "./retained-feed.ts";
import { subjectOfSession, tellDelivered } from "./wire-tap.ts";

/** The envelope that all sessions share: it is filled in and used up within one call. */
const envelope = new Envelope();

/** The feeds by which a client is handed what lies in mail drops, by the filters of its subscriptions. */
export interface DropFeeds {
  /** Returns true if a subscription with that filter is fed from mail drops. */
  has(filter: string): boolean;
  /** Sends the next messages, as far as there is room. */
  pump(): void;
}

/** A session that this broker keeps. It decides what is sent to the client now, what waits, and what an ack means. */
export class LocalSession extends KeptSession {
  #connection: Connection | undefined;
  /** The session's mailbox in the store; undefined for a session that ends with its connection. */
  mailbox: Mailbox | undefined;
  #inflight: Inflight<OutgoingMessage> | undefined;
  #receiveMaximum = 0;
  #queue: Ring<OutgoingMessage> | undefined;
  #queueBytes = 0;
  #feeds: RetainedFeeds | undefined;
  #dropFeeds: DropFeeds | undefined;

  constructor(context: DeliveryContext, session: Session) {
    super(context, session);
    if (session.persistent) this.mailbox = new Mailbox(this);
  }

  /** The client's connection; undefined: the client is away. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** The window of packet ids that were sent in this connection and are not acknowledged. */
  get inflight(): Inflight<OutgoingMessage> {
    const { maxInflight } = this.context.options;
    this.#inflight ??= new Inflight(this.#receiveMaximum, { idsMax: maxInflight, takes: takesOf });
    return this.#inflight;
  }

  /** True if one more QoS 1 or 2 message may be sent now: the client reads, and its Receive Maximum is not reached. */
  get hasRoom(): boolean {
    return this.isOpen && !this.inflight.full;
  }

  /** True if the client is connected and its output is not full. */
  get isOpen(): boolean {
    const connection = this.#connection;
    const outputMax = Math.min(outputBytesHigh, this.context.turn.outputBytesMax);
    return connection?.channel.phase === "open" && connection.writer.unsent < outputMax;
  }

  /** Starts to serve the session by a new connection, with an empty window. */
  attach(connection: Connection, receiveMaximum: number): void {
    this.#connection = connection;
    this.#receiveMaximum = receiveMaximum;
    this.#inflight = undefined;
  }

  /**
   * Ends the service by the connection. Returns what was sent and not acknowledged, and after it what waited in memory.
   */
  detach(): OutgoingMessage[] {
    this.#connection = undefined;
    const unacknowledged = this.#inflight?.drain() ?? [];
    this.#inflight = undefined;
    this.mailbox?.detach(unacknowledged.map(([, outgoing]) => outgoing));
    const queued = this.#queue?.drain() ?? [];
    this.#queue = undefined;
    this.#countQueued(-this.#queueBytes);
    if (this.mailbox === undefined) this.#feeds = undefined;
    return [...unacknowledged.map(([, outgoing]) => outgoing), ...queued];
  }

  /** Sends a QoS 0 message now, or drops and counts it if the client's output is full. */
  sendQoS0(publish: Publish, target: OutgoingTarget): void {
    const connection = this.#connection;
    if (connection === undefined || connection.channel.phase !== "open") return;
    if (connection.writer.unsent > this.context.turn.outputBytesMax) {
      this.context.metrics.droppedOutput++;
      this.context.drops.note("output", publish, subjectOfSession(this));
      return;
    }
    if (this.#fits(connection, publish, target, 0)) this.write(publish, target, 0);
  }

  /**
   * Sends or queues a QoS 1 or 2 message for a session that ends with its connection; drops and counts it if the queue
   * is full.
   */
  offer(publish: Publish, target: OutgoingTarget): void {
    const connection = this.#connection;
    const { qos } = target;
    if (connection === undefined || !this.#fits(connection, publish, target, qos)) return;
    if (this.hasRoom && (this.#queue === undefined || this.#queue.length === 0)) {
      const plain = target.group !== undefined ? this.#outgoing(publish, target) : qos === 1 ? plainQoS1 : plainQoS2;
      plain.packetId = this.inflight.add(plain);
      this.write(publish, target, plain.packetId);
      return;
    }
    this.#queue ??= new Ring();
    const size = publish.size;
    const { options, metrics, drops } = this.context;
    const isFull = this.#queue.length >= options.maxQueued || this.#queueBytes + size > queueBytesMax;
    if (isFull || metrics.queuedBytes + size > options.maxQueueMemory) {
      metrics.droppedQueue++;
      drops.note("queue", publish, subjectOfSession(this));
      return;
    }
    this.#countQueued(size);
    this.#queue.push(this.#outgoing(publish, target));
  }

  /**
   * Sends a QoS 1 message to a persistent session that is connected and has room, and keeps it until it is
   * acknowledged.
   */
  sendLive(outgoing: OutgoingMessage): void {
    outgoing.packetId = this.inflight.add(outgoing);
    this.transmit(outgoing, false);
  }

  /** Writes a message that has its packet id; `dup`: it was sent before [MQTT-3.3.1-1]. */
  transmit(outgoing: OutgoingMessage, dup: boolean): void {
    this.write(outgoing.publish!, outgoing, outgoing.packetId, dup);
  }

  /**
   * Returns true unless the packet would be larger than the client takes: then it counts as delivered [MQTT-3.1.2-25].
   */
  fits(publish: Publish, target: OutgoingTarget): boolean {
    return this.#connection === undefined || this.#fits(this.#connection, publish, target, target.qos);
  }

  /**
   * Returns false for a message that is too large for the client, that it may not read, or that expired before it was
   * sent.
   */
  isOwed(publish: Publish, target: OutgoingTarget, wasSent: boolean): boolean {
    return (wasSent || !this.isExpired(publish)) && this.fits(publish, target) && this.mayReceive(publish);
  }

  /** Returns true if the client may read the message's topic; counts it if not. */
  mayReceive(publish: Publish): boolean {
    if (this.permissions === undefined || this.permissions.mayReceive(topicOf(publish))) return true;
    this.context.metrics.forbidden.receive++;
    this.context.drops.note("forbidden", publish, subjectOfSession(this));
    return false;
  }

  /** Returns true if a message's time is over [MQTT-3.3.2-5]; counts it as dropped then. */
  isExpired(publish: Publish): boolean {
    const until = Math.min(publish.expiresAt, publish.keepUntil);
    if (until === Infinity || until > this.context.clock.wall()) return false;
    this.context.metrics.droppedExpired++;
    this.context.drops.note("expired", publish, subjectOfSession(this));
    return true;
  }

  /** Handles PUBACK, PUBREC or PUBCOMP. Throws `ProtocolError` if it does not fit the QoS or state of its message. */
  acknowledge(type: number, packetId: number, reason: number): void {
    const outgoing = this.#inflight?.get(packetId);
    if (outgoing === undefined || outgoing === reserved || outgoing.isAcknowledged) {
      if (type === PacketType.pubrec) this.#sendPubrel(packetId, Reason.packetIdentifierNotFound);
      return;
    }
    if (
      (type === PacketType.puback) !== (outgoing.qos === 1) ||
      (type === PacketType.pubcomp && !outgoing.isReleased)
    ) {
      throw new ProtocolError(Reason.protocolError, `the wrong ack for packet identifier ${packetId}`);
    }
    if (type === PacketType.pubrec && reason < Reason.unspecifiedError) return this.#receiveMessage(outgoing, packetId);
    if (outgoing.client === undefined) this.inflight.remove(packetId);
    else this.#finish(outgoing);
    this.pump();
  }

  /**
   * Stores messages that were sent and are not acknowledged, before another one is stored: none must come ahead of them
   * in the mailbox.
   */
  storeUnacknowledged(): void {
    const live: OutgoingMessage[] = [];
    for (const outgoing of this.#inflight?.all() ?? []) {
      if (outgoing.settlement !== undefined && !outgoing.isTakenCareOf && !outgoing.isAcknowledged) live.push(outgoing);
    }
    for (const outgoing of live.sort(bySettlement)) this.context.settlements.store(outgoing.settlement!, [outgoing]);
  }

  /** Returns the names of the slips whose messages were sent in this connection and are not acknowledged. */
  slipsInFlight(): Set<string> {
    const names = new Set<string>();
    for (const { slip } of this.#inflight?.all() ?? []) if (slip?.name !== undefined) names.add(slip.name);
    return names;
  }

  /** Returns true if a message was sent in this connection and holds its packet id. */
  isInFlight(outgoing: OutgoingMessage): boolean {
    return this.#inflight?.get(outgoing.packetId) === outgoing;
  }

  /** Removes the slip of a message that its client acknowledged while the slip was being committed. */
  storedTooLate(outgoing: OutgoingMessage, slip: Slip): void {
    this.discard(slip);
    if (this.#inflight?.get(outgoing.packetId) === outgoing) this.#inflight.remove(outgoing.packetId);
    this.pump();
  }

  /** Sends what waits for the client, as far as there is room. */
  pump(): void {
    this.#feeds?.pump();
    if (this.#queue !== undefined && this.#queue.length > 0) this.#pumpQueue(this.#queue);
    this.mailbox?.pump();
    this.#dropFeeds?.pump();
  }

  /**
   * Starts to send the retained messages that match a new subscription. `liveAfter`: the number of the last message
   * that was retained before live messages began to reach the client by it.
   */
  feed(subscription: Subscription, liveAfter: number): void {
    this.#feeds ??= new RetainedFeeds(this);
    this.#feeds.add(subscription, liveAfter);
    this.#feeds.pump();
  }

  /** The memory of the messages that wait here for the client, in bytes, about. */
  get queueMemoryBytes(): number {
    return this.#queueBytes + (this.#queue?.length ?? 0) * messageMemoryBytes;
  }

  /** The number of messages of QoS 1 and 2 that were sent in this connection and are not acknowledged. */
  get inflightCount(): number {
    return this.#inflight?.size ?? 0;
  }

  /** The memory of messages that may have to be sent again, in bytes, about. What others share counts for each. */
  get inflightMemoryBytes(): number {
    const inflight = this.#inflight;
    if (inflight === undefined || inflight.size === 0) return 0;
    let bytes = 0;
    for (const { publish } of inflight.all()) if (publish !== undefined) bytes += publish.size + messageMemoryBytes;
    return bytes;
  }

  /** The number of subscriptions whose retained messages are on their way to the client. */
  get feedsPending(): number {
    return this.#feeds?.length ?? 0;
  }

  /** Sets the feeds that hand the client what lies in mail drops; undefined: there are none any more. */
  followDrops(feeds: DropFeeds | undefined): void {
    this.#dropFeeds = feeds;
  }

  /** Returns true if messages for a subscription with that filter reach the client from a mail drop. */
  followsDrops(filter: string): boolean {
    return this.#dropFeeds?.has(filter) === true;
  }

  /** Removes a slip from the mailbox: its message was delivered, or is not owed any more. */
  discard(slip: Slip): void {
    this.mailbox!.discard(slip);
  }

  #countQueued(bytes: number): void {
    this.#queueBytes += bytes;
    this.context.metrics.queuedBytes += bytes;
  }

  #outgoing(publish: Publish, { qos, retain, subscriptionIds, group }: OutgoingTarget): OutgoingMessage {
    // The caller reuses its target object for the next receiver.
    return new OutgoingMessage(this, { qos, retain, subscriptionIds, group }, publish.kept());
  }

  #receiveMessage(outgoing: OutgoingMessage, packetId: number): void {
    if (outgoing === plainQoS2) this.inflight.replace(packetId, plainReleased);
    if (outgoing.slip === undefined || outgoing.isReleased) {
      if (outgoing.client !== undefined && !outgoing.isReleased) outgoing.release();
      return this.#sendPubrel(packetId, Reason.success);
    }
    outgoing.release();
    const connection = this.#connection;
    this.context.slips.release(outgoing.slip, {
      fencingToken: this.fencingToken,
      done: () => {
        if (this.#connection === connection) this.#sendPubrel(packetId, Reason.success);
      },
      refused: () => this.context.evict(this),
    });
  }

  #finish(outgoing: OutgoingMessage): void {
    outgoing.acknowledge();
    // Its slip is on its way into the store, so the packet id is not free before the slip is removed again: after a
    // crash two messages would claim the id otherwise.
    if (outgoing.slip === undefined && outgoing.isBeingStored) return;
    if (outgoing.slip !== undefined) this.discard(outgoing.slip);
    this.inflight.remove(outgoing.packetId);
  }

  #sendPubrel(packetId: number, reason: number): void {
    const { writer, channel } = this.#connection!;
    writeAck(writer, PacketType.pubrel, packetId, channel.version === 5 ? reason : 0);
  }

  #pumpQueue(queue: Ring<OutgoingMessage>): void {
    while (this.hasRoom) {
      const outgoing = queue.shift();
      if (outgoing === undefined) return;
      const publish = outgoing.publish!;
      this.#countQueued(-publish.size);
      // What it may read may have changed since the message was queued.
      if (this.isExpired(publish) || !this.mayReceive(publish)) continue;
      const plain = outgoing.group !== undefined ? outgoing : outgoing.qos === 1 ? plainQoS1 : plainQoS2;
      plain.packetId = this.inflight.add(plain);
      this.write(publish, outgoing, plain.packetId);
    }
  }

  #fits(connection: Connection, publish: Publish, target: OutgoingTarget, qos: QoS): boolean {
    const { channel } = connection;
    if (channel.packetBytesMax === Infinity) return true;
    envelope.version5 = channel.version === 5;
    envelope.qos = qos;
    envelope.subscriptionIds = target.subscriptionIds;
    // Room for a topic alias is reserved: whether one is assigned is decided when the packet is written.
    envelope.alias = channel.outgoingAliases === undefined ? 0 : 1;
    envelope.aliasKnown = false;
    if (publishSize(publish, envelope) <= channel.packetBytesMax) return true;
    this.context.metrics.droppedSize++;
    this.context.drops.note("size", publish, subjectOfSession(this));
    return false;
  }

  /** Writes a PUBLISH to the client, which must be connected; `packetId` 0 at QoS 0. */
  write(publish: Publish, target: OutgoingTarget, packetId: number, dup = false): void {
    const { channel, writer, traffic } = this.#connection!;
    const { qos } = target;
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
    const { metrics, trace, spans } = this.context;
    if (trace.isOn) tellDelivered(trace, { client: this, publish, qos, packetId, dup });
    spans?.sent(publish, this.session.clientId, target, packetId);
    metrics.publishesSent++;
    traffic.messagesOut++;
    metrics.payloadBytesSent += publish.payloadLength;
    if (qos === 1) metrics.sentQoS1++;
    else if (qos === 2) metrics.sentQoS2++;
  }
}
