/** Retained messages: in memory for look-ups, in the store for good, and mirrored from what other brokers write there. */
import { parentPath, retainedPath, topicOfPath, topicPath } from "../coordinator/paths.ts";
import type { JournalOperation } from "../mail/operations.ts";
import { decodeMessage, encodeMessage } from "../mail/records.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Context } from "./context.ts";
import { Mirror } from "./mirror.ts";

export class Retaining {
  readonly #context: Context;
  readonly #mirror: Mirror;
  /** Writes of this broker that are under way, by path: until they are done, what others wrote is older. */
  readonly #writing = new Map<string, number>();

  constructor(context: Context) {
    this.#context = context;
    this.#mirror = new Mirror(context.coordinator, {
      root: retainedPath,
      concerns: (path) => !this.#writing.has(path),
      needsData: () => true,
      apply: (path, node) => this.#apply(path, node === "exists" ? undefined : node?.data),
    });
  }

  start(): Promise<void> {
    return this.#mirror.start();
  }

  /** Changes the retained message in memory, and returns what changes it in the store. */
  retain(publish: Publish, topic: string): JournalOperation[] {
    const { retained } = this.#context;
    const path = topicPath(retainedPath, topic);
    if (publish.payloadLength === 0) {
      if (!retained.delete(topic)) return [];
      this.#write(path);
      const after = (how: "committed" | "refused"): void => {
        this.#written(path, how);
        this.#prune(parentPath(path));
      };
      return [{ kind: "remove", path, isCurrent: () => retained.get(topic) === undefined, after }];
    }
    const exists = retained.hasNode(topic);
    const kept = publish.kept();
    retained.set(topic, kept);
    this.#write(path);
    const isCurrent = (): boolean => retained.get(topic)?.publish === kept;
    const after = (how: "committed" | "refused"): void => this.#written(path, how);
    return [{ kind: "put", path, data: encodeMessage(kept, 0), exists, isCurrent, after }];
  }

  #write(path: string): void {
    this.#writing.set(path, (this.#writing.get(path) ?? 0) + 1);
    this.#mirror.note(path);
  }

  #written(path: string, how: "committed" | "refused"): void {
    const count = this.#writing.get(path)! - 1;
    if (count === 0) this.#writing.delete(path);
    else this.#writing.set(path, count);
    // What is in memory is not what is in the store.
    if (how === "refused") this.#mirror.refresh(path);
  }

  #apply(path: string, data: Uint8Array | undefined): void {
    const { retained, clock, journal } = this.#context;
    const topic = topicOfPath(retainedPath, path);
    // Empty: a level above others, or a message that was cleared while others stood below it.
    if (data === undefined || data.length === 0) {
      retained.delete(topic);
      return;
    }
    const publish = decodeMessage(topic, data);
    if (publish.expiresAt > clock.wall()) retained.set(topic, publish);
    else journal.commit([{ kind: "remove", path }]);
  }

  /**
   * Levels of retained messages are no containers: a container that is given a message would vanish with the last
   * one below it. So the empty ones are removed here, each only as it was seen.
   */
  #prune(path: string): void {
    const { coordinator } = this.#context;
    if (path === retainedPath) return;
    coordinator.read([{ kind: "get", path }], (_, [node]) => {
      if (typeof node !== "object" || !("data" in node) || node.data.length > 0 || node.stat.childCount > 0) return;
      coordinator.write([{ kind: "delete", path, version: node.stat.version }], (error) => {
        if (error === undefined) this.#prune(parentPath(path));
      });
    });
  }
}
