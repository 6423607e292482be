/** The retained messages, in memory, by topic level: a subscription's look-up never asks the store. */
import type { Publish } from "../mqtt/publish.ts";

interface Level {
  readonly children: Map<string, Level>;
  entry: RetainedMessage | undefined;
}

export interface RetainedMessage {
  readonly topic: string;
  readonly publish: Publish;
}

export class RetainedMessages {
  readonly #root: Level = { children: new Map(), entry: undefined };
  #size = 0;
  /** Messages below `$`: the broker's own. */
  #ownSize = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  /** How many clients have published. */
  get clientsSize(): number {
    return this.#size - this.#ownSize;
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

  set(topic: string, publish: Publish): void {
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
    level.entry = { topic, publish };
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
    const found: RetainedMessage[] = [];
    collect(this.#root, filter, 0, { found, root: this.#root });
    return found;
  }
}

interface Search {
  readonly found: RetainedMessage[];
  readonly root: Level;
}

function collect(level: Level, filter: readonly string[], depth: number, search: Search): void {
  if (depth === filter.length) {
    if (level.entry !== undefined) search.found.push(level.entry);
    return;
  }
  const name = filter[depth]!;
  if (name !== "+" && name !== "#") {
    const child = level.children.get(name);
    if (child !== undefined) collect(child, filter, depth + 1, search);
    return;
  }
  if (name === "#" && level.entry !== undefined) search.found.push(level.entry);
  for (const [childName, child] of level.children) {
    // [MQTT-4.7.2-1]
    if (level === search.root && childName.startsWith("$")) continue;
    collect(child, filter, name === "#" ? depth : depth + 1, search);
  }
}
