/**
 * A subscription with several patterns gets a message once, though a broker may send a copy for each filter that
 * matches (3.3.4). MQTT 5's subscription identifiers tell the copies: filters that overlap have different ones.
 */
import { storedTopicsMax } from "../base/client-limits.ts";
import type { QoS } from "../mqtt/constants.ts";
import { filterMatches, filtersOverlap } from "../mqtt/topic.ts";
import type { Arrival } from "./message.ts";
import type { TopicPattern } from "./topic-pattern.ts";

interface Filtered {
  readonly filter: TopicPattern["filter"];
}

/** @internal */
export class Copies {
  readonly #patterns: readonly TopicPattern[];
  /**
   * Topics of stored messages that have come for one of several patterns, with their QoS: the broker sends one for each
   * filter that is asked for (3.3.1.3).
   */
  readonly #stored = new Map<string, QoS>();

  constructor(patterns: readonly TopicPattern[]) {
    this.#patterns = patterns;
  }

  /** The broker is asked for the filters: what is stored comes again. */
  asked(): void {
    this.#stored.clear();
  }

  /** The broker sends again what was not acknowledged. */
  retract(): void {
    for (const [topic, qos] of this.#stored) if (qos === 1) this.#stored.delete(topic);
  }

  /**
   * Returns the pattern by which a message is handed out, the first that matches; undefined: it is a copy. `came`: the
   * filters for which the broker says that it has come.
   */
  patternOf(arrival: Arrival, came: readonly Filtered[]): TopicPattern | undefined {
    const [only] = this.#patterns;
    if (this.#patterns.length === 1) return only;
    const levels = arrival.topic.split("/");
    const matching = this.#patterns.filter(({ filter }) => filterMatches(filter.levels, levels));
    if (matching.length < 2) return matching[0] ?? only;
    // Who shares a subscription gets its messages, whatever else he gets.
    const own = matching.filter(({ filter }) => filter.group === undefined);
    const shared = matching.find(({ text, filter }) => filter.group !== undefined && has(came, text));
    if (shared !== undefined) return shared;
    if (arrival.retain) return this.#isRepeated(arrival) ? undefined : own[0];
    return own[0] === undefined || has(came, own[0].text) ? own[0] : undefined;
  }

  #isRepeated({ topic, qos }: Arrival): boolean {
    if (this.#stored.has(topic)) return true;
    if (this.#stored.size >= storedTopicsMax) this.#stored.clear();
    this.#stored.set(topic, qos);
    return false;
  }
}

function has(came: readonly Filtered[], text: string): boolean {
  return came.some(({ filter }) => filter.text === text);
}

/**
 * Divides filters into lists of which each is asked for in one packet, and has one identifier: one list, unless they
 * overlap. Of two that do, the first is asked for first.
 */
export function apart<Each extends Filtered>(all: readonly Each[]): readonly (readonly Each[])[] {
  const lists: Each[][] = [];
  for (const each of all) {
    const overlaps = ({ filter }: Filtered): boolean => filtersOverlap(filter.levels, each.filter.levels);
    const at = lists.findLastIndex((list) => list.some(overlaps)) + 1;
    lists[at] ??= [];
    lists[at].push(each);
  }
  return lists;
}
