/**
 * The register of publishers, `/publishers`: which broker's clients publish on which topics. It is for people who look
 * at the tree, not for routing. New topics are registered together, now and then, and removed when nobody here has
 * published on them for long. A broker registers no more than fits into a fixed part of the tree, whatever its clients
 * publish on.
 */
import { ignoreTheWorld } from "../../base/errors.ts";
import {
  publisherBatchMax,
  publisherForgetMs,
  publisherLookMs,
  publisherTopicsMax,
  publisherTreeBytesMax,
} from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { parentPath, publisherPath, publishersPath, topicOfPath } from "../../coordinator/paths.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { stampAll } from "../peers/stamps.ts";
import { isOwnTopic } from "../publish/fanout.ts";

/** Bytes that a znode takes besides its path, approximately. */
const levelBytes = 64;

interface Registered {
  /** When the topic was last seen to be published on, in ms by the clock's `now`. */
  seenAt: number;
  /** Bytes that the topic takes in the tree, levels included. */
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
    const { coordinator, timers, journal } = this.#context;
    timers.set(this.#timer, now + publisherLookMs);
    if (coordinator.state !== "CONNECTED" || this.#isBusy) return;
    const removals = this.#forget(now);
    // A full disk has better things to keep: the topics are found again when they are published on again.
    const fresh = coordinator.isFull === true ? [] : this.#register(now).map((topic) => this.#path(topic));
    if (removals.length + fresh.length === 0) return;
    this.#isBusy = true;
    const finished = (): void => {
      this.#isBusy = false;
    };
    stampAll(this.#context, fresh, (path) => this.isRegistered(path)).then(
      (operations) => journal.commitAll([...removals, ...operations], { done: finished, refused: finished }),
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
    const fresh: string[] = [];
    for (const topic of this.#context.router.takePublished()) {
      const known = this.#registered.get(topic);
      if (known !== undefined) known.seenAt = now;
      if (known !== undefined || isOwnTopic(topic)) continue;
      if (fresh.length >= publisherBatchMax || this.#registered.size >= publisherTopicsMax) continue;
      const bytes = treeBytesOf(topic);
      if (this.#bytes + bytes > publisherTreeBytesMax) continue;
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
    this.#bytes -= this.#registered.get(topic)!.bytes;
    this.#registered.delete(topic);
    return { kind: "remove", path: this.#path(topic), isCurrent: () => !this.#registered.has(topic) };
  }

  #path(topic: string): string {
    return publisherPath(topic, this.#context.options.id);
  }
}

function topicOf(path: string): string {
  return topicOfPath(publishersPath, parentPath(path));
}

/**
 * Returns the bytes that a topic's levels take in the tree together, approximately: each is a node with its whole path.
 */
function treeBytesOf(topic: string): number {
  let bytes = 0;
  for (let slash = topic.indexOf("/"); ; slash = topic.indexOf("/", slash + 1)) {
    bytes += levelBytes + (slash === -1 ? topic.length : slash);
    if (slash === -1) return bytes;
  }
}
