/**
 * All subscriptions, by the levels of their filters. A match walks the topic's levels and, at each, the
 * children named so and those named + and #. Of all filters of one shape (`mqtt/filter-shape.ts`) a topic matches one
 * at most, so a match takes no more steps than there are shapes times levels, however many filters there are. Levels
 * that no filter parts from stand in one node: a long filter costs no more memory than its text.
 */
import { wildcardsPlainMax } from "../base/limits.ts";
import { filterShape, wildcardsOf } from "../mqtt/filter-shape.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import type { Filter } from "../mqtt/topic.ts";

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
  /** The member that was chosen last; undefined: none was. */
  last: Subscriber | undefined;
}

/**
 * A place where filters end or part. Its own levels, below the node above it, are `levels` from `from` to `to`: a part
 * of the levels of some filter that passes through it, so that both count from that filter's beginning.
 */
export interface TrieNode<Subscriber> {
  readonly levels: readonly string[];
  from: number;
  readonly to: number;
  /** By the first of their own levels. */
  children: Map<string, TrieNode<Subscriber>> | undefined;
  subscribers: Map<Subscriber, Subscription> | undefined;
  groups: Map<string, SharedGroup<Subscriber>> | undefined;
}

function makeNode<Subscriber>(levels: readonly string[], from: number, to: number): TrieNode<Subscriber> {
  return { levels, from, to, children: undefined, subscribers: undefined, groups: undefined };
}

export class FilterTrie<Subscriber> {
  readonly #root: TrieNode<Subscriber> = makeNode([], 0, 0);
  #size = 0;
  #sharedSize = 0;
  /** Subscriptions by the shape of their filters, where that has more wildcards than may be everywhere. */
  readonly #shapes = new Map<string, number>();

  /** How many subscriptions there are. */
  get size(): number {
    return this.#size;
  }

  /** How many of them are members of shared subscriptions. */
  get sharedSize(): number {
    return this.#sharedSize;
  }

  /** How many shapes there are with more than `wildcardsPlainMax` single-level wildcards. */
  get shapes(): number {
    return this.#shapes.size;
  }

  /** True if a match of one topic may take more steps once there is a subscription with this filter. */
  widens({ levels }: Filter): boolean {
    return wildcardsOf(levels) > wildcardsPlainMax && !this.#shapes.has(filterShape(levels));
  }

  /** Adds or replaces. */
  add(subscriber: Subscriber, subscription: Subscription): void {
    const { levels } = subscription.filter;
    let node = this.#root;
    while (node.to < levels.length) {
      node.children ??= new Map();
      const child = node.children.get(levels[node.to]!);
      if (child === undefined) {
        const leaf = makeNode<Subscriber>(levels, node.to, levels.length);
        node.children.set(levels[node.to]!, leaf);
        node = leaf;
      } else {
        const to = partingFrom(child, levels);
        node = to === child.to ? child : split(node, child, to);
      }
    }
    const members = membersOf(node, subscription);
    if (!members.has(subscriber)) {
      this.#size++;
      if (subscription.filter.group !== undefined) this.#sharedSize++;
      this.#countShape(levels, 1);
    }
    members.set(subscriber, subscription);
  }

  /** Removes; false if it was not there. */
  remove(subscriber: Subscriber, subscription: Subscription): boolean {
    const { levels, group } = subscription.filter;
    const path: TrieNode<Subscriber>[] = [this.#root];
    let node = this.#root;
    while (node.to < levels.length) {
      const child = node.children?.get(levels[node.to]!);
      if (child === undefined || partingFrom(child, levels) < child.to) return false;
      path.push(child);
      node = child;
    }
    if (!removeFrom(node, subscriber, group)) return false;
    this.#size--;
    if (group !== undefined) this.#sharedSize--;
    this.#countShape(levels, -1);
    tidy(path);
    return true;
  }

  /** Calls `visit` with every node whose filter matches the topic. */
  match(topic: readonly string[], visit: (node: TrieNode<Subscriber>) => void): void {
    // [MQTT-4.7.2-1]: a wildcard in the first level does not match topics that begin with $.
    const wildcards = !topic[0]!.startsWith("$");
    this.#walk(this.#root, topic, { visit, wildcards });
  }

  /** Goes on below a node that the topic's levels have matched so far. */
  #walk(node: TrieNode<Subscriber>, topic: readonly string[], how: Walk<Subscriber>): void {
    const { to, children } = node;
    const wildcards = to > 0 || how.wildcards;
    if (wildcards) {
      const hash = children?.get("#");
      if (hash !== undefined) how.visit(hash);
    }
    if (to === topic.length) {
      how.visit(node);
      return;
    }
    if (children === undefined) return;
    const child = children.get(topic[to]!);
    if (child !== undefined) this.#enter(child, topic, how);
    if (!wildcards) return;
    const plus = children.get("+");
    if (plus !== undefined) this.#enter(plus, topic, how);
  }

  /** Matches the rest of a node's levels, the first of which has matched. */
  #enter(node: TrieNode<Subscriber>, topic: readonly string[], how: Walk<Subscriber>): void {
    const { levels, to } = node;
    for (let at = node.from + 1; at < to; at++) {
      const level = levels[at]!;
      if (level === "#") {
        how.visit(node);
        return;
      }
      if (at >= topic.length || (level !== "+" && level !== topic[at])) return;
    }
    this.#walk(node, topic, how);
  }

  #countShape(levels: readonly string[], change: 1 | -1): void {
    if (wildcardsOf(levels) <= wildcardsPlainMax) return;
    const shape = filterShape(levels);
    const count = (this.#shapes.get(shape) ?? 0) + change;
    if (count > 0) this.#shapes.set(shape, count);
    else this.#shapes.delete(shape);
  }
}

interface Walk<Subscriber> {
  readonly visit: (node: TrieNode<Subscriber>) => void;
  readonly wildcards: boolean;
}

/** Returns where a filter's levels part from those of a node on its way; the node's end if they do not. */
function partingFrom<Subscriber>(node: TrieNode<Subscriber>, levels: readonly string[]): number {
  let at = node.from;
  while (at < node.to && at < levels.length && node.levels[at] === levels[at]) at++;
  return at;
}

/** Puts a node for the levels up to `at` between a node and its child, and returns it. */
function split<Subscriber>(above: TrieNode<Subscriber>, child: TrieNode<Subscriber>, at: number): TrieNode<Subscriber> {
  const between = makeNode<Subscriber>(child.levels, child.from, at);
  above.children!.set(child.levels[child.from]!, between);
  child.from = at;
  between.children = new Map([[child.levels[at]!, child]]);
  return between;
}

/** Removes the nodes of a path, the last first, that hold nothing and where no filters part. */
function tidy<Subscriber>(path: readonly TrieNode<Subscriber>[]): void {
  for (let at = path.length - 1; at > 0; at--) {
    const node = path[at]!;
    const above = path[at - 1]!;
    if (node.subscribers !== undefined || node.groups !== undefined) return;
    const name = node.levels[node.from]!;
    if (node.children === undefined) {
      above.children!.delete(name);
      if (above.children!.size === 0) above.children = undefined;
    } else if (node.children.size === 1) {
      const [child] = node.children.values();
      child!.from = node.from;
      above.children!.set(name, child!);
      return;
    } else return;
  }
}

function membersOf<Subscriber>(node: TrieNode<Subscriber>, { filter }: Subscription): Map<Subscriber, Subscription> {
  if (filter.group === undefined) {
    node.subscribers ??= new Map();
    return node.subscribers;
  }
  node.groups ??= new Map();
  let group = node.groups.get(filter.group);
  if (group === undefined) {
    group = { name: filter.group, text: filter.text, members: new Map(), order: undefined, turn: 0, last: undefined };
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
  if (group === undefined) {
    const { subscribers } = node;
    if (!subscribers?.delete(subscriber)) return false;
    if (subscribers.size === 0) node.subscribers = undefined;
    return true;
  }
  const shared = node.groups?.get(group);
  if (!shared?.members.delete(subscriber)) return false;
  shared.order = undefined;
  if (shared.last === subscriber) shared.last = undefined;
  if (shared.members.size === 0) node.groups!.delete(group);
  if (node.groups!.size === 0) node.groups = undefined;
  return true;
}
