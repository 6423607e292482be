/** The retained messages, in memory, by topic level: a subscription's look-up never asks the store. */
import type { Publish } from "../mqtt/publish.ts";

interface Level {
  readonly children: Map<string, Level>;
  entry: RetainedMessage | undefined;
}

export interface RetainedMessage {
  readonly topic: string;
  readonly publish: Publish;
  /** Messages are numbered as they come. */
  readonly number: number;
  /** True if it was published at this broker, so that who had subscribed here before has had it live. */
  readonly wasLive: boolean;
  /** Where it comes from; undefined: it is the broker's own. */
  readonly origin: RetainedOrigin | undefined;
}

/** The origin of a retained message, as far as it is known. */
export interface RetainedOrigin {
  /** The broker at which it was published, and which pays for it. */
  readonly broker: string;
  /** The client that has published it; undefined: that was at another broker, before a restart, or by an operator. */
  readonly clientId: string | undefined;
  /** When it was published, in ms since 1970; undefined: before a restart, and the store does not say. */
  readonly at: number | undefined;
}

export class RetainedMessages {
  readonly #root: Level = { children: new Map(), entry: undefined };
  #size = 0;
  /** Messages below `$`: the broker's own. */
  #ownSize = 0;
  #bytes = 0;
  #lastNumber = 0;

  get size(): number {
    return this.#size;
  }

  /** How many clients have published. */
  get clientsSize(): number {
    return this.#size - this.#ownSize;
  }

  /** The number of the message that came last. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(topic: string): RetainedMessage | undefined {
    let level: Level | undefined = this.#root;
    for (const name of topic.split("/")) level = level?.children.get(name);
    return level?.entry;
  }

  /** True if the topic's znode exists: it holds a message, or stands above one. */
  hasNode(topic: string): boolean {
    let level: Level | undefined = this.#root;
    for (const name of topic.split("/")) level = level?.children.get(name);
    return level !== undefined;
  }

  /** `from`: a client of this broker, or the broker itself; or what the store tells of others. */
  set(topic: string, publish: Publish, from: "here" | "elsewhere", origin?: RetainedOrigin): void {
    let level = this.#root;
    for (const name of topic.split("/")) {
      let child = level.children.get(name);
      if (child === undefined) {
        child = { children: new Map(), entry: undefined };
        level.children.set(name, child);
      }
      level = child;
    }
    if (level.entry === undefined) this.#count(topic, 1);
    else this.#bytes -= level.entry.publish.size;
    this.#bytes += publish.size;
    level.entry = { topic, publish, number: ++this.#lastNumber, wasLive: from === "here", origin };
  }

  /** Returns whether there was one. */
  delete(topic: string): boolean {
    const names = topic.split("/");
    const path = [this.#root];
    for (const name of names) {
      const child = path[path.length - 1]!.children.get(name);
      if (child === undefined) return false;
      path.push(child);
    }
    const level = path[path.length - 1]!;
    if (level.entry === undefined) return false;
    this.#count(topic, -1);
    this.#bytes -= level.entry.publish.size;
    level.entry = undefined;
    for (let depth = names.length; depth > 0; depth--) {
      const at = path[depth]!;
      if (at.entry !== undefined || at.children.size > 0) break;
      path[depth - 1]!.children.delete(names[depth - 1]!);
    }
    return true;
  }

  #count(topic: string, change: 1 | -1): void {
    this.#size += change;
    if (topic.startsWith("$")) this.#ownSize += change;
  }

  /** All that match a filter, as they are now. */
  match(filter: readonly string[]): RetainedMessage[] {
    return [...this.search(filter)].filter((entry) => entry !== undefined);
  }

  /**
   * Looks for what matches a filter, and may be left at each step: one that found nothing yields undefined. What comes
   * or goes meanwhile is found or not; what was there at the beginning and stays is found once.
   */
  *search(filter: readonly string[]): Generator<RetainedMessage | undefined, void, void> {
    const branches: Branch[] = [];
    let at: { level: Level; depth: number } | undefined = { level: this.#root, depth: 0 };
    while (at !== undefined) {
      const { level, depth }: { level: Level; depth: number } = at;
      const name = filter[depth];
      at = undefined;
      if (name === undefined || name === "#") yield level.entry;
      if (name === "+" || name === "#") {
        const isRoot = level === this.#root;
        branches.push({ children: level.children.entries(), depth: name === "#" ? depth : depth + 1, isRoot });
      } else if (name !== undefined) {
        const child = level.children.get(name);
        if (child !== undefined) at = { level: child, depth: depth + 1 };
        else yield undefined;
      }
      at ??= nextOf(branches);
    }
  }
}

/** The children of a level that are still to be looked at, from a depth of the filter on. */
interface Branch {
  readonly children: Iterator<[string, Level]>;
  readonly depth: number;
  readonly isRoot: boolean;
}

/** Takes the next level from the branch that was begun last. */
function nextOf(branches: Branch[]): { level: Level; depth: number } | undefined {
  for (let branch = branches.at(-1); branch !== undefined; branch = branches.at(-1)) {
    const { done, value } = branch.children.next();
    if (done === true) branches.pop();
    // [MQTT-4.7.2-1]
    else if (!branch.isRoot || !value[0].startsWith("$")) return { level: value[1], depth: branch.depth };
  }
  return undefined;
}
