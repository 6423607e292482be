/**
 * All subscriptions, by the levels of their filters. A match walks the topic's levels and, at each, the
 * children named so and those named + and #: its cost follows the topic's depth, not the number of filters.
 */
import type { Subscription } from "../mqtt/subscription.ts";

/** The members of a shared subscription that have one filter and one group name. */
export interface SharedGroup<Subscriber> {
  readonly name: string;
  /** The whole filter, `$share/name/…`: the group's key in the cluster. */
  readonly text: string;
  readonly members: Map<Subscriber, Subscription>;
  /** The members in their order, for taking turns; undefined after a change. */
  order: readonly Subscriber[] | undefined;
  /** Where the next choice begins. */
  turn: number;
}

export interface TrieNode<Subscriber> {
  readonly children: Map<string, TrieNode<Subscriber>>;
  readonly subscribers: Map<Subscriber, Subscription>;
  groups: Map<string, SharedGroup<Subscriber>> | undefined;
}

function makeNode<Subscriber>(): TrieNode<Subscriber> {
  return { children: new Map(), subscribers: new Map(), groups: undefined };
}

export class FilterTrie<Subscriber> {
  readonly #root: TrieNode<Subscriber> = makeNode();
  #size = 0;

  /** How many subscriptions there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds or replaces. */
  add(subscriber: Subscriber, subscription: Subscription): void {
    let node = this.#root;
    for (const level of subscription.filter.levels) {
      let child = node.children.get(level);
      if (child === undefined) {
        child = makeNode();
        node.children.set(level, child);
      }
      node = child;
    }
    const members = membersOf(node, subscription);
    if (!members.has(subscriber)) this.#size++;
    members.set(subscriber, subscription);
  }

  /** Removes; false if it was not there. */
  remove(subscriber: Subscriber, subscription: Subscription): boolean {
    const { levels, group } = subscription.filter;
    const path: TrieNode<Subscriber>[] = [this.#root];
    for (const level of levels) {
      const child = path[path.length - 1]!.children.get(level);
      if (child === undefined) return false;
      path.push(child);
    }
    const node = path[path.length - 1]!;
    if (!removeFrom(node, subscriber, group)) return false;
    this.#size--;
    for (let depth = levels.length; depth > 0 && isEmpty(path[depth]!); depth--) {
      path[depth - 1]!.children.delete(levels[depth - 1]!);
    }
    return true;
  }

  /** Calls `visit` with every node whose filter matches the topic. */
  match(topic: readonly string[], visit: (node: TrieNode<Subscriber>) => void): void {
    // [MQTT-4.7.2-1]: a wildcard in the first level does not match topics that begin with $.
    const wildcards = !topic[0]!.startsWith("$");
    this.#walk(this.#root, topic, 0, { visit, wildcards });
  }

  #walk(node: TrieNode<Subscriber>, topic: readonly string[], depth: number, how: Walk<Subscriber>): void {
    const wildcards = depth > 0 || how.wildcards;
    if (wildcards) {
      const hash = node.children.get("#");
      if (hash !== undefined) how.visit(hash);
    }
    if (depth === topic.length) {
      how.visit(node);
      return;
    }
    const child = node.children.get(topic[depth]!);
    if (child !== undefined) this.#walk(child, topic, depth + 1, how);
    if (!wildcards) return;
    const plus = node.children.get("+");
    if (plus !== undefined) this.#walk(plus, topic, depth + 1, how);
  }
}

interface Walk<Subscriber> {
  readonly visit: (node: TrieNode<Subscriber>) => void;
  readonly wildcards: boolean;
}

function membersOf<Subscriber>(node: TrieNode<Subscriber>, { filter }: Subscription): Map<Subscriber, Subscription> {
  if (filter.group === undefined) return node.subscribers;
  node.groups ??= new Map();
  let group = node.groups.get(filter.group);
  if (group === undefined) {
    group = { name: filter.group, text: filter.text, members: new Map(), order: undefined, turn: 0 };
    node.groups.set(filter.group, group);
  }
  group.order = undefined;
  return group.members;
}

function removeFrom<Subscriber>(
  node: TrieNode<Subscriber>,
  subscriber: Subscriber,
  group: string | undefined,
): boolean {
  if (group === undefined) return node.subscribers.delete(subscriber);
  const shared = node.groups?.get(group);
  if (!shared?.members.delete(subscriber)) return false;
  shared.order = undefined;
  if (shared.members.size === 0) node.groups!.delete(group);
  return true;
}

function isEmpty<Subscriber>(node: TrieNode<Subscriber>): boolean {
  return node.subscribers.size === 0 && node.children.size === 0 && (node.groups?.size ?? 0) === 0;
}
