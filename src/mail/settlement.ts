/**
 * Settlement: a publish is settled when every recipient is taken care of (`src/README.md`, "The life of a packet"). A
 * connected persistent session is sent the message at once and has a moment to acknowledge it; whoever has not done so
 * when the moment is over gets it into the mailbox. With every subscriber at home nothing is ever stored.
 */
import { slipsPerUnitMax } from "../base/limits.ts";
import { Ring } from "../base/ring.ts";
import { Timer, type Timers } from "../base/timers.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Journal } from "./journal.ts";
import type { Payment } from "./ledger.ts";
import type { Mail } from "./mail.ts";
import type { JournalOperation } from "./operations.ts";
import type { Slip, SlipDraft } from "./slips.ts";

/** A recipient that was sent the message and has not acknowledged it. */
export interface LiveRecipient {
  /** True if its client has acknowledged, or its slip is being committed: it is no longer the settlement's business. */
  readonly isTakenCareOf: boolean;
  /** Returns the slip to be committed for it; from now on it is taken care of. */
  draft(): SlipDraft;
  /** Called when its slip is committed. */
  stored(slip: Slip): void;
}

/** The condition of commits in a publisher's name: its session is still this broker's. */
export interface Guard {
  readonly check: JournalOperation;
  /** Returns true once the condition is known not to hold any more. */
  readonly isRevoked: () => boolean;
  /** Called when the store says that the condition does not hold: nothing more is done in the publisher's name. */
  readonly revoke: () => void;
}

/**
 * The reason for which the acknowledgement of a publish waits. `live`: for sessions that end with their connections,
 * here or at other brokers, or for nobody; `through`: for clients of persistent sessions to acknowledge it themselves;
 * `stored`: for something to be committed to the store.
 */
export type SettlementPath = "live" | "through" | "stored";

export class Settlement {
  readonly publish: Publish;
  /** Larger for later messages of this broker. */
  readonly order: number;
  readonly live: LiveRecipient[] = [];
  /** How many of them have been looked at since their moment is over. */
  looked = 0;
  dueAt = 0;
  /** How often the message has been given to another member of a shared subscription. */
  reassigned = 0;
  /** Slips made for this message so far. */
  slips = 0;
  /** The condition for anything to be stored for the first time; undefined: there is none. */
  guard: Guard | undefined;
  /**
   * The last transaction with which something may have been stored in the publisher's name before its CONNECT: what
   * lies in mailboxes up to there must not be overtaken.
   */
  afterZxid = 0;
  /** True if it waits for a commit, whatever is stored with that. */
  isStored = false;
  /** True if it waits for clients of persistent sessions that other brokers keep. */
  isSentThrough = false;
  /** A unit of it has been refused: its publisher publishes it elsewhere. */
  isRefused = false;
  /** Credits set aside for the copies that may have to be stored. */
  payment: Payment | undefined;
  #open = 0;
  #settled: () => void = () => {};

  constructor(publish: Publish, order: number) {
    this.publish = publish;
    this.order = order;
  }

  get isSettled(): boolean {
    return this.#open === 0;
  }

  /** The reason for which it has waited so far; of several, the one that takes longest. */
  get path(): SettlementPath {
    if (this.isStored || this.slips > 0) return "stored";
    return this.isSentThrough || this.live.length > 0 ? "through" : "live";
  }

  /** One more that must be taken care of. */
  waitFor(recipient?: LiveRecipient): void {
    this.#open++;
    if (recipient !== undefined) this.live.push(recipient);
  }

  /** One, or several, are taken care of. */
  done(count = 1): void {
    this.#open -= count;
    if (this.#open > 0) return;
    this.payment?.close();
    this.#settled();
  }

  /** Returns the next recipients that are not taken care of, so many at most. */
  takeWaiting(max: number): LiveRecipient[] {
    const waiting: LiveRecipient[] = [];
    while (this.looked < this.live.length && waiting.length < max) {
      const recipient = this.live[this.looked++]!;
      if (!recipient.isTakenCareOf) waiting.push(recipient);
    }
    return waiting;
  }

  /** Called when the last one is taken care of; only for a settlement that is not settled yet. */
  whenSettled(settled: () => void): void {
    this.#settled = settled;
  }
}

/** All settlements with live recipients, in the order in which their moments end. */
export class Settlements {
  readonly #mail: Mail;
  readonly #journal: Journal;
  readonly #timers: Timers;
  readonly #settleAfterMs: number;
  readonly #due = new Ring<Settlement>();
  readonly #timer = new Timer((now) => this.#tick(now));

  constructor(parts: { mail: Mail; journal: Journal; timers: Timers; settleAfterMs: number }) {
    this.#mail = parts.mail;
    this.#journal = parts.journal;
    this.#timers = parts.timers;
    this.#settleAfterMs = parts.settleAfterMs;
  }

  watch(settlement: Settlement, now: number): void {
    settlement.dueAt = now + this.#settleAfterMs;
    this.#due.push(settlement);
    if (this.#timer.dueAt === Infinity) this.#timers.set(this.#timer, settlement.dueAt);
  }

  #tick(now: number): void {
    let stored = 0;
    for (let head = this.#due.peek(); head !== undefined; head = this.#due.peek()) {
      if (head.isSettled) {
        this.#due.shift();
        continue;
      }
      if (head.dueAt > now) return this.#timers.set(this.#timer, head.dueAt);
      // Everybody else has a turn after each unit's worth of slips.
      if (stored >= slipsPerUnitMax) return this.#timers.set(this.#timer, now);
      const waiting = head.takeWaiting(slipsPerUnitMax - stored);
      if (head.looked === head.live.length) this.#due.shift();
      this.store(head, waiting);
      stored += waiting.length;
    }
  }

  /** Commits a message to the mailboxes of recipients that have not acknowledged it. */
  store(settlement: Settlement, recipients: readonly LiveRecipient[]): void {
    if (recipients.length === 0) return;
    const drafts = recipients.map((recipient) => recipient.draft());
    const name = { order: settlement.order, from: settlement.slips };
    settlement.slips += drafts.length;
    let at = 0;
    for (const { operations, slips } of this.#mail.store(settlement.publish, name, drafts, settlement.payment)) {
      const from = at;
      at += slips.length;
      const traced = settlement.publish.trace?.storing();
      this.#journal.commit(operations, () => {
        traced?.("committed");
        for (let index = 0; index < slips.length; index++) {
          slips[index]!.committed = true;
          recipients[from + index]!.stored(slips[index]!);
        }
        settlement.done(slips.length);
      });
    }
  }
}
