/**
 * What this broker says of its own sessions in `/subscribers`: each filter of those that end with their connections, once.
 * Announcing is part of SUBSCRIBE. What nobody here wants any more is removed page by page beside everything else: a
 * client with a hundred thousand filters that leaves holds nobody up, and one that comes back at once finds them still there.
 * Where this broker is alone nobody routes by any of it: it is there for people who look at the tree, so it is written
 * later, and for those who stay.
 */
import { ignoreTheWorld } from "../../base/errors.ts";
import { interestLateMs, interestPageMax, leftoversAfterMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { interestPath, parentPath, subscribersPath, topicOfPath } from "../../coordinator/paths.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { encodeStamp, type Stamp, stampAll, stampOver } from "./stamps.ts";

export class Interest {
  readonly #context: ClusterContext;
  /** How many sessions here that end with their connection have each filter. */
  readonly #counts = new Map<string, number>();
  /** Filters that stand in the tree from an earlier life, and what stands there. */
  readonly #leftovers = new Map<string, Stamp>();
  /** Filters that nobody here wants any more, and that still stand in the tree. */
  readonly #unwanted = new Set<string>();
  /** Filters whose nodes somebody has removed, or that stand there with an earlier epoch. */
  #unstamped: Iterator<string> | undefined;
  readonly #missing = new Set<string>();
  /** Filters that are announced when they have been wanted for a while, in the order in which they came, and since when. */
  readonly #late = new Map<string, number>();
  readonly #lateTimer = new Timer(() => this.#work());
  /** A page is under way. */
  #isBusy = false;
  /** What is left of an earlier life is taken over first by those who come back. */
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

  /** One more subscription of a session that ends with its connection: what must be written for it. */
  subscribed(text: string): JournalOperation[] {
    const count = (this.#counts.get(text) ?? 0) + 1;
    this.#counts.set(text, count);
    if (count > 1 || this.#unwanted.delete(text)) return [];
    const { coordinator, clock, self } = this.#context;
    if (coordinator.isAlone === true && !this.#leftovers.has(text)) {
      this.#late.set(text, clock.now());
      this.#wakeForLate();
      return [];
    }
    const before = this.#leftovers.has(text) ? this.#leftovers.get(text) : "none";
    this.#leftovers.delete(text);
    const data = encodeStamp(self.epoch);
    return [stampOver(before, { path: this.#path(text), data, isCurrent: () => this.#counts.has(text) })];
  }

  /** True if nothing must be written for one more subscription with this filter. */
  announces(text: string): boolean {
    return this.#counts.has(text) || this.#unwanted.has(text);
  }

  /** One less. */
  unsubscribed(text: string): void {
    const count = (this.#counts.get(text) ?? 0) - 1;
    if (count > 0) {
      this.#counts.set(text, count);
      return;
    }
    this.#counts.delete(text);
    // It was never announced.
    if (this.#late.delete(text)) return;
    this.#unwanted.add(text);
    this.#work();
  }

  /** A node of this broker was found while the tree was read at the start. */
  found(text: string, stamp: Stamp): void {
    if (!this.#counts.has(text)) this.#leftovers.set(text, stamp);
  }

  /** A node of this broker is gone from the tree. */
  gone(text: string): void {
    this.#leftovers.delete(text);
    // Whoever has taken this broker for dead is wrong.
    if (!this.#counts.has(text)) return;
    this.#missing.add(text);
    this.#work();
  }

  /** The broker is a new incarnation: what it has announced stays right, and names the new epoch after a while. */
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

  /** One page at a time: whatever comes meanwhile goes between. */
  #work(): void {
    if (this.#isBusy) return;
    const stale = this.#takeUnstamped();
    if (stale.length > 0) return this.#stamp(stale);
    const late = this.#takeLate();
    this.#wakeForLate();
    if (late.length > 0) return this.#stamp(late);
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

  #stamp(texts: readonly string[]): void {
    this.#isBusy = true;
    const wanted = new Map(texts.map((text) => [this.#path(text), text]));
    stampAll(this.#context, [...wanted.keys()], (path) => this.#counts.has(wanted.get(path)!)).then(
      (operations) => this.#context.journal.commitAll(operations, { done: () => this.#finished() }),
      (error) => {
        // The store is closing, or did not answer: what comes next goes on.
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

/** The filter of a node below `/subscribers`. */
export function filterOf(path: string): string {
  return topicOfPath(subscribersPath, parentPath(path));
}
