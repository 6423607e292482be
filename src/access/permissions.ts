/**
 * The topics that one client may publish on and read: rules, asked at publish, at subscribe and at each delivery, with
 * a memory.
 */
import { permissionsCachedMax } from "../base/access-limits.ts";
import { filterMatches, filtersOverlap } from "../mqtt/topic.ts";

export interface Rule {
  readonly levels: readonly string[];
  /** Both false: what it matches is denied. */
  readonly read: boolean;
  readonly write: boolean;
}

/** The bits that are remembered of a topic: that the answer is known, and that it is yes. */
const bits = { write: { known: 1, yes: 2 }, read: { known: 4, yes: 8 } } as const;

export class Permissions {
  /** The rules in the order in which they are asked: the first that matches decides. */
  readonly #rules: readonly Rule[];
  readonly #known = new Map<string, number>();

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  mayPublish(topic: string): boolean {
    return this.#may(topic, "write");
  }

  mayReceive(topic: string): boolean {
    return this.#may(topic, "read");
  }

  /** True if there may be a topic that the filter matches and the client may read: each delivery is asked for again. */
  maySubscribe(levels: readonly string[]): boolean {
    for (const rule of this.#rules) {
      const isDenial = !rule.read && !rule.write;
      if (isDenial && covers(rule.levels, levels)) return false;
      if (rule.read && filtersOverlap(rule.levels, levels)) return true;
    }
    return false;
  }

  #may(topic: string, action: "read" | "write"): boolean {
    const { known, yes } = bits[action];
    const before = this.#known.get(topic) ?? 0;
    if ((before & known) !== 0) return (before & yes) !== 0;
    const may = this.#decide(topic, action);
    if (this.#known.size >= permissionsCachedMax) this.#known.clear();
    this.#known.set(topic, before | known | (may ? yes : 0));
    return may;
  }

  #decide(topic: string, action: "read" | "write"): boolean {
    const levels = topic.split("/");
    for (const rule of this.#rules) {
      if (!filterMatches(rule.levels, levels)) continue;
      if (!rule.read && !rule.write) return false;
      if (rule[action]) return true;
    }
    return false;
  }
}

/** True if whatever `narrow` matches `wide` matches too. */
export function covers(wide: readonly string[], narrow: readonly string[]): boolean {
  // [MQTT-4.7.2-1]
  if ((wide[0] === "#" || wide[0] === "+") && narrow[0]!.startsWith("$")) return false;
  for (let at = 0; at < wide.length; at++) {
    if (wide[at] === "#") return true;
    if (at >= narrow.length || narrow[at] === "#") return false;
    if (wide[at] !== "+" && wide[at] !== narrow[at]) return false;
  }
  return wide.length === narrow.length;
}
