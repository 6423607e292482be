/**
 * The register of publishers, `/publishers`: which broker's clients publish on which topics. It is for people who look
 * at the tree, not for routing. New topics are registered together, now and then, and removed when nobody here has
 * published on them for long. They are paid for from the bank, and a broker registers no more than fits into a fixed
 * part of the tree, and a small part of the bank, whatever its clients publish on.
 */
import { weightPaidBy } from "../../bank/price.ts";
import { ignoreTheWorld } from "../../base/errors.ts";
import {
  publisherBatchMax,
  publisherForgetMs,
  publisherLookMs,
  publisherPartMax,
  publisherTopicsMax,
  publisherTreeBytesMax,
} from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { parentPath, publisherPath, publishersPath, topicOfPath } from "../../coordinator/paths.ts";
import { placeWeightOf } from "../../coordinator/weight.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { stampAll } from "../peers/stamps.ts";
import { isOwnTopic } from "../publish/own-topics.ts";

interface Registered {
  /** When the topic was last seen to be published on, in ms by the clock's `now`. */
  seenAt: number;
  /** Bytes that the topic takes in the tree, levels included, as it is paid for. */
  readonly bytes: number;
}

/** Registers the topics on which this broker's clients publish. */
export class Publishers {
  readonly #context: ClusterContext;
  readonly #registered = new Map<string, Registered>();
  #bytes = 0;
  /** True while a batch is being committed. */
  #isBusy = false;
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: ClusterContext) {
    this.#context = context;
    context.timers.set(this.#timer, context.clock.now() + publisherLookMs);
  }

  /**
   * Forgets what is registered: the broker was taken for dead, and it may be gone. Topics still in use are registered
   * again.
   */
  renew(): void {
    this.#registered.clear();
    this.#bytes = 0;
  }

  /** The topics that are registered. */
  topics(): Iterable<string> {
    return this.#registered.keys();
  }

  /** Returns true if a node of this broker is to be there. */
  isRegistered(path: string): boolean {
    return this.#registered.has(topicOf(path));
  }

  /** Removes all nodes, a batch at a time, and calls back: the broker is about to end. */
  retire(done: () => void): void {
    this.#context.timers.cancel(this.#timer);
    const batch = [...this.#registered.keys()].slice(0, publisherBatchMax);
    if (batch.length === 0) return done();
    this.#context.journal.commitAll(
      batch.map((topic) => this.#removal(topic)),
      { done: () => this.retire(done) },
    );
  }

  #look(now: number): void {
    const { coordinator, timers, journal, bankAccount } = this.#context;
    timers.set(this.#timer, now + publisherLookMs);
    if (coordinator.state !== "CONNECTED" || this.#isBusy) return;
    const removals = this.#forget(now);
    const isCurrent = (path: string): boolean => this.isRegistered(path);
    // They are found again when they are published on again.
    const unpaid = (path: string): void => this.#unregister(topicOf(path));
    // A full disk has better things to keep: the topics are found again when they are published on again.
    const fresh = coordinator.isFull === true ? [] : this.#register(now).map((topic) => this.#path(topic));
    if (removals.length + fresh.length === 0) return;
    this.#isBusy = true;
    const finished = (): void => {
      this.#isBusy = false;
    };
    const guard = bankAccount.guard();
    stampAll(this.#context, fresh, { isCurrent, unpaid }).then(
      (operations) => journal.commitAll([...removals, ...operations], { guard, done: finished, refused: finished }),
      (error) => {
        ignoreTheWorld(error);
        finished();
      },
    );
  }

  /**
   * Returns new topics, which count as registered. Those that do not fit are found again when they are published on
   * again.
   */
  #register(now: number): string[] {
    const { router, bankAccount } = this.#context;
    const fresh: string[] = [];
    // Where the bank is small clients have better things to pay for.
    const bytesMax = Math.min(publisherTreeBytesMax, weightPaidBy(bankAccount.capital * publisherPartMax));
    let weighed = 0;
    for (const topic of router.takePublished()) {
      const known = this.#registered.get(topic);
      if (known !== undefined) known.seenAt = now;
      if (known !== undefined || isOwnTopic(topic)) continue;
      // When there is no room, not all topics that are published on are weighed at each look.
      if (weighed >= publisherBatchMax || this.#registered.size >= publisherTopicsMax) continue;
      weighed++;
      const bytes = placeWeightOf(this.#path(topic));
      if (this.#bytes + bytes > bytesMax) continue;
      this.#registered.set(topic, { seenAt: now, bytes });
      this.#bytes += bytes;
      fresh.push(topic);
    }
    return fresh;
  }

  #forget(now: number): JournalOperation[] {
    const old = [...this.#registered].filter(([, { seenAt }]) => now - seenAt >= publisherForgetMs);
    return old.slice(0, publisherBatchMax).map(([topic]) => this.#removal(topic));
  }

  #removal(topic: string): JournalOperation {
    this.#unregister(topic);
    return { kind: "remove", path: this.#path(topic), isCurrent: () => !this.#registered.has(topic) };
  }

  #unregister(topic: string): void {
    this.#bytes -= this.#registered.get(topic)?.bytes ?? 0;
    this.#registered.delete(topic);
  }

  #path(topic: string): string {
    return publisherPath(topic, this.#context.options.id);
  }
}

function topicOf(path: string): string {
  return topicOfPath(publishersPath, parentPath(path));
}
