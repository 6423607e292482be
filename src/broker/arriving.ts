/** What comes over a link: messages for receivers here, settled as if they had been published here. */
import { equalRange, readVarint, varintSize } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { type Delivery, decodeDelivery, settledFrame } from "../link/frames.ts";
import { Publish, parsePublish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { ClusterRoute, Context } from "./context.ts";
import type { Fanout, Run } from "./fanout.ts";
import type { Hosting } from "./hosting.ts";
import { remainFrame } from "./links.ts";
import type { Peer } from "./peer.ts";

/** Deliveries of one broker that wait until the mailboxes here are as new as it knows them. */
interface Deferred {
  readonly frames: { readonly bytes: Uint8Array; readonly delivery: ReturnType<typeof decodeDelivery> }[];
}

export class Arriving {
  readonly #context: Context;
  readonly #fanout: Fanout;
  readonly #hosting: Hosting;
  readonly #deferred = new Map<Peer, Deferred>();
  readonly #publish = new Publish();

  constructor(context: Context, parts: { fanout: Fanout; hosting: Hosting }) {
    this.#context = context;
    this.#fanout = parts.fanout;
    this.#hosting = parts.hosting;
  }

  /** QoS 0 packets: those that follow each other on one topic are copied as one. */
  run(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    const publish = this.#publish;
    const version = bytes[start] === 1 ? 5 : 4;
    const { router, metrics, clock } = this.#context;
    let run: Run | undefined;
    let route: ClusterRoute | undefined;
    for (let at = start + 1; at < end; ) {
      const body = bodyOf(bytes, at, end);
      const next = body.start + body.length;
      parsePublish(publish, bytes, bytes[at]!, body.start, next, version);
      const { topicBytes, topicStart, topicEnd } = publish;
      if (
        route?.bytes.length !== topicEnd - topicStart ||
        !equalRange(route.bytes, 0, topicBytes, topicStart, topicEnd - topicStart)
      ) {
        route = router.route(topicBytes, topicStart, topicEnd);
      }
      metrics.arrived++;
      if (route !== undefined) {
        if (run !== undefined && run.route === route && publish.verbatim) {
          run.end = next;
          run.count++;
        } else {
          if (run !== undefined) this.#fanout.copyRunHere(run, peer);
          run = undefined;
          if (publish.verbatim && !publish.retain && this.#fanout.takesVerbatim(route, version === 5)) {
            run = { route, bytes, start: at, end: next, count: 1 };
          } else {
            if (publish.expiresAt !== Infinity) publish.expiresAt += clock.wall();
            this.#fanout.liveHere(publish, route, peer);
          }
        }
      }
      at = next;
    }
    if (run !== undefined) this.#fanout.copyRunHere(run, peer);
  }

  delivery(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    const delivery = decodeDelivery(bytes, start, end);
    const waiting = this.#deferred.get(peer);
    if (
      waiting === undefined &&
      (delivery.handles.length === 0 || delivery.zxid <= this.#context.coordinator.seenZxid)
    ) {
      return this.#deliver(peer, delivery, bytes, end);
    }
    const kept = bytes.slice(delivery.packetStart, end);
    const frame = { bytes: kept, delivery: { ...delivery, packetStart: 0 } };
    if (waiting !== undefined) waiting.frames.push(frame);
    else this.#defer(peer, { frames: [frame] });
  }

  /** The other broker has left, or is another incarnation: what it wanted delivered it will see to otherwise. */
  left(peer: Peer): void {
    this.#deferred.delete(peer);
    peer.settled = [];
  }

  #defer(peer: Peer, deferred: Deferred): void {
    this.#deferred.set(peer, deferred);
    this.#context.coordinator.sync(() => {
      if (this.#deferred.get(peer) !== deferred) return;
      this.#deferred.delete(peer);
      const { frames } = deferred;
      for (let index = 0; index < frames.length; index++) {
        const { bytes, delivery } = frames[index]!;
        if (delivery.handles.length > 0 && delivery.zxid > this.#context.coordinator.seenZxid) {
          return this.#defer(peer, { frames: frames.slice(index) });
        }
        this.#deliver(peer, delivery, bytes, bytes.length);
      }
    });
  }

  #deliver(peer: Peer, delivery: Delivery & { packetStart: number }, bytes: Uint8Array, end: number): void {
    const { packetStart, id } = delivery;
    const publish = this.#publish;
    const body = bodyOf(bytes, packetStart, end);
    parsePublish(publish, bytes, bytes[packetStart]!, body.start, end, 5);
    if (publish.expiresAt !== Infinity) publish.expiresAt += this.#context.clock.wall();
    const route = this.#context.router.route(publish.topicBytes, publish.topicStart, publish.topicEnd);
    this.#context.metrics.arrived++;
    const whom = {
      toInterest: delivery.toInterest,
      handles: new Set(delivery.handles),
      groups: new Set(delivery.groups),
    };
    const settlement = route && this.#fanout.promiseHere(publish, route, whom).settlement;
    if (id === 0) return;
    // Whoever is here and no longer subscribes has nothing to get.
    const handles = [...whom.handles].filter((handle) => !this.#hosting.has(handle));
    const groups = [...whom.groups];
    const { link } = peer;
    const settle = (): void => {
      if (peer.link !== link || link === undefined) return;
      if (handles.length + groups.length > 0) link.send(remainFrame({ id, handles, groups }));
      else this.#settled(peer, id);
    };
    if (settlement === undefined || settlement.isSettled) settle();
    else settlement.whenSettled(settle);
  }

  /** What is settled in one turn is told in one frame. */
  #settled(peer: Peer, id: number): void {
    peer.settled.push(id);
    if (peer.settled.length > 1) return;
    queueMicrotask(() => {
      if (peer.settled.length > 0) peer.link?.send(settledFrame(peer.settled));
      peer.settled = [];
    });
  }
}

function bodyOf(bytes: Uint8Array, at: number, end: number): { start: number; length: number } {
  const length = readVarint(bytes, at + 1, end);
  const start = at + 1 + varintSize(Math.max(0, length));
  if (length < 0 || start + length > end)
    throw new ProtocolError(Reason.malformedPacket, "a packet in a frame ends early");
  return { start, length };
}
