/**
 * Refused publishes: each is counted. Now and then one line in the log gives the reason, their number, and the topics
 * that hold the credits. The tree is told how many the bank could not pay, so that it can be seen from outside.
 */
import { milli } from "../../bank/price.ts";
import { logTextMax, refusalsLogMs, refusalsReportMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { isRootLevel, retainedPath, topicOfPath, topicsPath } from "../../coordinator/paths.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";

/**
 * The cause of a refusal. bank: it cannot be paid; share: its user may not have more of the bank; mailbox: a
 * receiver's is full; size: the store takes nothing so large; retained: there are too many; disk: the store's is full;
 * obstacle: a stranger's znode stands in its place; levels: the topic has too many; memory: its publisher takes too
 * much.
 */
export type RefusalCause =
  | "bank"
  | "share"
  | "mailbox"
  | "size"
  | "retained"
  | "disk"
  | "obstacle"
  | "levels"
  | "memory";

/** A topic whose stored messages bind credits. */
export interface Holder {
  readonly topic: string;
  readonly credits: number;
}

/** The number of topics that a line in the log names. */
const holdersLogged = 3;

/** Counts refusals, and limits how often they are logged and told. */
export class Refusals {
  readonly #context: DeliveryContext;
  /** The number of refusals since the last line in the log, by cause. */
  readonly #unlogged = {
    bank: 0,
    share: 0,
    mailbox: 0,
    size: 0,
    retained: 0,
    disk: 0,
    obstacle: 0,
    levels: 0,
    memory: 0,
    will: 0,
  };
  readonly #loggedAt = {
    bank: -Infinity,
    share: -Infinity,
    mailbox: -Infinity,
    size: -Infinity,
    retained: -Infinity,
    disk: -Infinity,
    obstacle: -Infinity,
    levels: -Infinity,
    memory: -Infinity,
    will: -Infinity,
  };
  #reported = 0;
  #reportedAt = -Infinity;
  readonly #timer = new Timer(() => this.#report());

  constructor(context: DeliveryContext) {
    this.#context = context;
  }

  /** Counts a client's will that is given up, and logs it as `note` does: apart, for nobody else hears of it. */
  noteWill(cause: RefusalCause, why: string, clientId: string, topic?: () => string): void {
    this.#count(cause);
    this.#context.refused.note({ kind: "will", cause, reason: () => why, clientId, remote: undefined, topic });
    this.#context.metrics.willsRefused++;
    this.#unlogged.will++;
    this.#log("will", `will given up: ${why}`, clientId);
  }

  /** Counts a refused publish of a client, and logs it unless a line of that cause was logged a short while ago. */
  note(cause: RefusalCause, why: string, clientId: string, topic?: () => string): void {
    this.#count(cause);
    this.#context.refused.note({ kind: "publish", cause, reason: () => why, clientId, remote: undefined, topic });
    this.#unlogged[cause]++;
    this.#log(cause, `publish refused: ${why}`, clientId);
  }

  #count(cause: RefusalCause): void {
    const { metrics, clock, timers } = this.#context;
    metrics.countRefused(cause === "bank" || cause === "share" ? cause : "limit");
    if (cause === "bank") {
      // The first is told at once, then all that came meanwhile together.
      if (this.#timer.dueAt === Infinity)
        timers.set(this.#timer, Math.max(clock.now(), this.#reportedAt + refusalsReportMs));
    }
  }

  #log(cause: RefusalCause | "will", text: string, clientId: string): void {
    const { clock, log } = this.#context;
    if (clock.now() < this.#loggedAt[cause] + refusalsLogMs) return;
    const facts = { client: clientId.slice(0, logTextMax), refused: this.#unlogged[cause] };
    const holders = cause === "bank" ? { holders: this.#describeHolders() } : {};
    log.warn({ ...facts, ...holders }, text);
    this.#loggedAt[cause] = clock.now();
    this.#unlogged[cause] = 0;
  }

  #describeHolders(): string {
    return holdersOf(this.#context, holdersLogged)
      .map(({ topic, credits }) => `${topic}: ${credits}`)
      .join(", ");
  }

  #report(): void {
    const { metrics, bankAccount, clock } = this.#context;
    if (metrics.refusedByBank === this.#reported) return;
    this.#reported = metrics.refusedByBank;
    this.#reportedAt = clock.now();
    bankAccount.reportRefused(this.#reported);
  }
}

/** Returns the topics whose messages bind most of this broker's credits. */
export function holdersOf({ bankAccount }: DeliveryContext, count: number): Holder[] {
  return bankAccount.account.holders(count).map(({ path, credits }) => {
    // What is no message is told by the part of the tree in which it stands.
    if (isRootLevel(path)) return { topic: `(${path.slice(1)})`, credits: inTenths(credits) };
    const root = path.startsWith(`${topicsPath}/`) ? topicsPath : retainedPath;
    return { topic: topicOfPath(root, path), credits: inTenths(credits) };
  });
}

/** Returns milli-credits as credits, in tenths. */
function inTenths(credits: number): number {
  return Math.round(credits / (milli / 10)) / 10;
}
