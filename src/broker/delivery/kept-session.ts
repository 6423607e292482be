/**
 * A session at the broker that keeps it, without its messages: its znode, its will, its client's identity and
 * permissions, and its expiry.
 */
import type { Identity } from "../../access/access.ts";
import type { Permissions } from "../../access/permissions.ts";
import { Timer } from "../../base/timers.ts";
import { sessionPath } from "../../coordinator/paths.ts";
import { type Paid, payerOf } from "../../mail/paid.ts";
import type { SessionRecord } from "../../mail/records.ts";
import type { FencingToken } from "../../mail/slips.ts";
import type { WillRecord } from "../../mail/will-record.ts";
import type { AckOutcome } from "../../session/owed-acks.ts";
import type { Session } from "../../session/session.ts";
import type { DeliveryContext } from "./delivery-context.ts";

/** The base of `LocalSession`: all that a broker knows of a session that it keeps, except for messages. */
export class KeptSession {
  readonly context: DeliveryContext;
  readonly session: Session;
  /**
   * The session's znode in the version that this broker has written: writes in its name fail once another broker keeps
   * it.
   */
  readonly fencingToken: FencingToken;
  #isRecorded = false;
  #isWrittenHere = false;
  #record: SessionRecord | undefined;
  #handle = 0;
  #isReleased = false;
  #isOver = false;
  #isEnding = false;
  #isUntold = false;
  #will: WillRecord | undefined;
  #isWillStored = false;
  #claimedAt = 0;
  #user = "";
  #payer = "";
  #paid: Paid | undefined;
  #willBytes = 0;
  #identity: Identity | undefined;
  #permissions: Permissions | undefined;
  #renew: ((client: KeptSession) => Permissions | undefined) | undefined;
  #expiryTimer: Timer | undefined;
  /** Answers to QoS 2 publishes of this client that are not settled, by packet id. */
  #unsettled: Map<number, (outcome: AckOutcome) => void> | undefined;

  constructor(context: DeliveryContext, session: Session) {
    this.context = context;
    this.session = session;
    this.fencingToken = { path: sessionPath(session.clientId), version: 0 };
  }

  /** The session's record as it was read from the store; undefined: it was not read, or could not be decoded. */
  get record(): SessionRecord | undefined {
    return this.#record;
  }

  /** Keeps what was read of the session's znode: its record, if it could be decoded, and its version. */
  found(record: SessionRecord | undefined, version: number): void {
    this.#record = record;
    this.#user = record?.user ?? "";
    this.#payer = payerOf(this.#user);
    this.#isUntold = record?.untold === true;
    this.#paid = record?.paid;
    this.#willBytes = record?.willBytes ?? 0;
    this.#isRecorded = true;
    this.fencingToken.version = version;
  }

  /** Notes that the session's znode is written. Returns true if it is the first time. */
  recorded(): boolean {
    const isFirst = !this.#isRecorded;
    this.#isRecorded = true;
    this.#isWrittenHere = true;
    return isFirst;
  }

  /**
   * Returns true if the session's znode says that another broker keeps it, as it was read: that one may go on writing
   * in the session's name until this broker has written the znode.
   */
  isAnothers(brokerId: string): boolean {
    return !this.#isWrittenHere && this.#record !== undefined && this.#record.owner !== brokerId;
  }

  /** The number by which other brokers name the session while it is persistent and connected; 0: none. */
  get handle(): number {
    return this.#handle;
  }

  /** Sets the number by which other brokers name the session; 0: it is not connected any more. */
  hostedAs(handle: number): void {
    this.#handle = handle;
  }

  /** True if another broker keeps the session now: what still comes back for this object must be ignored. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** Notes that another broker keeps the session now. */
  release(): void {
    this.#isReleased = true;
  }

  /** True if the session has expired. It is erased in its turn, or when its client comes back before that. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * True as long as the client may not know that its earlier session was ended: its CONNACK may be lost. It is told so
   * again when it connects next, and has no session then.
   */
  get isUntold(): boolean {
    return this.#isUntold;
  }

  /** Notes whether the client knows that its earlier session was ended. */
  setUntold(isUntold: boolean): void {
    this.#isUntold = isUntold;
  }

  /** True once the session is being ended, since its mailbox is full: nothing more goes into it. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Notes that the session is being ended. */
  end(): void {
    this.#isEnding = true;
  }

  /**
   * Has the session expire after `ms`, since its client is away, and calls `expired` then, unless `stopExpiry` is
   * called before.
   */
  expireIn(ms: number, expired: () => void): void {
    const { timers, clock } = this.context;
    // Of two CONNECTs whose clients have gone each has the session wait: the first one's end must not come later.
    this.stopExpiry();
    this.#expiryTimer = new Timer(() => {
      this.#isOver = true;
      expired();
    });
    timers.set(this.#expiryTimer, clock.now() + ms);
  }

  /** When the session ends if its client stays away, in ms by the clock's `now`; Infinity: no end is set. */
  get endsAt(): number {
    return this.#expiryTimer?.dueAt ?? Infinity;
  }

  /** Cancels the session's expiry: its client is back, or the session has ended. */
  stopExpiry(): void {
    if (this.#expiryTimer !== undefined) this.context.timers.cancel(this.#expiryTimer);
  }

  /**
   * The will that is published if the connection ends without DISCONNECT 0x00 [MQTT-3.1.2-8]. Undefined: there is none,
   * or only the store has it (`isWillStored`).
   */
  get will(): WillRecord | undefined {
    return this.#will;
  }

  /** True if there is a will: it is in the store, or on its way there, under this broker's name. */
  get isWillStored(): boolean {
    return this.#isWillStored;
  }

  /** Sets the session's will, which is on its way into the store; undefined: it has none. */
  setWill(will: WillRecord | undefined): void {
    this.#will = will;
    this.#isWillStored = will !== undefined;
  }

  /** Leaves the will to the store alone, which has it: it is read back when it is due. */
  leaveWillToStore(): void {
    this.#will = undefined;
  }

  /** The user whose session it is; "": nobody's, since its client has logged in without a user name. */
  get user(): string {
    return this.#user;
  }

  /**
   * The stamp of the claim by which its client has come here last, see `TakeOver`; 0: it has not come here yet.
   */
  get claimedAt(): number {
    return this.#claimedAt;
  }

  /** Notes whose session it is from now on, and the stamp of the claim by which its client has come. */
  belongTo(user: string, claimedAt: number): void {
    this.#user = user;
    this.#payer = payerOf(user);
    this.#claimedAt = claimedAt;
  }

  /** The user who pays for what its client has stored, as the bank knows him; "": anonymous clients. */
  get payer(): string {
    return this.#payer;
  }

  /** The branch that pays for the session, whoever keeps it, and how much; undefined: nobody. */
  get paid(): Paid | undefined {
    return this.#paid;
  }

  /** The weight of a will that is paid for with the session, in bytes. */
  get willBytes(): number {
    return this.#willBytes;
  }

  /** Notes who pays for the session, which is new, and for a will of so many bytes. */
  payBy(paid: Paid, willBytes: number): void {
    this.#paid = paid;
    this.#willBytes = willBytes;
  }

  /** The identity with which the client logged in last; undefined: it has not connected here yet. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** The client's permissions by the access list; undefined: it may do everything. */
  get permissions(): Permissions | undefined {
    const renew = this.#renew;
    if (renew === undefined) return this.#permissions;
    this.#renew = undefined;
    this.#permissions = renew(this);
    return this.#permissions;
  }

  /** Has the permissions worked out anew when they are asked for next, since the rules have changed. */
  renewPermissions(renew: (client: KeptSession) => Permissions | undefined): void {
    this.#renew = renew;
  }

  /** Sets identity and permissions of the client's latest login; permissions undefined: it may do everything. */
  permit(identity: Identity, permissions: Permissions | undefined): void {
    this.#identity = identity;
    this.#permissions = permissions;
    this.#renew = undefined;
  }

  /** Returns true if the client's QoS 2 publish with that packet id is not settled. */
  isUnsettled(packetId: number): boolean {
    return this.#unsettled?.has(packetId) === true;
  }

  /**
   * Sets how a QoS 2 publish is acknowledged when it is settled. A later call replaces an earlier one, so that the last
   * connection that has sent the publish is answered.
   */
  answerWhenSettled(packetId: number, answer: (outcome: AckOutcome) => void): void {
    this.#unsettled ??= new Map();
    this.#unsettled.set(packetId, answer);
  }

  /** Answers a QoS 2 publish of the client, which is settled or refused. */
  settled(packetId: number, outcome: AckOutcome): void {
    this.#unsettled?.get(packetId)?.(outcome);
    this.#unsettled?.delete(packetId);
  }
}
