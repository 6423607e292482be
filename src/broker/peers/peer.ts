/** The rest of the cluster as this broker sees it: other brokers, and persistent sessions that it does not keep. */
import { decodeUtf8 } from "../../base/bytes.ts";
import { type FormatRange, formatsBefore, readFormats } from "../../base/formats.ts";
import { Ring } from "../../base/ring.ts";
import type { Link } from "../../link/link.ts";
import { groupMarkOf } from "../../mail/records.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { SlipDraft } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import type { Elsewhere, SharedGroup } from "../../router/router.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { LinkConnection } from "./link-connection.ts";
import type { Stamp } from "./stamps.ts";

/** What a broker says of itself in its znode. */
export interface BrokerFacts {
  readonly version: string;
  readonly startedAt: string;
  /** The name that others and clients are told. */
  readonly host: string;
  readonly port: number;
  readonly linkHost: string;
  readonly linkPort: number;
  /** What clients are told when they are sent there: `host:port`; "": host and port; "none": nothing. */
  readonly serverReference: string;
  readonly draining: boolean;
  /** Filters of the mail drops that it asks for. */
  readonly mailDrops: readonly string[];
  /** What names an epoch from this one on is right: the broker has lost its keeper session, but not its clients. */
  readonly since?: number;
  /** The formats that it knows; brokers of format 1 do not say. */
  readonly formats?: FormatRange;
}

/** What a broker says of itself; undefined if it is not what brokers say. */
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

export type Remote = Peer | RemoteSession;
export type Group = SharedGroup<LocalSession | Remote>;

/** What one broker is to do with a message. */
export interface Share {
  toInterest: boolean;
  readonly sessions: RemoteTarget[];
  readonly groups: Group[];
}

/** Receivers at another broker that a delivery waits for. */
export interface Forwarded {
  readonly settlement: Settlement;
  /**
   * Persistent sessions, by the numbers that they had there when it left: if the other broker dies they get the message
   * into their mailboxes.
   */
  sessions: ReadonlyMap<number, RemoteTarget>;
  groups: readonly Group[];
  /** Sessions there that end with their connections may get it: nobody but that broker can say that they have it. */
  readonly toInterest: boolean;
}

/** Has a settlement wait no longer for another broker, if everybody there has been given the message another way. */
export function settleIfNobodyIsLeft(peer: Peer, id: number): void {
  const forwarded = peer.pending.get(id);
  if (forwarded === undefined || forwarded.toInterest) return;
  if (forwarded.sessions.size > 0 || forwarded.groups.length > 0) return;
  peer.pending.delete(id);
  forwarded.settlement.done();
}

export interface RemoteTarget {
  readonly session: RemoteSession;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** The shared subscription that it was chosen for. */
  readonly group: Group | undefined;
  /** The broker where it is connected could not pay for it: it goes into the mailbox, paid for here. */
  readonly mustBeStored?: true;
}

/** A filter that stands in the tree under a broker's name. */
export interface Announced {
  readonly subscription: Subscription;
  /** What it names. */
  stamp: Exclude<Stamp, undefined>;
  /** It is in the router. While the broker is not a member the router passes it over. */
  isRouted: boolean;
}

/** What becomes of a message for a shared subscription that another broker was to place with a member there. */
export interface GroupsEnd {
  /** It has not. */
  notPlaced(settlement: Settlement, group: Group, from: Peer): void;
  /** It may have, or may not. False if no other member is to have it. */
  inDoubt(settlement: Settlement, group: Group, from: Peer): boolean;
}

export class Peer implements Elsewhere {
  readonly isElsewhere = true;
  readonly id: string;
  /** Its incarnation; undefined while it is not a member. */
  epoch: number | undefined;
  facts: BrokerFacts | undefined;
  /** What is owed between us, in this incarnation of both. */
  link: Link | undefined;
  connection: LinkConnection | undefined;
  /** Filters of its sessions that end with their connections, of this incarnation and of earlier ones. */
  readonly interest = new Map<string, Announced>();
  /** Persistent sessions that are connected there, by the numbers it gave them. */
  readonly hosted = new Map<number, RemoteSession>();
  /** Deliveries that it has not settled, in their order. */
  readonly pending = new Map<number, Forwarded>();
  #lastDeliveryId = 0;
  /** Publishers that wait until it has room. */
  readonly waiting = new Set<Connection>();
  /** It has asked us to send less: a subscriber there is behind, but drains fast. */
  asksToWait = false;
  /** Deliveries that were sent back because they could not be paid for here, and that it has not said to have seen. */
  sentBack = 0;
  /** Deliveries settled here that it has not been told of. */
  settled: number[] = [];

  /** `deliveries`: how many it has been sent already; a test begins near the limit. */
  constructor(id: string, deliveries = 0) {
    this.id = id;
    this.#lastDeliveryId = deliveries;
  }

  /** The formats that it knows. */
  get formats(): FormatRange {
    return this.facts === undefined ? formatsBefore : readFormats(this.facts.formats);
  }

  /** True if what names that epoch is right, or may be as soon as the broker is known to be a member. */
  mayCount(stamp: Stamp): boolean {
    if (stamp === undefined) return false;
    return stamp === "unnamed" || this.epoch === undefined || stamp >= (this.facts?.since ?? this.epoch);
  }

  /** In 32 bits, as frames carry it; 0 is none. */
  nextDeliveryId(): number {
    this.#lastDeliveryId = (this.#lastDeliveryId % 0xffff_ffff) + 1;
    return this.#lastDeliveryId;
  }

  get isMember(): boolean {
    return this.epoch !== undefined;
  }

  get isLinked(): boolean {
    return this.link?.isUp === true;
  }
}

/** A message that waits until an earlier one to the same session has taken its other way. */
export interface Moving {
  readonly target: RemoteTarget;
  readonly settlement: Settlement;
}

/**
 * A persistent session that another broker keeps, or nobody yet. What is sent to it goes one way at a time: over the
 * link to the broker where it is connected, or into its mailbox. The way changes when nothing is under way, so that
 * nothing overtakes; another broker is another way.
 */
export class RemoteSession implements Elsewhere {
  readonly isElsewhere = true;
  readonly clientId: string;
  readonly subscriptions = new Map<string, Subscription>();
  /** Where its client is connected. */
  host: Peer | undefined;
  handle = 0;
  /** Where what is under way goes: over the link to that broker, or into the mailbox. */
  way: Peer | "mail" = "mail";
  /** The number that it had there: a client that has left and come back is another way, too. */
  wayHandle = 0;
  /** Messages under way. */
  underWay = 0;
  readonly moving = new Ring<Moving>();
  /** The last commit to its mailbox from here. */
  mailZxid = 0;
  /** Slips in its mailbox, as far as is known here. */
  mailCount = 0;
  /** Slips stored from here since the mailbox was counted. */
  mailedSinceCount = Infinity;
  isBeingCounted = false;

  constructor(clientId: string) {
    this.clientId = clientId;
  }
}

export function isPeer(subscriber: LocalSession | Remote): subscriber is Peer {
  return subscriber instanceof Peer;
}

export function isRemoteSession(subscriber: LocalSession | Remote): subscriber is RemoteSession {
  return subscriber instanceof RemoteSession;
}

/** What its slip will say, if it goes into the mailbox. */
export function draftOf({ session: { clientId }, qos, retain, subscriptionIds, group }: RemoteTarget): SlipDraft {
  return { clientId, qos, retain, subscriptionIds, packetId: 0, groupMark: groupMarkOf(group?.text) };
}
