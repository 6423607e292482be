/**
 * Who publishes what: `/publishers`, for people who look at the tree, not for routing. Topics are registered now and then,
 * all new ones together, and forgotten when nobody here has published on them for long.
 */
import { noBytes } from "../base/bytes.ts";
import { publisherBatchMax, publisherForgetMs, publisherLookMs, publisherTopicsMax } from "../base/limits.ts";
import { Timer } from "../base/timers.ts";
import { publisherPath } from "../coordinator/paths.ts";
import type { JournalOperation } from "../mail/operations.ts";
import type { Context } from "./context.ts";
import { isOwnTopic } from "./fanout.ts";

export class Publishers {
  readonly #context: Context;
  /** Topics that are registered, and when it was last seen that somebody publishes on them. */
  readonly #seenAt = new Map<string, number>();
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: Context) {
    this.#context = context;
    context.timers.set(this.#timer, context.clock.now() + publisherLookMs);
  }

  /** The ephemeral nodes of the old keeper session are gone: what is still published on is registered anew. */
  renew(): void {
    this.#seenAt.clear();
  }

  #look(now: number): void {
    const { coordinator, journal, timers } = this.#context;
    timers.set(this.#timer, now + publisherLookMs);
    if (coordinator.state !== "CONNECTED") return;
    const operations = [...this.#register(now), ...this.#forget(now)];
    if (operations.length > 0) journal.commit(operations);
  }

  /** What does not fit is found again when it is published on again. */
  #register(now: number): JournalOperation[] {
    const operations: JournalOperation[] = [];
    for (const topic of this.#context.router.takePublished()) {
      const isKnown = this.#seenAt.has(topic);
      const isFull = operations.length >= publisherBatchMax || this.#seenAt.size >= publisherTopicsMax;
      if (isOwnTopic(topic) || (!isKnown && isFull)) continue;
      this.#seenAt.set(topic, now);
      if (!isKnown) operations.push({ kind: "announce", path: this.#path(topic), data: noBytes });
    }
    return operations;
  }

  #forget(now: number): JournalOperation[] {
    const operations: JournalOperation[] = [];
    for (const [topic, seenAt] of this.#seenAt) {
      if (now - seenAt < publisherForgetMs) continue;
      this.#seenAt.delete(topic);
      operations.push({ kind: "remove", path: this.#path(topic) });
    }
    return operations;
  }

  #path(topic: string): string {
    return publisherPath(topic, this.#context.options.id);
  }
}
