/**
 * Finds a topic's receivers: those that this broker serves, and those elsewhere in the cluster. A route is worked out
 * once per topic and cached under the topic's bytes; a generation number makes all cached routes stale at once when a
 * subscription changes.
 */
import { decodeUtf8, equalRange, hashBytes, noBytes, ownBytes } from "../base/bytes.ts";
import {
  routeCacheBytesMax,
  routeCacheEntriesMax,
  routesCleanedMax,
  topicLevelsMax,
  wildcardShapesMax,
} from "../base/limits.ts";
import type { QoS } from "../mqtt/constants.ts";
import { isTopicBytes } from "../mqtt/publish.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { type Filter, fitsTree } from "../mqtt/topic.ts";
import { FilterTrie, type SharedGroup, type TrieNode } from "./filter-trie.ts";

export type { SharedGroup } from "./filter-trie.ts";

/** One receiver of a topic, its overlapping subscriptions made one. */
export interface Target<Subscriber> {
  readonly subscriber: Subscriber;
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  readonly subscriptionIds: readonly number[];
  /** The target if the receiver is the publisher (No Local); undefined: it gets nothing. */
  readonly own: Target<Subscriber> | undefined;
  /** The shared subscription this is a choice of. */
  readonly group: SharedGroup<unknown> | undefined;
}

/** A subscriber somewhere else in the cluster. */
export interface Elsewhere {
  readonly isElsewhere: true;
}

export class Route<Here, There extends Elsewhere> {
  readonly topic: string;
  readonly bytes: Uint8Array;
  readonly next: Route<Here, There> | undefined;
  generation = -1;
  targets: readonly Target<Here>[] = [];
  elsewhere: readonly Target<There>[] = [];
  groups: readonly SharedGroup<Here | There>[] = [];
  /** A client of this broker has published on it since `takePublished`. */
  wasPublished = false;
  /** True if messages on the topic lie in a mail drop, and reach their receivers from there. */
  isMailDrop = false;
  /** Room for what the fan-out knows about all targets; it goes stale with the generation. */
  note = 0;
  /** Room for another note of the fan-out; undefined after a change. */
  reach: string | undefined;
  /** Room for the levels of the topic in the store, and what they weigh, in bytes; undefined: not worked out. */
  place: { readonly weight: number; readonly pathBytes: number } | undefined;
  /** Room for what a copy's slip for each receiver weighs together, in bytes; undefined after a change. */
  slipsWeight: number | undefined;
  /** Room for where messages without a promise go, besides `targets`; undefined after a change. */
  links: readonly unknown[] | undefined;

  constructor(topic: string, bytes: Uint8Array, next: Route<Here, There> | undefined) {
    this.topic = topic;
    this.bytes = bytes;
    this.next = next;
  }
}

/**
 * The rules that routes depend on beside subscriptions. Each is asked when a route is worked out; `touch` makes cached
 * routes stale when an answer has changed.
 */
export interface RoutingRules<Here, There> {
  /** True if messages on the topic lie in a mail drop. Without: never. */
  readonly isMailDrop?: (topic: string) => boolean;
  /** True if the subscriber elsewhere can be reached. Without: always. */
  readonly isThere?: (subscriber: There) => boolean;
  /** True if the subscriber may be sent messages on the topic. Without: always. */
  readonly mayReceive?: (subscriber: Here, topic: string) => boolean;
}

/** Topics whose hashes collide; longer chains are an attack, and are not cached. */
const chainLengthMax = 8;

export class Router<Here extends object, There extends Elsewhere> {
  readonly #trie = new FilterTrie<Here | There>();
  #cache = new Map<number, Route<Here, There>>();
  #cached = 0;
  #cachedBytes = 0;
  #generation = 0;
  /** Where the search for stale routes goes on. */
  #cleaned: MapIterator<[number, Route<Here, There>]> | undefined;
  readonly #rules: Required<RoutingRules<Here, There>>;

  constructor(rules: RoutingRules<Here, There> = {}) {
    const always = (): boolean => true;
    this.#rules = { isMailDrop: () => false, isThere: always, mayReceive: always, ...rules };
  }

  /** Topics whose routes are remembered. */
  get routes(): number {
    return this.#cached;
  }

  get subscriptions(): number {
    return this.#trie.size;
  }

  /** How many of them are shared ones: each member of a group counts. */
  get sharedSubscriptions(): number {
    return this.#trie.sharedSize;
  }

  /** False if a subscription with this filter would make working out routes dearer than it may be. */
  mayTake(filter: Filter): boolean {
    return this.#trie.shapes < wildcardShapesMax || !this.#trie.widens(filter);
  }

  subscribe(subscriber: Here | There, subscription: Subscription): void {
    this.#trie.add(subscriber, subscription);
    this.#generation++;
  }

  unsubscribe(subscriber: Here | There, subscription: Subscription): void {
    if (!this.#trie.remove(subscriber, subscription)) return;
    this.#generation++;
    this.#clean();
  }

  /** Makes cached routes stale: something about a subscriber has changed that they may have noted. */
  touch(): void {
    this.#generation++;
  }

  isFresh(route: Route<Here, There>): boolean {
    return route.generation === this.#generation;
  }

  /** The route of a topic; undefined if the bytes are no topic name. */
  route(bytes: Uint8Array, start: number, end: number): Route<Here, There> | undefined {
    const hash = hashBytes(bytes, start, end);
    const first = this.#cache.get(hash);
    let length = 0;
    for (let route = first; route !== undefined; route = route.next, length++) {
      if (route.bytes.length === end - start && equalRange(route.bytes, 0, bytes, start, end - start)) {
        return this.refresh(route);
      }
    }
    if (!isTopicBytes(bytes, start, end)) return undefined;
    const topic = decodeUtf8(bytes, start, end);
    if (!fitsTree(topic.split("/", topicLevelsMax + 1))) return undefined;
    const cacheable = length < chainLengthMax;
    const route = new Route<Here, There>(topic, ownBytes(bytes, start, end), cacheable ? first : undefined);
    if (cacheable) this.#remember(hash, route);
    return this.refresh(route);
  }

  /** The topics whose routes are remembered: what was lately published on. */
  *topics(): Generator<string> {
    for (const first of this.#cache.values())
      for (let route: Route<Here, There> | undefined = first; route !== undefined; route = route.next)
        yield route.topic;
  }

  /** The cached topics that clients here have published on since this was last asked. */
  *takePublished(): Generator<string> {
    for (const first of this.#cache.values()) {
      for (let route: Route<Here, There> | undefined = first; route !== undefined; route = route.next) {
        if (!route.wasPublished) continue;
        route.wasPublished = false;
        yield route.topic;
      }
    }
  }

  /** Works out the route of a topic to be looked at, and does not remember it. */
  look(topic: string): Route<Here, There> {
    return this.refresh(new Route<Here, There>(topic, noBytes, undefined));
  }

  /** Works the route out anew if it is stale. */
  refresh(route: Route<Here, There>): Route<Here, There> {
    if (route.generation === this.#generation) return route;
    const merged = new Map<Here | There, Merged>();
    const groups: SharedGroup<Here | There>[] = [];
    this.#trie.match(route.topic.split("/"), (node) => collect(node, merged, groups));
    const targets: Target<Here>[] = [];
    const elsewhere: Target<There>[] = [];
    for (const [subscriber, parts] of merged) {
      if ("isElsewhere" in subscriber) {
        if (this.#rules.isThere(subscriber as There)) elsewhere.push(makeTarget(subscriber as There, parts));
      } else if (this.#rules.mayReceive(subscriber as Here, route.topic))
        targets.push(makeTarget(subscriber as Here, parts));
    }
    route.targets = targets;
    route.elsewhere = elsewhere;
    route.links = undefined;
    route.reach = undefined;
    route.slipsWeight = undefined;
    route.groups = groups;
    route.isMailDrop = this.#rules.isMailDrop(route.topic);
    route.generation = this.#generation;
    route.note = 0;
    return route;
  }

  /**
   * Forgets a few routes that are stale: each names its receivers, whose sessions may have ended, and nobody may ever
   * publish on its topic again.
   */
  #clean(): void {
    this.#cleaned ??= this.#cache.entries();
    for (let step = 0; step < routesCleanedMax; step++) {
      const { value, done } = this.#cleaned.next();
      if (done) {
        this.#cleaned = undefined;
        return;
      }
      const [hash, first] = value;
      if (!this.#mayForget(first)) continue;
      this.#cache.delete(hash);
      for (let route: Route<Here, There> | undefined = first; route !== undefined; route = route.next) {
        this.#cached--;
        this.#cachedBytes -= route.bytes.length;
      }
    }
  }

  /** False for routes whose publishing is still to be told of, or that are fresh. */
  #mayForget(first: Route<Here, There>): boolean {
    for (let route: Route<Here, There> | undefined = first; route !== undefined; route = route.next)
      if (route.wasPublished || this.isFresh(route)) return false;
    return true;
  }

  #remember(hash: number, route: Route<Here, There>): void {
    if (this.#cached >= routeCacheEntriesMax || this.#cachedBytes >= routeCacheBytesMax) {
      this.#cache = new Map();
      this.#cleaned = undefined;
      this.#cached = this.#cachedBytes = 0;
    }
    this.#cache.set(hash, route);
    this.#cached++;
    this.#cachedBytes += route.bytes.length;
  }
}

type Merged = Subscription[];

function collect<Subscriber>(
  node: TrieNode<Subscriber>,
  merged: Map<Subscriber, Merged>,
  groups: SharedGroup<Subscriber>[],
): void {
  if (node.subscribers !== undefined) {
    for (const [subscriber, subscription] of node.subscribers) {
      const parts = merged.get(subscriber);
      if (parts === undefined) merged.set(subscriber, [subscription]);
      else parts.push(subscription);
    }
  }
  if (node.groups !== undefined) for (const group of node.groups.values()) groups.push(group);
}

function makeTarget<Subscriber>(subscriber: Subscriber, parts: Merged): Target<Subscriber> {
  const local = parts.filter((part) => !part.noLocal);
  const target = { ...merge(subscriber, parts), group: undefined };
  if (local.length === parts.length) return ownOf(target);
  return { ...target, own: local.length === 0 ? undefined : ownOf({ ...merge(subscriber, local), group: undefined }) };
}

/** A target for which it makes no difference whether the receiver is the publisher. */
function ownOf<Subscriber>(target: Omit<Target<Subscriber>, "own">): Target<Subscriber> {
  const whole: { own?: Target<Subscriber> } & Omit<Target<Subscriber>, "own"> = { ...target };
  whole.own = whole as Target<Subscriber>;
  return whole as Target<Subscriber>;
}

function merge<Subscriber>(subscriber: Subscriber, parts: Merged) {
  // [MQTT-3.3.4-2]: one copy at the highest QoS of all that match, with all their identifiers.
  let qos: QoS = 0;
  for (const part of parts) if (part.qos > qos) qos = part.qos;
  return {
    subscriber,
    qos,
    retainAsPublished: parts.some((part) => part.retainAsPublished),
    subscriptionIds: parts.filter((part) => part.id !== 0).map((part) => part.id),
  };
}

/** The target of one chosen member of a shared subscription. */
export function memberTarget<Subscriber>(
  group: SharedGroup<Subscriber>,
  subscriber: Subscriber,
  subscription: Subscription,
): Target<Subscriber> {
  return ownOf({ ...merge(subscriber, [subscription]), group });
}
