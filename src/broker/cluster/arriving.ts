/** Messages that arrive over a link for receivers here. They are settled as if they had been published here. */
import { readVarint, varintSize } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { fanoutWaitingBytesMax } from "../../base/limits.ts";
import { type Delivery, decodeDelivery } from "../../link/delivery-frame.ts";
import { decodeBundle, decodeRun, type Packets, settledFrame } from "../../link/frames.ts";
import { Publish, parsePublish } from "../../mqtt/publish.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Trace } from "../core/trace.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";
import { remainFrame } from "../peers/links.ts";
import type { NamedPublishes } from "../peers/named-publishes.ts";
import type { Peer } from "../peers/peer.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { BackPressure } from "../publish/back-pressure.ts";
import { copiesPriceOf } from "../publish/copies-price.ts";
import type { Fanout } from "../publish/fanout.ts";
import { isOwnTopic } from "../publish/own-topics.ts";
import { tellArrived } from "../publish/routing-words.ts";
import { isWide } from "../publish/wide-fanouts.ts";

/**
 * A delivery that waits until the mailboxes here are as new as the other broker knows them, or that has come after one.
 */
interface Deferred {
  /** The transaction that must have been seen here before; 0: none. */
  readonly zxid: number;
  readonly take: () => void;
}

/** Delivers what other brokers forward, and answers them when it is settled. */
export class Arriving {
  readonly #context: ClusterContext;
  readonly #trace: Trace;
  readonly #fanout: Fanout;
  readonly #backPressure: BackPressure;
  readonly #registry: SessionRegistry;
  readonly #named: NamedPublishes;
  readonly #deferred = new Map<Peer, Deferred[]>();
  /** Bytes of each broker that wait until fan-outs are over. */
  readonly #waitingBytes = new Map<Peer, number>();
  readonly #publish = new Publish();

  constructor(
    context: ClusterContext,
    parts: { fanout: Fanout; backPressure: BackPressure; registry: SessionRegistry; named: NamedPublishes },
  ) {
    this.#context = context;
    this.#trace = context.trace;
    this.#fanout = parts.fanout;
    this.#backPressure = parts.backPressure;
    this.#registry = parts.registry;
    this.#named = parts.named;
  }

  /**
   * Delivers QoS 0 packets on one topic: as one piece if all receivers take them as they are. Throws `ProtocolError` if
   * they are malformed.
   */
  run(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    const packets = decodeRun(bytes, start, end);
    const { metrics } = this.#context;
    metrics.arrived += packets.count;
    this.#takeRun(peer, packets);
  }

  #takeRun(peer: Peer, packets: Packets): void {
    const publish = this.#publish;
    const { end } = packets;
    let at = this.#parse(packets, packets.start);
    const route = this.#route(publish);
    if (route === undefined) return;
    if (this.#fanout.isUnderWay(route)) return this.#wait(peer, route, packets, (kept) => this.#takeRun(peer, kept));
    const isTraced = this.#context.spans?.mayBeIn(packets.bytes, packets.start, end) === true;
    const isApart = isTraced || this.#trace.isOn;
    if (packets.count > 1 && !isApart && this.#fanout.takesVerbatim(route, packets.version5)) {
      const payloadBytes = payloadBytesOf(packets, publish.topicEnd - publish.topicStart);
      return this.#fanout.copyRunHere({ route, ...packets, isApart: false, payloadBytes }, peer);
    }
    for (;;) {
      if (publish.expiresAt !== Infinity) publish.expiresAt += this.#context.clock.wall();
      if (this.#trace.isOn) tellArrived(this.#trace, { broker: peer.id, publish, route });
      this.#fanout.liveHere(this.#traced(publish, route, peer), route, peer);
      if (at >= end) return;
      // The first of them may go to so many that the others have to wait.
      if (this.#fanout.isUnderWay(route))
        return this.#wait(peer, route, { ...packets, start: at }, (kept) => this.#takeRun(peer, kept));
      at = this.#parse(packets, at);
    }
  }

  /**
   * Has packets of another broker wait while a fan-out on their topic is under way, and the broker send less if there
   * is much that waits.
   */
  #wait(peer: Peer, route: ClusterRoute, packets: Packets, take: (kept: Packets) => void): void {
    const { start, end } = packets;
    const { epoch } = peer;
    const size = end - start;
    const kept = { ...packets, bytes: packets.bytes.slice(start, end), start: 0, end: size };
    const before = this.#waitingBytes.get(peer) ?? 0;
    this.#waitingBytes.set(peer, before + size);
    if (before + size > fanoutWaitingBytesMax) this.#backPressure.holdFlooding(peer);
    this.#fanout.whenOver(route, () => {
      const left = this.#waitingBytes.get(peer)! - size;
      if (left > 0) this.#waitingBytes.set(peer, left);
      else this.#waitingBytes.delete(peer);
      if (left < fanoutWaitingBytesMax / 2) this.#backPressure.releaseFlooding(peer);
      // What a broker that has left still wanted delivered is delivered another way.
      if (peer.epoch === epoch) take(kept);
    });
  }

  /**
   * Returns the route of a message; undefined for one that nobody may be sent: each broker tells its own clients what
   * it counts, and a broker of an earlier version may pass on a will on such a topic.
   */
  #route(publish: Publish): ClusterRoute | undefined {
    const route = this.#context.router.route(publish.topicBytes, publish.topicStart, publish.topicEnd);
    return route === undefined || isOwnTopic(route.topic) ? undefined : route;
  }

  /** Reads one packet of a run. Returns the offset of the next one. */
  #parse({ bytes, end, version5 }: Packets, at: number): number {
    const body = bodyOf(bytes, at, end);
    const next = body.start + body.length;
    parsePublish(this.#publish, bytes, bytes[at]!, body.start, next, version5 ? 5 : 4);
    return next;
  }

  /**
   * Delivers QoS 1 packets on one topic to sessions here that end with their connections. Throws `ProtocolError` if
   * they are malformed.
   */
  bundle(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    const { id, ...packets } = decodeBundle(bytes, start, end);
    const waiting = this.#deferred.get(peer);
    if (waiting === undefined) return this.#takeBundle(peer, id, packets);
    // The packet is checked now, since a malformed one must close the link's connection that it came over, not a later
    // one.
    for (let at = packets.start; at < end; ) at = this.#parse(packets, at);
    const kept = { ...packets, bytes: bytes.slice(packets.start, end), start: 0, end: end - packets.start };
    waiting.push({ zxid: 0, take: () => this.#takeBundle(peer, id, kept) });
  }

  /** Delivers one message to the receivers that the other broker names. Throws `ProtocolError` if it is malformed. */
  delivery(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    const delivery = decodeDelivery(bytes, start, end);
    // Only mailboxes can be older here than the other broker knows them.
    const zxid = delivery.handles.length === 0 ? 0 : delivery.zxid;
    const waiting = this.#deferred.get(peer);
    if (waiting === undefined && zxid <= this.#context.coordinator.seenZxid)
      return this.#deliver(peer, delivery, bytes, end);
    this.#read(bytes, delivery.packetStart, end);
    const kept = bytes.slice(delivery.packetStart, end);
    const later = { ...delivery, packetStart: 0, arrivedAt: this.#context.clock.wall() };
    const deferred = { zxid, take: () => this.#deliver(peer, later, kept, kept.length) };
    if (waiting !== undefined) waiting.push(deferred);
    else this.#defer(peer, [deferred]);
  }

  /**
   * Drops what a broker that has left, or is a new incarnation, still wanted delivered: it is delivered another way.
   */
  left(peer: Peer): void {
    this.#deferred.delete(peer);
    peer.forgetDeliveries();
  }

  #defer(peer: Peer, deferred: Deferred[]): void {
    this.#deferred.set(peer, deferred);
    this.#context.coordinator.sync(() => {
      if (this.#deferred.get(peer) !== deferred) return;
      this.#deferred.delete(peer);
      for (let index = 0; index < deferred.length; index++) {
        const { zxid, take } = deferred[index]!;
        if (zxid > this.#context.coordinator.seenZxid) return this.#defer(peer, deferred.slice(index));
        take();
      }
    });
  }

  #takeBundle(peer: Peer, id: number, packets: Packets): void {
    const publish = this.#publish;
    const { metrics } = this.#context;
    let at = this.#parse(packets, packets.start);
    const route = this.#route(publish);
    if (route !== undefined && this.#fanout.isUnderWay(route))
      return this.#wait(peer, route, packets, (kept) => this.#takeBundle(peer, id, kept));
    metrics.arrived += packets.count;
    if (route !== undefined && isWide(route)) {
      const { epoch } = peer;
      const kept = [publish.kept()];
      for (; at < packets.end; kept.push(publish.kept())) at = this.#parse(packets, at);
      return this.#fanout.offerInSteps(kept, route, () => {
        if (peer.epoch === epoch) this.#settled(peer, id);
      });
    }
    for (; route !== undefined; at = this.#parse(packets, at)) {
      if (this.#trace.isOn) tellArrived(this.#trace, { broker: peer.id, publish, route });
      this.#fanout.offerHere(publish, route);
      if (at >= packets.end) break;
    }
    this.#settled(peer, id);
  }

  /** Returns the message to go on with, as `Spans.received` does. */
  #traced(publish: Publish, { topic }: ClusterRoute, peer: Peer): Publish {
    const { spans } = this.#context;
    return spans === undefined ? publish : spans.arrived(publish, topic, peer.id);
  }

  /** Reads the packet of a delivery into `#publish`. Throws `ProtocolError` if it is malformed. */
  #read(bytes: Uint8Array, packetStart: number, end: number): void {
    const body = bodyOf(bytes, packetStart, end);
    parsePublish(this.#publish, bytes, bytes[packetStart]!, body.start, end, 5);
  }

  #deliver(peer: Peer, delivery: Arrived, bytes: Uint8Array, end: number): void {
    const { packetStart, id } = delivery;
    const publish = this.#publish;
    this.#read(bytes, packetStart, end);
    publish.payer = delivery.payer ?? "";
    const { metrics, bankAccount, clock } = this.#context;
    const route = this.#route(publish);
    if (route !== undefined && this.#fanout.isUnderWay(route)) {
      const later = { ...delivery, packetStart: 0, arrivedAt: delivery.arrivedAt ?? clock.wall() };
      const packets = { bytes, start: packetStart, end, count: 1, version5: true };
      return this.#wait(peer, route, packets, (kept) => this.#deliver(peer, later, kept.bytes, kept.end));
    }
    if (publish.expiresAt !== Infinity && this.#hasExpired(publish, delivery.arrivedAt)) {
      metrics.arrived++;
      return id === 0 ? undefined : this.#settled(peer, id);
    }
    metrics.arrived++;
    if (this.#trace.isOn && route !== undefined) tellArrived(this.#trace, { broker: peer.id, publish, route });
    const addressees = {
      toInterest: this.#isNew(delivery) && delivery.toInterest,
      handles: new Set(delivery.handles),
      groups: new Set(delivery.groups),
    };
    const copies = addressees.handles.size + addressees.groups.size;
    const isFree = id === 0 || copies === 0;
    const price = isFree || route === undefined ? 0 : copiesPriceOf(this.#context, { publish, route, copies });
    const payment = isFree || peer.hasSentBack ? undefined : bankAccount.reserve(price, publish.payer);
    // A message that may have to be stored and cannot be paid for here goes back to the publishing broker, which pays
    // for it.
    const isUnpaid = !isFree && payment === undefined;
    const here = isUnpaid ? { ...addressees, handles: new Set<number>(), isUnpaid } : addressees;
    const settlement =
      route && this.#fanout.deliverHere(this.#traced(publish, route, peer), route, here, payment).settlement;
    if (route === undefined) payment?.close();
    if (id === 0) return;
    // A session that is here but does not subscribe any more is not owed the message.
    const remaining = () => {
      const handles =
        addressees.handles.size === 0
          ? none
          : [...addressees.handles].filter((handle) => isUnpaid || !this.#registry.has(handle));
      const groups = addressees.groups.size === 0 ? none : [...addressees.groups];
      const isSentBack = isUnpaid && handles.length + groups.length > 0;
      if (isSentBack) peer.sendBack();
      return { handles, groups, isSentBack };
    };
    // Of very many receivers it is known when all have been served.
    const known = route !== undefined && isWide(route) ? undefined : remaining();
    const { link } = peer;
    const settle = (): void => {
      if (peer.link !== link || link === undefined) return;
      const { handles, groups, isSentBack } = known ?? remaining();
      if (isSentBack) link.send(remainFrame({ id, handles, groups, unpaid: true }));
      else if (handles.length + groups.length > 0) link.send(remainFrame({ id, handles, groups }));
      else this.#settled(peer, id);
    };
    if (settlement === undefined || settlement.isSettled) settle();
    else settlement.whenSettled(settle);
  }

  /** Returns false for a message that sessions here which end with their connections have been sent, by its name. */
  #isNew({ name, isAgain }: Delivery): boolean {
    return name === undefined || this.#named.take(name, isAgain === true);
  }

  /**
   * Makes the interval that a message had to live when it arrived, in ms since 1970, a time. Returns true, and counts
   * it, if that is over: it has waited for the link, or here [MQTT-3.3.2-5].
   */
  #hasExpired(publish: Publish, arrivedAt: number | undefined): boolean {
    const { clock, metrics } = this.#context;
    const now = clock.wall();
    publish.expiresAt += arrivedAt ?? now;
    if (publish.expiresAt > now) return false;
    metrics.droppedExpired++;
    return true;
  }

  /** Notes a settled delivery: all of one turn are told in one frame. */
  #settled(peer: Peer, id: number): void {
    if (!peer.settledHere(id)) return;
    queueMicrotask(() => {
      const settled = peer.takeSettled();
      if (settled.length > 0) peer.link?.send(settledFrame(settled));
    });
  }
}

const none: readonly never[] = [];

/** A delivery whose packet has come. */
interface Arrived extends Delivery {
  readonly packetStart: number;
  /** When it came, in ms since 1970, if it has waited since. */
  readonly arrivedAt?: number;
}

/** Returns where a packet's body starts, and its length. Throws `ProtocolError` if the packet ends after `end`. */
function bodyOf(bytes: Uint8Array, at: number, end: number): { start: number; length: number } {
  const length = readVarint(bytes, at + 1, end);
  const start = at + 1 + varintSize(Math.max(0, length));
  if (length < 0 || start + length > end)
    throw new ProtocolError(Reason.malformedPacket, "a packet in a frame ends early");
  return { start, length };
}

/**
 * Returns the bytes of all payloads in a run of QoS 0 packets, whose topic has so many bytes. Throws `ProtocolError` if
 * it ends early.
 */
function payloadBytesOf({ bytes, start, end, version5 }: Packets, topicBytes: number): number {
  let sum = 0;
  for (let at = start; at < end; ) {
    const body = bodyOf(bytes, at, end);
    at = body.start + body.length;
    sum += body.length - 2 - topicBytes;
    if (!version5) continue;
    const properties = readVarint(bytes, body.start + 2 + topicBytes, at);
    sum -= varintSize(properties) + properties;
  }
  return sum;
}
