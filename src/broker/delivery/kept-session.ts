/**
 * A session as the broker knows it that keeps it, without its messages: its znode, its will, who its client is and what it may
 * do, and when its time is over.
 */
import type { Identity } from "../../access/access.ts";
import type { Permissions } from "../../access/permissions.ts";
import { Timer } from "../../base/timers.ts";
import { sessionPath } from "../../coordinator/paths.ts";
import type { SessionRecord } from "../../mail/records.ts";
import type { FencingToken } from "../../mail/slips.ts";
import type { WillRecord } from "../../mail/will-record.ts";
import type { AckOutcome } from "../../session/owed-acks.ts";
import type { Session } from "../../session/session.ts";
import type { DeliveryContext } from "./delivery-context.ts";

export class KeptSession {
  readonly context: DeliveryContext;
  readonly session: Session;
  readonly fencingToken: FencingToken;
  #isRecorded = false;
  #record: SessionRecord | undefined;
  #handle = 0;
  #isReleased = false;
  #isOver = false;
  #will: WillRecord | undefined;
  #isWillStored = false;
  #identity: Identity | undefined;
  #permissions: Permissions | undefined;
  #expiryTimer: Timer | undefined;
  /** QoS 2 publishes of this client that are not settled: how to acknowledge each when it is. */
  #unsettled: Map<number, (outcome: AckOutcome) => void> | undefined;

  constructor(context: DeliveryContext, session: Session) {
    this.context = context;
    this.session = session;
    this.fencingToken = { path: sessionPath(session.clientId), version: 0 };
  }

  /** What its znode said when it was read; undefined: it was not, or it said nothing that can be read. */
  get record(): SessionRecord | undefined {
    return this.#record;
  }

  /** Its znode was read. */
  found(record: SessionRecord | undefined, version: number): void {
    this.#record = record;
    this.#isRecorded = true;
    this.fencingToken.version = version;
  }

  /** Its znode is written: true if it is the first time that there is one. */
  recorded(): boolean {
    const isFirst = !this.#isRecorded;
    this.#isRecorded = true;
    return isFirst;
  }

  /** The number that other brokers name it by, while a persistent session is connected; 0: none. */
  get handle(): number {
    return this.#handle;
  }

  /** Other brokers name it by that number from now on; 0: it is not connected any more. */
  hostedAs(handle: number): void {
    this.#handle = handle;
  }

  /** True if its session is another broker's: nothing that comes of this object counts any more. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  release(): void {
    this.#isReleased = true;
  }

  /** True if its session's time is over: it is erased when it is its turn, or when its client comes back before that. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Its client is away: its session's time is over after `ms`, unless `stopExpiry` is called before. */
  expireIn(ms: number, expired: () => void): void {
    const { timers, clock } = this.context;
    this.#expiryTimer = new Timer(() => {
      this.#isOver = true;
      expired();
    });
    timers.set(this.#expiryTimer, clock.now() + ms);
  }

  stopExpiry(): void {
    if (this.#expiryTimer !== undefined) this.context.timers.cancel(this.#expiryTimer);
  }

  /** What is published if the connection ends without DISCONNECT 0x00. */
  get will(): WillRecord | undefined {
    return this.#will;
  }

  /** True if its will is in the store, or on its way there, under this broker's name. */
  get isWillStored(): boolean {
    return this.#isWillStored;
  }

  /** It has that will, which is on its way into the store; undefined: none. */
  setWill(will: WillRecord | undefined): void {
    this.#will = will;
    this.#isWillStored = will !== undefined;
  }

  /** As whom it was let in last; undefined: it has not been here. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** What it may do; undefined: everything. */
  get permissions(): Permissions | undefined {
    return this.#permissions;
  }

  permit(identity: Identity, permissions: Permissions | undefined): void {
    this.#identity = identity;
    this.#permissions = permissions;
  }

  /** True if a QoS 2 publish of its client is not settled. */
  isUnsettled(packetId: number): boolean {
    return this.#unsettled?.has(packetId) === true;
  }

  /** A QoS 2 publish is acknowledged that way when it is settled: the last connection that has sent it is answered. */
  answerWhenSettled(packetId: number, answer: (outcome: AckOutcome) => void): void {
    this.#unsettled ??= new Map();
    this.#unsettled.set(packetId, answer);
  }

  /** A QoS 2 publish of its client is settled, or refused. */
  settled(packetId: number, outcome: AckOutcome): void {
    this.#unsettled?.get(packetId)?.(outcome);
    this.#unsettled?.delete(packetId);
  }
}
