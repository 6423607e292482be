/**
 * The interest that this broker announces in `/subscribers`: each filter of its sessions that end with their
 * connections, once. Announcing is part of SUBSCRIBE. Filters that no session here wants any more are removed page by
 * page beside everything else: a client with 100,000 filters that leaves delays nobody, and finds them still there if
 * it comes back at once. A broker that is alone announces late, and only filters that stay: nobody routes by them, they
 * are for people who look at the tree.
 */

import { markPriceOf } from "../../bank/price.ts";
import { ignoreTheWorld } from "../../base/errors.ts";
import { interestLateMs, interestPageMax, leftoversAfterMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { interestPath, parentPath, subscribersPath, topicOfPath } from "../../coordinator/paths.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Stamp } from "../../mail/stamp.ts";
import { Bill } from "../core/bill.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { stampAll, stampOver } from "./stamps.ts";

/** Writes and removes this broker's nodes below `/subscribers`. */
export class Interest {
  readonly #context: ClusterContext;
  /** The number of sessions here that end with their connections and have a filter, by filter. */
  readonly #counts = new Map<string, number>();
  /** Filters that an earlier life of this broker has left in the tree, with what their nodes say. */
  readonly #leftovers = new Map<string, Stamp>();
  /** Filters that no session here wants any more, and whose nodes are still in the tree. */
  readonly #unwanted = new Set<string>();
  /** Filters whose nodes name an earlier epoch (`#unstamped`), or were removed by another broker (`#missing`). */
  #unstamped: Iterator<string> | undefined;
  readonly #missing = new Set<string>();
  /**
   * Filters that are announced once they have been wanted for `interestLateMs`, oldest first, with the time since when
   * (ms).
   */
  readonly #late = new Map<string, number>();
  readonly #lateTimer = new Timer(() => this.#work());
  /** True while a page of changes is being committed. */
  #isBusy = false;
  /** True once leftovers may be removed: before that, clients that come back take theirs over. */
  #mayTidy = false;
  #whenTidy: (() => void)[] = [];

  constructor(context: ClusterContext) {
    this.#context = context;
    const timer = new Timer(() => {
      this.#mayTidy = true;
      this.#work();
    });
    context.timers.set(timer, context.clock.now() + leftoversAfterMs);
  }

  /** Returns the price of what must be written for one more subscription with this filter, in milli-credits. */
  priceOf(text: string): number {
    if (this.announces(text) || this.#isLate(text)) return 0;
    const path = this.#path(text);
    // What an earlier life has left, and paid for, is taken over.
    return this.#leftovers.has(text) && this.#context.bankAccount.account.pays(path) ? 0 : markPriceOf(path);
  }

  /** Returns true if a filter is not announced at once: nobody routes by it. */
  #isLate(text: string): boolean {
    return this.#context.coordinator.isAlone === true && !this.#leftovers.has(text);
  }

  /**
   * Counts a new subscription of a session that ends with its connection. Returns what must be written for it.
   * `payment`: what was set aside for `priceOf`; undefined if that was 0. `payer`: the client's user, who holds the
   * node for all who subscribe to the filter as long as this broker lives.
   */
  subscribed(text: string, { payment, payer }: { payment: Payment | undefined; payer: string }): JournalOperation[] {
    const count = (this.#counts.get(text) ?? 0) + 1;
    this.#counts.set(text, count);
    if (count > 1 || this.#unwanted.delete(text)) return [];
    const { clock, self, bankAccount } = this.#context;
    if (this.#isLate(text)) {
      this.#late.set(text, clock.now());
      this.#wakeForLate();
      return [];
    }
    const before = this.#leftovers.has(text) ? this.#leftovers.get(text) : "none";
    this.#leftovers.delete(text);
    const path = this.#path(text);
    const bill = new Bill(bankAccount.account, { path, credits: markPriceOf(path), payer, payment });
    return [stampOver(before, { path, epoch: self.epoch, bill, isCurrent: () => this.#counts.has(text) })];
  }

  /** Returns true if nothing must be written for one more subscription with this filter. */
  announces(text: string): boolean {
    return this.#counts.has(text) || this.#unwanted.has(text);
  }

  /** Counts the end of a subscription; the filter's node is removed later, after the last one. */
  unsubscribed(text: string): void {
    const count = (this.#counts.get(text) ?? 0) - 1;
    if (count > 0) {
      this.#counts.set(text, count);
      return;
    }
    this.#counts.delete(text);
    // The filter was never announced.
    if (this.#late.delete(text)) return;
    this.#unwanted.add(text);
    this.#work();
  }

  /** Notes a node of this broker that was found when the tree was read at the start. */
  found(text: string, stamp: Stamp): void {
    if (!this.#counts.has(text)) this.#leftovers.set(text, stamp);
  }

  /** Writes a node of this broker again that is gone from the tree, if its filter is still wanted. */
  gone(text: string): void {
    this.#leftovers.delete(text);
    // Another broker has taken this one for dead, wrongly.
    if (!this.#counts.has(text)) return;
    this.#missing.add(text);
    this.#work();
  }

  /** Has all nodes name the broker's new epoch, page by page; until then they stay valid (`BrokerFacts.since`). */
  renew(): void {
    this.#unstamped = this.#counts.keys();
    this.#work();
  }

  /** Calls back when nothing is left to be removed: the broker is about to end. */
  whenTidy(done: () => void): void {
    this.#mayTidy = true;
    this.#whenTidy.push(done);
    this.#work();
  }

  /** Commits the next page of changes; commits of others go between two pages. */
  #work(): void {
    if (this.#isBusy) return;
    const stale = this.#takeUnstamped();
    if (stale.length > 0) return this.#stamp(stale);
    const late = this.#takeLate();
    this.#wakeForLate();
    // Who has left while the nodes were read was never announced: there is nothing to remove.
    if (late.length > 0) return this.#stamp(late, (text) => this.#unwanted.delete(text));
    const removals = this.#takeUnwanted();
    if (removals.length > 0) {
      this.#isBusy = true;
      return this.#context.journal.commitAll(removals, { done: () => this.#finished() });
    }
    for (const done of this.#whenTidy.splice(0)) done();
  }

  #finished(): void {
    this.#isBusy = false;
    this.#work();
  }

  #stamp(texts: readonly string[], absent: (text: string) => void = () => {}): void {
    this.#isBusy = true;
    const wanted = new Map(texts.map((text) => [this.#path(text), text]));
    const { journal, bankAccount } = this.#context;
    const how = {
      isCurrent: (path: string): boolean => this.#counts.has(wanted.get(path)!),
      absent: (path: string): void => absent(wanted.get(path)!),
      // Only what is for people is ever announced without having been paid for before.
      unpaid: (): void => {},
    };
    stampAll(this.#context, [...wanted.keys()], how).then(
      (operations) => journal.commitAll(operations, { guard: bankAccount.guard(), done: () => this.#finished() }),
      (error) => {
        // The store is closing, or did not answer: the next change tries again.
        ignoreTheWorld(error);
        this.#isBusy = false;
      },
    );
  }

  #takeUnstamped(): string[] {
    const page: string[] = [];
    for (const text of this.#missing) {
      if (page.length >= interestPageMax) return page;
      this.#missing.delete(text);
      page.push(text);
    }
    while (this.#unstamped !== undefined && page.length < interestPageMax) {
      const { value, done } = this.#unstamped.next();
      if (done === true) this.#unstamped = undefined;
      else page.push(value);
    }
    return page;
  }

  /** Returns a page of filters that have been wanted long enough to be announced. */
  #takeLate(): string[] {
    const { clock, coordinator } = this.#context;
    const page: string[] = [];
    if (coordinator.isFull === true) return page;
    for (const [text, since] of this.#late) {
      if (page.length >= interestPageMax || clock.now() < since + interestLateMs) break;
      this.#late.delete(text);
      page.push(text);
    }
    return page;
  }

  #wakeForLate(): void {
    const { timers, clock } = this.#context;
    if (this.#late.size > 0 && this.#lateTimer.dueAt === Infinity)
      timers.set(this.#lateTimer, clock.now() + interestLateMs);
  }

  #takeUnwanted(): JournalOperation[] {
    const page: JournalOperation[] = [];
    const take = (texts: { keys(): Iterable<string>; delete(text: string): boolean }): void => {
      for (const text of texts.keys()) {
        if (page.length >= interestPageMax) return;
        texts.delete(text);
        page.push({ kind: "remove", path: this.#path(text), isCurrent: () => !this.#counts.has(text) });
      }
    };
    take(this.#unwanted);
    if (this.#mayTidy) take(this.#leftovers);
    return page;
  }

  #path(text: string): string {
    return interestPath(text, this.#context.options.id);
  }
}

/** Returns the filter of a node below `/subscribers`. */
export function filterOf(path: string): string {
  return topicOfPath(subscribersPath, parentPath(path));
}
