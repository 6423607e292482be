/** Persistent sessions that other brokers keep, as this broker sees them, and what is on its way to each. */
import { Ring } from "../../base/ring.ts";
import { groupMarkOf } from "../../mail/records.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { SlipDraft } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import type { Elsewhere } from "../../router/router.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { Group, Peer, Remote } from "./peer.ts";

/** A remote session as the receiver of one message, with the options of its subscriptions. */
export interface RemoteTarget {
  readonly session: RemoteSession;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** The shared subscription as whose member the session was chosen; undefined: none. */
  readonly group: Group | undefined;
  /**
   * True if the broker where the session is connected could not pay: the message goes into the mailbox, paid for here.
   */
  readonly mustBeStored?: true;
  /**
   * True if the message is stored in one commit with its publisher's packet id, at QoS 1, too: where the packet id is
   * found it is not published again.
   */
  readonly isWithPacketId?: boolean;
}

/** Returns true if a message for that receiver is stored by its publishing broker, in one commit for all. */
export function isStoredAtOnce({ qos, isWithPacketId }: Pick<RemoteTarget, "qos" | "isWithPacketId">): boolean {
  return qos === 2 || (qos === 1 && isWithPacketId === true);
}

/** Returns true if a message for that receiver counts as under way until it has arrived or is stored. */
export function isCounted(target: RemoteTarget): boolean {
  return target.qos > 0 && !isStoredAtOnce(target);
}

/** A message that waits until earlier ones to the same session have arrived by another way. */
export interface Moving {
  readonly target: RemoteTarget;
  readonly settlement: Settlement;
}

/**
 * A persistent session that another broker keeps, or none yet. What is sent to it goes one way at a time: over the link
 * to the broker where it is connected, or into its mailbox. The way changes only when nothing is under way, so that
 * nothing overtakes; another broker is another way.
 */
export class RemoteSession implements Elsewhere {
  readonly isElsewhere = true;
  readonly clientId: string;
  /** By their filters. `SubscriptionDirectory` keeps them as the tree has them. */
  readonly subscriptions = new Map<string, Subscription>();
  #host: Peer | undefined;
  #handle = 0;
  #way: Peer | "mail" = "mail";
  /** The session's number when they were sent: a client that has left and come back is another way, too. */
  #wayHandle = 0;
  #underWay = 0;
  readonly #moving = new Ring<Moving>();
  #mailZxid = 0;
  #mailCount = 0;
  /** The number of slips that this broker has stored since the mailbox was counted. */
  #storedSinceCount = Infinity;
  #isBeingCounted = false;
  #isRefusedWhenFull = false;

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  /** The broker where the session's client is connected; undefined: at none, as far as is known. */
  get host(): Peer | undefined {
    return this.#host;
  }

  /** The number that the broker has given the session. */
  get handle(): number {
    return this.#handle;
  }

  /** Notes that the session's client is connected at a broker, which has given the session that number. */
  connectedAt(host: Peer, handle: number): void {
    this.#host = host;
    this.#handle = handle;
  }

  /**
   * Notes that the session under that number is not connected at a broker any more. Returns false if it is known to be
   * connected elsewhere, or anew, by now.
   */
  disconnectedFrom(host: Peer, handle: number): boolean {
    if (this.#host !== host || this.#handle !== handle) return false;
    this.#host = undefined;
    return true;
  }

  /** True if the session must be remembered: it subscribes, is connected, or a message is on its way to it. */
  get isInUse(): boolean {
    return this.subscriptions.size > 0 || this.#underWay > 0 || this.#moving.length > 0 || this.#host !== undefined;
  }

  /** The way of the messages under way: over the link to that broker, or into the mailbox. */
  get way(): Peer | "mail" {
    return this.#way;
  }

  /**
   * True if messages went over the link to a broker where the session is not connected any more: that one may have
   * stored some of them, so the next one may be sent another way only when its new broker knows of that.
   */
  get hasMoved(): boolean {
    return this.#way !== "mail" && this.#way !== this.#host;
  }

  /** The number of messages under way. */
  get underWay(): number {
    return this.#underWay;
  }

  /**
   * Decides which way a message goes, and counts it as under way; "wait": until earlier ones have arrived another way.
   * At QoS 2, and with its publisher's packet id, it is always stored ("mail"), and not counted.
   */
  startDelivery(target: RemoteTarget): "link" | "mail" | "wait" {
    if (isStoredAtOnce(target)) return "mail";
    const way = this.#host?.isLinked === true && !target.mustBeStored ? this.#host : "mail";
    const isSameWay = this.#way === way && (way === "mail" || this.#wayHandle === this.#handle);
    if (this.#moving.length > 0 || (this.#underWay > 0 && !isSameWay)) return "wait";
    this.#way = way;
    this.#wayHandle = this.#handle;
    this.#underWay++;
    return way === "mail" ? "mail" : "link";
  }

  /** The number of messages that wait until those under way have arrived. */
  get waiting(): number {
    return this.#moving.length;
  }

  /** Has a message wait until those under way have arrived. Returns how many wait now. */
  wait(message: Moving): number {
    this.#moving.push(message);
    return this.#moving.length;
  }

  /** Counts a message as arrived. Returns true if it was the last under way. */
  arrived(): boolean {
    this.#underWay--;
    return this.#underWay <= 0;
  }

  /** Returns the messages that wait, which wait no longer, in the order in which they were published. */
  takeWaiting(): Moving[] {
    return inOrder(this.#moving.drain());
  }

  /** Returns the messages that wait, like `takeWaiting`, and counts them as under way from now on. */
  startWaiting(): Moving[] {
    const waiting = this.takeWaiting();
    this.#underWay += waiting.length;
    return waiting;
  }

  /** Notes that messages under way go into the mailbox, whichever way they were sent. */
  turnToMail(): void {
    this.#way = "mail";
  }

  /** Counts something as under way into the mailbox that this broker has stored already and not yet seen committed. */
  startMail(): void {
    this.#way = "mail";
    this.#underWay++;
  }

  /** The last transaction with which this broker has stored something in the mailbox. */
  get mailZxid(): number {
    return this.#mailZxid;
  }

  /** Notes that the mailbox has what this broker has stored in it up to a transaction. */
  mailedUpTo(zxid: number): void {
    this.#mailZxid = Math.max(this.#mailZxid, zxid);
  }

  /** Notes that this broker has stored one more slip in the mailbox, by transaction `zxid`. */
  mailed(zxid: number): void {
    this.mailedUpTo(zxid);
    this.#mailCount++;
  }

  /** The number of slips in the mailbox, as far as this broker knows. */
  get mailCount(): number {
    return this.#mailCount;
  }

  /** True if the session's broker does not end sessions for full mailboxes. */
  get isRefusedWhenFull(): boolean {
    return this.#isRefusedWhenFull;
  }

  /** Notes whether publishes are refused that would go into the session's mailbox when it is full. */
  refuseWhenFull(isRefused: boolean): void {
    this.#isRefusedWhenFull = isRefused;
  }

  /** Counts a slip that this broker has stored. Returns how many it has stored since the mailbox was counted. */
  countStored(): number {
    return ++this.#storedSinceCount;
  }

  /** Notes that the slips are being counted. Returns false if they were already. */
  beginCount(): boolean {
    if (this.#isBeingCounted) return false;
    this.#isBeingCounted = true;
    this.#storedSinceCount = 0;
    return true;
  }

  /** Notes how many slips the store has counted; undefined: it has not answered. */
  endCount(slips: number | undefined): void {
    this.#isBeingCounted = false;
    if (slips !== undefined) this.#mailCount = slips;
  }
}

/** Returns true for a session that another broker keeps. */
export function isRemoteSession(subscriber: LocalSession | Remote): subscriber is RemoteSession {
  return subscriber instanceof RemoteSession;
}

/** Returns the slip's draft of a message, for the receiver's mailbox. */
export function draftOf({ session: { clientId }, qos, retain, subscriptionIds, group }: RemoteTarget): SlipDraft {
  return { clientId, qos, retain, subscriptionIds, packetId: 0, groupMark: groupMarkOf(group?.text) };
}

/** Returns messages in the order in which they were published. */
export function inOrder(moving: Moving[]): Moving[] {
  return moving.sort((a, b) => a.settlement.order - b.settlement.order);
}
