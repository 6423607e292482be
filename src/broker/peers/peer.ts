/** The other brokers as this broker sees them, and what each has been sent. */
import { decodeUtf8 } from "../../base/bytes.ts";
import { type FormatRange, formatsBefore, readFormats } from "../../base/formats.ts";
import type { ClockDifference } from "../../link/clock-offset.ts";
import { withdrawReceiver } from "../../link/delivery-frame.ts";
import type { Link } from "../../link/link.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { Stamp } from "../../mail/stamp.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import type { Elsewhere, SharedGroup } from "../../router/router.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { LinkConnection } from "./link-connection.ts";
import type { RemoteSession, RemoteTarget } from "./remote-session.ts";

/** The facts that a broker's znode states, as JSON. */
export interface BrokerFacts {
  readonly version: string;
  readonly startedAt: string;
  /** Host name and port that clients, and people, are told. */
  readonly host: string;
  readonly port: number;
  /** Host and port at which other brokers are accepted. */
  readonly linkHost: string;
  readonly linkPort: number;
  /** Server Reference for clients that are sent to the broker; "": `host` and `port`, "none": nothing. */
  readonly serverReference: string;
  /** True if the broker is about to leave. */
  readonly draining: boolean;
  /** Filters of the mail drops that the broker is configured with. */
  readonly mailDrops: readonly string[];
  /** The first epoch whose nodes are still valid: the broker has lost its keeper session since, but not its clients. */
  readonly since?: number;
  /** The formats that the broker knows; a broker of format 1 does not say. */
  readonly formats?: FormatRange;
  /** True if the broker ends sessions whose mailboxes are full, and can be told of one. */
  readonly endsSessions?: boolean;
  /** True if the broker can be sent deliveries that name the user who pays for what is stored of them. */
  readonly knowsPayers?: boolean;
  /** True if the broker can be sent deliveries that name their publish (`link/delivery-frame.ts`). */
  readonly knowsNames?: boolean;
  /** True if the broker can be asked what operators want to know (`peers/questions.ts`). */
  readonly answersQuestions?: boolean;
  /** The newest handshake of links that the broker knows (`link/handshake.ts`); a broker of the first does not say. */
  readonly handshake?: number;
  /** True if the broker accepts links over TLS alone. */
  readonly linkTls?: boolean;
}

/** Returns the decoded facts of a broker; undefined if the data is not a broker's. */
export function decodeFacts(data: Uint8Array): BrokerFacts | undefined {
  let facts: unknown;
  try {
    facts = JSON.parse(decodeUtf8(data));
  } catch {
    return undefined;
  }
  if (typeof facts !== "object" || facts === null) return undefined;
  const { host, port, linkHost, linkPort, mailDrops } = facts as Partial<Record<keyof BrokerFacts, unknown>>;
  const isPlaced = typeof host === "string" && isPort(port) && typeof linkHost === "string" && isPort(linkPort);
  return isPlaced && Array.isArray(mailDrops) ? (facts as BrokerFacts) : undefined;
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= -1 && (value as number) <= 65_535;
}

/**
 * A receiver of messages at another broker: the broker, for sessions that end with their connections, or a persistent
 * session.
 */
export type Remote = Peer | RemoteSession;
/** A shared subscription, with members here and elsewhere. */
export type Group = SharedGroup<LocalSession | Remote>;

/** The receivers of one message at one other broker. */
export interface Share {
  /** True if the message goes to the broker's sessions that end with their connections, by its announced filters. */
  toInterest: boolean;
  readonly sessions: RemoteTarget[];
  readonly groups: Group[];
}

/** A delivery to another broker that has not been settled there, with its receivers. */
export interface Forwarded {
  readonly settlement: Settlement;
  /**
   * The persistent sessions, by the numbers that they had there when the delivery was sent: if the other broker dies
   * they get the message into their mailboxes.
   */
  sessions: ReadonlyMap<number, RemoteTarget>;
  /** The shared subscriptions for which the other broker chooses a member. */
  groups: readonly Group[];
  /** True if sessions there that end with their connections may get it: only that broker can tell that they have it. */
  readonly toInterest: boolean;
  /** The frame that the link sends, perhaps again over its next connection; undefined: it names no sessions. */
  readonly frame: Uint8Array | undefined;
  /** When it was given to the link, in ms by the clock's `now`. */
  readonly sentAt: number;
}

/**
 * Gives receivers at another broker up, since they get a message another way: what waits for the link does not reach
 * them, too. When nobody there is left, the settlement waits for that broker no longer.
 */
export function giveOtherwise(peer: Peer, id: number, handles: Iterable<number>): void {
  const forwarded = peer.pending.get(id)!;
  const left = new Map(forwarded.sessions);
  for (const handle of handles) if (left.delete(handle)) withdrawReceiver(forwarded.frame!, handle);
  forwarded.sessions = left;
  if (forwarded.toInterest || left.size > 0 || forwarded.groups.length > 0) return;
  peer.pending.delete(id);
  forwarded.settlement.done();
}

/** A filter that another broker has announced in the tree. */
export interface Announced {
  readonly subscription: Subscription;
  /** The epoch that the filter's node names. */
  stamp: Exclude<Stamp, undefined>;
  /** True if the filter is in the router, which passes the broker over while it is not a member. */
  isRouted: boolean;
}

/** Decides about a message for a shared subscription that another broker was to place with a member there. */
export interface GroupsEnd {
  /** Handles a message that the other broker has not placed, or that has not been sent to the member chosen here. */
  notPlaced(settlement: Settlement, group: Group, from: Peer | LocalSession): void;
  /**
   * Handles a message that the other broker may or may not have placed. Returns false if no other member is to have it.
   */
  inDoubt(settlement: Settlement, group: Group, from: Peer): boolean;
}

/** Another broker of the cluster, by its id, over all its incarnations. */
export class Peer implements Elsewhere {
  readonly isElsewhere = true;
  readonly id: string;
  /** The broker's epoch; undefined while it is not a member. */
  epoch: number | undefined;
  facts: BrokerFacts | undefined;
  /** The numbered frames owed between this broker and the other one, in the present incarnations of both. */
  link: Link | undefined;
  /** The connection that carries the link; undefined while there is none. */
  connection: LinkConnection | undefined;
  /** The time since which there is no connection, in ms since 1970; undefined: there is one. */
  downSince: number | undefined;
  /** The reason for that in words, as far as it is known. */
  whyDown: string | undefined;
  /** When it has left without saying so before, in ms since 1970; undefined: it is a member, or was shut down. */
  lostAt: number | undefined;
  /** Filters that the broker has announced for its sessions that end with their connections, in any incarnation. */
  readonly interest = new Map<string, Announced>();
  /** Persistent sessions that are connected there, by the numbers that the broker gave them. */
  readonly hosted = new Map<number, RemoteSession>();
  /** Deliveries that the broker has not settled, by number, in their order. */
  readonly pending = new Map<number, Forwarded>();
  #lastDeliveryId = 0;
  /** Publishers here that are not read until the broker has room. */
  readonly waiting = new Set<Connection>();
  #asksToWait = false;
  #sentBack = 0;
  /** Numbers of deliveries settled here that the broker has not been told of. */
  #settled: number[] = [];

  /** Creates the peer. `deliveries` is the number of the last delivery that it was sent, for tests near the limit. */
  constructor(id: string, deliveries = 0) {
    this.id = id;
    this.#lastDeliveryId = deliveries;
  }

  /** True while the broker asks this one to send less: a subscriber there is behind, but drains fast. */
  get asksToWait(): boolean {
    return this.#asksToWait;
  }

  /** Notes that the broker asks this one to send less; false: not any more. */
  askToWait(asksToWait: boolean): void {
    this.#asksToWait = asksToWait;
  }

  /**
   * True if deliveries were sent back since they could not be paid for here, and the broker has not confirmed that yet.
   */
  get hasSentBack(): boolean {
    return this.#sentBack > 0;
  }

  /** Notes that one of the broker's deliveries is sent back: it must pay for it itself. */
  sendBack(): void {
    this.#sentBack++;
  }

  /** Notes that the broker has confirmed that a delivery was sent back. */
  confirmSentBack(): void {
    this.#sentBack--;
  }

  /**
   * Notes that one of the broker's deliveries is settled here. Returns true if it is the first of which it must be
   * told.
   */
  settledHere(id: number): boolean {
    return this.#settled.push(id) === 1;
  }

  /** Returns, and forgets, the deliveries settled here of which the broker must be told now. */
  takeSettled(): readonly number[] {
    const settled = this.#settled;
    this.#settled = [];
    return settled;
  }

  /** Forgets the deliveries of an incarnation that is gone: nothing that it has sent is owed an answer. */
  forgetDeliveries(): void {
    this.#settled = [];
    this.#sentBack = 0;
  }

  /** The formats that the broker knows. */
  get formats(): FormatRange {
    return this.facts === undefined ? formatsBefore : readFormats(this.facts.formats);
  }

  /** Returns true if a node with that stamp is valid now, or may be as soon as the broker is known to be a member. */
  mayCount(stamp: Stamp): boolean {
    if (stamp === undefined) return false;
    return stamp === "unnamed" || this.epoch === undefined || stamp >= (this.facts?.since ?? this.epoch);
  }

  /** Returns the next delivery's number: 32 bits, as frames carry it, and never 0, which means none. */
  nextDeliveryId(): number {
    this.#lastDeliveryId = (this.#lastDeliveryId % 0xffff_ffff) + 1;
    return this.#lastDeliveryId;
  }

  /** By how much its machine's clock is ahead of this one's; undefined: it was not measured, or the link is down. */
  get clockDifference(): ClockDifference | undefined {
    return this.connection?.clockOffset.difference;
  }

  get isMember(): boolean {
    return this.epoch !== undefined;
  }

  get isLinked(): boolean {
    return this.link?.isUp === true;
  }
}

/** Returns true for another broker. */
export function isPeer(subscriber: LocalSession | Remote): subscriber is Peer {
  return subscriber instanceof Peer;
}
