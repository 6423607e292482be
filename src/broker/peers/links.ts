/**
 * The links to the other brokers: dialling, the handshake, the end after silence, and what each frame is for. The
 * broker with the lower id dials. A link that breaks is dialled again, by host name, so that a broker may come back
 * under another address.
 */

import { readUint32 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import {
  linkBackoffMaxMs,
  linkBackoffMinMs,
  linkFrameBytesMax,
  linkHandshakeMs,
  linkPingMs,
  linkSilenceMs,
  linkStrangersMax,
  outputBytesLow,
} from "../../base/limits.ts";
import { type Silence, watchSilence } from "../../base/silence.ts";
import { Timer } from "../../base/timers.ts";
import {
  type Control,
  decodeSettled,
  FrameType,
  jsonFrame,
  type Remain,
  readPing,
  writePing,
} from "../../link/frames.ts";
import { Handshake, type Member } from "../../link/handshake.ts";
import { decodeLinkControl, decodeRemain } from "../../link/json-frames.ts";
import { Link } from "../../link/link.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Transport } from "../../net/transport.ts";
import { ClockWatch } from "./clock-watch.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { type DialLink, LinkConnection, type LinkDrained } from "./link-connection.ts";
import { renewExpiry } from "./link-packet.ts";
import type { Peer } from "./peer.ts";

/** The handlers of what comes over a link. Offsets `start` and `end` delimit a frame's body in `bytes`. */
export interface LinkFlows {
  linkUp(peer: Peer): void;
  linkDown(peer: Peer): void;
  /** The other broker has read what was sent: there is room again. */
  linkDrained(peer: Peer): void;
  run(peer: Peer, bytes: Uint8Array, start: number, end: number): void;
  bundle(peer: Peer, bytes: Uint8Array, start: number, end: number): void;
  delivery(peer: Peer, bytes: Uint8Array, start: number, end: number): void;
  settled(peer: Peer, ids: readonly number[]): void;
  remain(peer: Peer, remain: Remain): void;
  control(peer: Peer, control: Control): void;
}

/** All links of this broker, one to each other broker. */
export class Links {
  readonly #context: ClusterContext;
  readonly #flows: () => LinkFlows;
  readonly #dialLink: DialLink;
  readonly #secret: string | undefined;
  readonly #dialling = new Map<Peer, { failures: number; timer: Timer }>();
  readonly #shaking = new Set<LinkConnection>();
  readonly #timer = new Timer((now) => this.#ping(now));
  readonly #clockWatch: ClockWatch;
  #retired = false;

  constructor(
    context: ClusterContext,
    how: {
      readonly flows: () => LinkFlows;
      readonly dial: DialLink;
      /** The secret that all brokers of the cluster share; undefined: links are not authenticated. */
      readonly secret: string | undefined;
    },
  ) {
    this.#context = context;
    this.#flows = how.flows;
    this.#dialLink = how.dial;
    this.#secret = how.secret;
    this.#clockWatch = new ClockWatch(context);
    context.timers.set(this.#timer, context.clock.now() + linkPingMs);
  }

  /** Begins a link to a broker that has become a member, in this incarnation of it. */
  join(peer: Peer): void {
    peer.link = new Link(peer.epoch!);
    peer.downSince = this.#context.clock.wall();
    this.#dialSoon(peer, 0);
  }

  /** Ends the link to a broker that is no member any more; also when it, or this broker, is a new incarnation. */
  leave(peer: Peer): void {
    const dialling = this.#dialling.get(peer);
    if (dialling !== undefined) this.#context.timers.cancel(dialling.timer);
    this.#dialling.delete(peer);
    if (peer.connection !== undefined) this.#close(peer.connection, "it left the cluster");
    peer.link = undefined;
    peer.downSince = peer.whyDown = undefined;
  }

  /** Ends all links for good: this broker ends. */
  retire(): void {
    this.#retired = true;
    for (const peer of this.#context.peers.values()) this.leave(peer);
  }

  /** Sends a numbered frame: it arrives, over this connection or a later one, while both incarnations live. */
  send(peer: Peer, bytes: Uint8Array): void {
    peer.link?.send(bytes);
  }

  /** Sends a control message as a numbered frame. */
  sendControl(peer: Peer, control: Control): void {
    this.send(peer, jsonFrame(FrameType.control, control));
  }

  /** Begins the handshake on a new connection. */
  opened(connection: LinkConnection): void {
    connection.openedAt = connection.lastReceivedAt = this.#context.clock.now();
    if (!connection.dialled) this.#makePlace();
    this.#shaking.add(connection);
    this.#watch(connection, {
      since: () => connection.openedAt,
      limitMs: linkHandshakeMs,
      why: "no handshake in time",
    });
    connection.handshake = this.#shakeHands(connection);
    try {
      connection.handshake.begin();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#close(connection, error.message);
    }
  }

  /**
   * Handles bytes from another broker. What breaks the protocol closes the connection; an error of our own is thrown.
   */
  received(connection: LinkConnection, bytes: Uint8Array): void {
    if (connection.isClosed) return;
    connection.lastReceivedAt = this.#context.clock.now();
    const { turn } = this.#context;
    turn.begin();
    try {
      connection.reader.feed(bytes, (type, chunk, start, end) => {
        if (!connection.isClosed) this.#frame(connection, type, chunk, start, end);
      });
      if (connection.isUp) {
        connection.peer!.link?.acknowledge();
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#close(connection, error.message);
    } finally {
      turn.end();
    }
  }

  /** Notes that the socket has taken what was written. */
  drained(connection: LinkConnection): void {
    const { writer, peer, isUp } = connection;
    writer.drained();
    if (isUp && writer.unsent <= outputBytesLow) this.#flows().linkDrained(peer!);
  }

  /** Notes that a connection is closed; the link is dialled again. */
  closed(connection: LinkConnection, why: string | undefined): void {
    this.#close(connection, why ?? "closed by the other side");
  }

  /**
   * Closes a connection that has not shaken hands if there are too many: the oldest, but first those that have not even
   * said hello as a broker does. A broker that dials is done at once, so strangers cannot keep their places from it.
   */
  #makePlace(): void {
    const strangers = [...this.#shaking].filter(({ dialled }) => !dialled);
    if (strangers.length < linkStrangersMax) return;
    const silent = strangers.find(({ handshake }) => !handshake!.isNamed);
    this.#close(silent ?? strangers[0]!, "too many connections have not shaken hands, and this is the oldest");
  }

  #frame(connection: LinkConnection, type: number, bytes: Uint8Array, start: number, end: number): void {
    if (!connection.isUp) return connection.handshake!.frame(type, bytes, start, end);
    const peer = connection.peer!;
    const link = peer.link!;
    link.count(type);
    switch (type) {
      case FrameType.ack:
        return link.acknowledged(readUint32(bytes, start));
      case FrameType.ping:
        return this.#pinged(connection, readPing(bytes, start, end));
      case FrameType.run:
        return this.#flows().run(peer, bytes, start, end);
      case FrameType.offer:
      case FrameType.publish:
        return this.#flows().delivery(peer, bytes, start, end);
      case FrameType.bundle:
        return this.#flows().bundle(peer, bytes, start, end);
      case FrameType.settled:
        return this.#flows().settled(peer, decodeSettled(bytes, start, end));
      case FrameType.remain:
        return this.#flows().remain(peer, decodeRemain(bytes, start, end));
      case FrameType.control:
        return this.#flows().control(peer, decodeLinkControl(bytes, start, end));
      default:
        throw new ProtocolError(Reason.protocolError, `a frame of type ${type}`);
    }
  }

  #shakeHands(connection: LinkConnection): Handshake {
    const { options, self } = this.#context;
    return new Handshake({
      self: { id: options.id, epoch: self.epoch },
      secret: this.#secret,
      nonce: connection.nonce,
      dialled: connection.dialled ? connection.peer!.id : undefined,
      member: (id) => this.#member(id),
      send: (frame) => connection.send(frame),
      up: (id, received) => {
        connection.peer = this.#context.peers.get(id)!;
        this.#up(connection, received);
      },
    });
  }

  #member(id: string): Member | undefined {
    const peer = this.#context.peers.get(id);
    if (peer?.link === undefined || peer.epoch === undefined) return undefined;
    return { id, epoch: peer.epoch, handshake: peer.facts?.handshake ?? 1, received: peer.link.received };
  }

  #up(connection: LinkConnection, received: number): void {
    const peer = connection.peer!;
    if (peer.connection !== undefined) this.#close(peer.connection, "another connection has taken its place");
    this.#shaking.delete(connection);
    connection.isUp = true;
    this.#context.timers.cancel(connection.silence!);
    const since = (): number => connection.lastReceivedAt;
    this.#watch(connection, { since, limitMs: linkSilenceMs, why: "nothing came for too long" });
    connection.reader.frameBytesMax = linkFrameBytesMax;
    peer.connection = connection;
    peer.downSince = peer.whyDown = undefined;
    peer.askToWait(false);
    const dialling = this.#dialling.get(peer);
    if (dialling !== undefined) dialling.failures = 0;
    this.#context.log.info({ peer: peer.id, remote: connection.transport.remote }, "link is up");
    for (const forwarded of peer.pending.values()) renewExpiry(forwarded, this.#context.clock);
    peer.link!.up(connection.writer, received);
    this.#flows().linkUp(peer);
  }

  #close(connection: LinkConnection, why: string): void {
    if (connection.isClosed) return;
    connection.isClosed = true;
    this.#shaking.delete(connection);
    if (connection.silence !== undefined) this.#context.timers.cancel(connection.silence);
    connection.writer.flush();
    connection.writer.close();
    connection.transport.abort();
    const { peer } = connection;
    if (!connection.isUp) {
      this.#context.log.debug({ remote: connection.transport.remote, why }, "no link");
      if (peer !== undefined && connection.dialled) this.#failed(peer, why);
      return;
    }
    if (peer?.connection !== connection) return;
    peer.connection = undefined;
    peer.downSince = this.#context.clock.wall();
    peer.whyDown = why;
    peer.link?.down();
    if (!this.#retired) this.#context.log.warn({ peer: peer.id, why }, "link is down");
    this.#flows().linkDown(peer);
    this.#dialSoon(peer, 0);
  }

  #dialSoon(peer: Peer, failures: number): void {
    const { options, timers, clock, random } = this.#context;
    if (this.#retired || peer.link === undefined || options.id > peer.id) return;
    const before = this.#dialling.get(peer);
    if (before !== undefined) timers.cancel(before.timer);
    const backoff = failures === 0 ? 0 : Math.min(linkBackoffMaxMs, linkBackoffMinMs * 2 ** Math.min(failures - 1, 10));
    const timer = new Timer(() => this.#dial(peer));
    this.#dialling.set(peer, { failures, timer });
    timers.set(timer, clock.now() + backoff * (0.5 + 0.5 * random.next()));
  }

  #dial(peer: Peer): void {
    const { link, facts } = peer;
    if (link === undefined || facts === undefined || peer.connection !== undefined) return;
    const opened = (transport: Transport, drained: LinkDrained): LinkConnection => {
      const nonce = this.#context.random.hex(16);
      const connection = new LinkConnection(transport, this.#context.turn, { dialled: true, nonce, drained });
      connection.peer = peer;
      return connection;
    };
    const failed = (why: string): void => {
      if (peer.link === link) this.#failed(peer, why);
    };
    const endpoint = { host: facts.linkHost, port: facts.linkPort, isTls: facts.linkTls === true };
    this.#dialLink(endpoint, { opened, failed });
  }

  #failed(peer: Peer, why: string): void {
    if (peer.connection !== undefined || peer.link === undefined) return;
    peer.whyDown = why;
    const failures = (this.#dialling.get(peer)?.failures ?? 0) + 1;
    if (failures % 10 === 5) this.#context.log.warn({ peer: peer.id, why }, "cannot link to another broker");
    this.#dialSoon(peer, failures);
  }

  /** Closes a connection, for a reason in words, when nothing has come over it for too long. */
  #watch(connection: LinkConnection, { since, limitMs, why }: Omit<Silence, "over"> & { readonly why: string }): void {
    connection.silence = watchSilence(this.#context, { since, limitMs, over: () => this.#close(connection, why) });
  }

  #ping(now: number): void {
    for (const { connection } of this.#context.peers.values())
      if (connection !== undefined) writePing(connection.writer, connection.clockOffset, this.#moment());
    this.#context.timers.set(this.#timer, now + linkPingMs);
  }

  #pinged({ clockOffset, peer }: LinkConnection, body: DataView): void {
    clockOffset.read(body, this.#moment());
    this.#clockWatch.look(peer!.id, clockOffset.difference);
  }

  #moment(): { readonly now: number; readonly wall: number } {
    const { machineClock } = this.#context;
    return { now: machineClock.now(), wall: machineClock.wall() };
  }
}

/** Returns the frame that tells which receivers of a delivery were not here. */
export function remainFrame(remain: Remain): Uint8Array {
  return jsonFrame(FrameType.remain, remain);
}
