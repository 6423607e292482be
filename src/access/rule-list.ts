/** Rules of the access list that are asked one after the other, with a memory of topics that they were asked for. */
import { topicMemoryBytes } from "../base/memory-limits.ts";
import { filterMatches } from "../mqtt/topic.ts";

export interface Rule {
  readonly levels: readonly string[];
  /** Both false: what it matches is denied. */
  readonly read: boolean;
  readonly write: boolean;
  /** Where it stands in the access list; undefined: a token or a hook has granted it. */
  readonly place?: RulePlace;
}

/** The place of a rule in the access list. */
export interface RulePlace {
  /** The number of its line, from 1. */
  readonly line: number;
  /** The line, without the spaces around it. */
  readonly words: string;
}

/** The bits of what a list of rules says of a topic; 0: it says nothing. */
export const Says = { denied: 1, read: 2, write: 4 } as const;

/** Topics that a list of rules remembers, and their characters. */
export interface MemoryLimit {
  /** True for rules that all users' clients ask together. */
  readonly isShared: boolean;
  readonly topicsMax: number;
  readonly charactersMax: number;
}

/** Rules in the order in which they are asked: the first that matches decides. */
export class RuleList {
  readonly rules: readonly Rule[];
  readonly #limit: MemoryLimit;
  #known = new Map<string, number>();
  #characters = 0;

  constructor(rules: readonly Rule[], limit: MemoryLimit) {
    this.rules = rules;
    this.#limit = limit;
  }

  /**
   * Returns the memory of topics that are remembered for one user, or client, in bytes, about; 0 for what all share,
   * and if the list is in `seen`, to which it is added.
   */
  memoryBytes(seen: Set<RuleList>): number {
    if (this.#limit.isShared || this.#known.size === 0 || seen.has(this)) return 0;
    seen.add(this);
    return this.#known.size * topicMemoryBytes + this.#characters;
  }

  /** Returns what the rules say of a topic, as bits of `Says`. */
  of(topic: string): number {
    const known = this.#known.get(topic);
    if (known !== undefined) return known;
    const said = this.#decide(topic.split("/"));
    if (this.#known.size >= this.#limit.topicsMax || this.#characters + topic.length > this.#limit.charactersMax) {
      this.#known = new Map();
      this.#characters = 0;
    }
    if (topic.length > this.#limit.charactersMax) return said;
    this.#known.set(topic, said);
    this.#characters += topic.length;
    return said;
  }

  #decide(levels: readonly string[]): number {
    let said = 0;
    for (const rule of this.rules) {
      if (!filterMatches(rule.levels, levels)) continue;
      if (isDenial(rule)) return said | Says.denied;
      if (rule.read) said |= Says.read;
      if (rule.write) said |= Says.write;
    }
    return said;
  }
}

/** Returns true for a rule that denies what it matches. */
export function isDenial({ read, write }: Rule): boolean {
  return !read && !write;
}
