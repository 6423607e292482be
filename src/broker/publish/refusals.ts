/**
 * Publishes that are refused: each is counted, and a line now and then says why, how many there were, and who holds the
 * credits; the tree is told how many the bank could not pay, so that it can be seen from outside.
 */
import { milli } from "../../bank/price.ts";
import { logTextMax, refusalsLogMs, refusalsTellMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { retainedPath, topicOfPath, topicsPath } from "../../coordinator/paths.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";

/** bank: it cannot be paid. mailbox: one that it would go into is full. size: the store takes nothing so large. retained: there are too many. disk: the store's is full. */
export type RefusalCause = "bank" | "mailbox" | "size" | "retained" | "disk";

export interface Holder {
  readonly topic: string;
  readonly credits: number;
}

const holdersLogged = 3;

export class Refusals {
  readonly #context: DeliveryContext;
  /** Since the last line. */
  readonly #unlogged = { bank: 0, mailbox: 0, size: 0, retained: 0, disk: 0 };
  readonly #loggedAt = { bank: -Infinity, mailbox: -Infinity, size: -Infinity, retained: -Infinity, disk: -Infinity };
  #told = 0;
  #toldAt = -Infinity;
  readonly #timer = new Timer(() => this.#tell());

  constructor(context: DeliveryContext) {
    this.#context = context;
  }

  note(cause: RefusalCause, why: string, clientId: string): void {
    const { metrics, clock, log, timers } = this.#context;
    metrics.refused++;
    this.#unlogged[cause]++;
    if (cause === "bank") {
      metrics.refusedByBank++;
      // The first at once, then all that came meanwhile together.
      if (this.#timer.dueAt === Infinity) timers.set(this.#timer, Math.max(clock.now(), this.#toldAt + refusalsTellMs));
    }
    if (clock.now() < this.#loggedAt[cause] + refusalsLogMs) return;
    const facts = { client: clientId.slice(0, logTextMax), refused: this.#unlogged[cause] };
    const holders = cause === "bank" ? { holders: this.#describeHolders() } : {};
    log.warn({ ...facts, ...holders }, `publish refused: ${why}`);
    this.#loggedAt[cause] = clock.now();
    this.#unlogged[cause] = 0;
  }

  #describeHolders(): string {
    return holdersOf(this.#context, holdersLogged)
      .map(({ topic, credits }) => `${topic}: ${credits}`)
      .join(", ");
  }

  #tell(): void {
    const { metrics, bankAccount, clock } = this.#context;
    if (metrics.refusedByBank === this.#told) return;
    this.#told = metrics.refusedByBank;
    this.#toldAt = clock.now();
    bankAccount.tellRefused(this.#told);
  }
}

/** The topics whose messages bind the most of this broker's branch, in credits. */
export function holdersOf({ bankAccount }: DeliveryContext, count: number): Holder[] {
  return bankAccount.account.holders(count).map(({ path, credits }) => {
    const root = path.startsWith(`${topicsPath}/`) ? topicsPath : retainedPath;
    return { topic: topicOfPath(root, path), credits: Math.round(credits / (milli / 10)) / 10 };
  });
}
