/**
 * Sends what is published here over the links: once to each broker that needs it, as packets that came in, in a bundle,
 * or with the receivers that are meant. A publisher is not read while a broker is handed more than it can take.
 */
import { outputBytesHigh, outputBytesMax } from "../../base/limits.ts";
import { deliveryFrame, type PublishName } from "../../link/delivery-frame.ts";
import { bundleFrame, FrameType, type Packets, writeRun } from "../../link/frames.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import { type Connection, PauseReason } from "../delivery/connection.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { ClusterRoute } from "./cluster-context.ts";
import { linkPacket } from "./link-packet.ts";
import { type Group, isPeer, type Peer, type Share } from "./peer.ts";
import type { RemoteTarget } from "./remote-session.ts";

/** The circumstances in which a message is sent to another broker. */
export interface Sending {
  /** The publisher's connection, which is held while that broker is handed more than it can take. */
  readonly publisher?: Connection | undefined;
  /** The name of the publish, where nobody there may be sent it twice. */
  readonly name?: PublishName | undefined;
  /** See `Delivery.isAgain`. */
  readonly isAgain?: boolean;
}

/** Writes messages to the links, and holds back publishers of which a link has too much to send. */
export class LinkSender {
  readonly #context: DeliveryContext;
  readonly #resume: (connection: Connection, reason: number) => void;

  constructor(context: DeliveryContext, resume: (connection: Connection, reason: number) => void) {
    this.#context = context;
    this.#resume = resume;
  }

  /** Returns the brokers that a route's QoS 0 messages go to. */
  linksOf(route: ClusterRoute): readonly Peer[] {
    if (route.links === undefined) {
      const peers = new Set<Peer>();
      for (const { subscriber } of route.elsewhere) {
        if (isPeer(subscriber)) peers.add(subscriber);
        else if (subscriber.host !== undefined) peers.add(subscriber.host);
      }
      route.links = [...peers];
    }
    return route.links as readonly Peer[];
  }

  /** Sends QoS 0 packets to brokers, as they came; drops and counts them where the link is down or full. */
  run(peers: readonly Peer[], packets: Packets, publisher: Connection | undefined): void {
    for (const peer of peers) {
      const writer = peer.connection?.writer;
      if (writer === undefined || !peer.isLinked || writer.unsent > outputBytesMax) {
        this.#context.metrics.droppedLink += packets.count;
        continue;
      }
      writeRun(writer, packets);
      this.#context.metrics.forwarded += packets.count;
      if (publisher !== undefined && (peer.asksToWait || writer.unsent > outputBytesHigh)) this.#hold(publisher, peer);
    }
  }

  /** Sends one QoS 0 message to brokers. */
  live(publish: Publish, peers: readonly Peer[], publisher: Connection | undefined): void {
    if (peers.length === 0) return;
    const bytes = this.encode(publish, 0);
    this.run(peers, { bytes, start: 0, end: bytes.length, count: 1, version5: true }, publisher);
  }

  /** Sends a QoS 0 message to another broker, for a member of a shared subscription there. */
  offer(publish: Publish, group: Group, peer: Peer): void {
    const { connection } = peer;
    if (connection === undefined || connection.writer.unsent > outputBytesMax) {
      this.#context.metrics.droppedLink++;
      return;
    }
    const delivery = { id: 0, zxid: 0, toInterest: false, handles: [], groups: [group.text] };
    connection.send(deliveryFrame(FrameType.offer, delivery, this.encode(publish, 0)));
  }

  /** Sends QoS 1 packets for sessions that end with their connections; `settlement` waits for each broker. */
  bundle(peers: readonly Peer[], packets: Packets, settlement: Settlement, publisher: Connection): void {
    for (const peer of peers) {
      const { link } = peer;
      // The broker has left: its sessions that end with their connections have ended.
      if (link === undefined) continue;
      const id = peer.nextDeliveryId();
      const sentAt = this.#context.clock.now();
      peer.pending.set(id, { settlement, sessions: nobody, groups: [], toInterest: true, frame: undefined, sentAt });
      settlement.waitFor();
      link.send(bundleFrame(id, packets));
      this.#context.metrics.forwarded += packets.count;
      if (peer.asksToWait || link.full) this.#hold(publisher, peer);
    }
  }

  /** Sends a message to another broker for its share of the receivers; `settlement` waits for its answer. */
  deliver(peer: Peer, share: Share, settlement: Settlement, packet: Uint8Array, how: Sending = {}): void {
    const { publisher, isAgain = false } = how;
    const id = peer.nextDeliveryId();
    // A QoS 0 receiver that is not connected there gets nothing, so nothing is promised to it.
    const promised = share.sessions.filter(({ qos }) => qos > 0);
    const sessions = new Map(promised.map((target) => [target.session.handle, target]));
    let zxid = settlement.afterZxid;
    for (const { session } of share.sessions) zxid = Math.max(zxid, session.mailZxid);
    const delivery = {
      id,
      zxid,
      toInterest: share.toInterest,
      handles: share.sessions.map(({ session }) => session.handle),
      groups: share.groups.map(({ text }) => text),
      payer: peer.facts?.knowsPayers === true ? settlement.publish.payer : undefined,
      name: peer.facts?.knowsNames === true ? how.name : undefined,
      isAgain,
    };
    const frame = deliveryFrame(FrameType.publish, delivery, packet);
    const sentAt = this.#context.clock.now();
    peer.pending.set(id, { settlement, sessions, groups: share.groups, toInterest: share.toInterest, frame, sentAt });
    settlement.waitFor();
    peer.link!.send(frame);
    this.#context.metrics.forwarded++;
    if (publisher !== undefined && (peer.asksToWait || peer.link!.full)) this.#hold(publisher, peer);
  }

  /** Lets publishers that wait for a broker go on. */
  release(peer: Peer): void {
    const waiting = [...peer.waiting];
    peer.waiting.clear();
    for (const connection of waiting) this.#resume(connection, PauseReason.link);
  }

  /** Returns a message as the MQTT 5 packet that a link carries. */
  encode(publish: Publish, qos: QoS): Uint8Array {
    return linkPacket(publish, qos, this.#context.clock);
  }

  #hold(publisher: Connection, peer: Peer): void {
    publisher.hold(PauseReason.link);
    peer.waiting.add(publisher);
  }
}

const nobody: ReadonlyMap<number, RemoteTarget> = new Map();
