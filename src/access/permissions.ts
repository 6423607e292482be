/**
 * The topics that one client may publish on and read: rules, asked at publish, at subscribe and at each delivery. Those
 * that are not its own alone are shared with other clients, with what they remember.
 */
import { filterMatches, filtersOverlap } from "../mqtt/topic.ts";
import { isDenial, type Rule, type RuleList, Says } from "./rule-list.ts";

/** An answer with the rule that has decided; undefined: none concerns it, so it is denied. */
export interface Decision {
  readonly isAllowed: boolean;
  readonly rule: Rule | undefined;
}

export class Permissions {
  /** The rules in the order in which they are asked: the first that matches decides. */
  readonly #lists: readonly RuleList[];

  constructor(lists: readonly RuleList[]) {
    this.#lists = lists;
  }

  /** Returns the memory of what is remembered for this client, or its user, in bytes; see `RuleList.memoryBytes`. */
  memoryBytes(seen: Set<RuleList>): number {
    let bytes = 0;
    for (const list of this.#lists) bytes += list.memoryBytes(seen);
    return bytes;
  }

  mayPublish(topic: string): boolean {
    return this.#may(topic, Says.write);
  }

  mayReceive(topic: string): boolean {
    return this.#may(topic, Says.read);
  }

  /** True if there may be a topic that the filter matches and the client may read: each delivery is asked for again. */
  maySubscribe(levels: readonly string[]): boolean {
    return this.decideSubscribe(levels).isAllowed;
  }

  /** Says which rule lets the client read or write a topic, or does not: slower than to ask whether it may. */
  decide(topic: string, access: "read" | "write"): Decision {
    const levels = topic.split("/");
    return this.#first((rule) => (isDenial(rule) || rule[access]) && filterMatches(rule.levels, levels));
  }

  /** Says which rule lets the client subscribe to a filter, or does not. */
  decideSubscribe(levels: readonly string[]): Decision {
    return this.#first((rule) =>
      isDenial(rule) ? covers(rule.levels, levels) : rule.read && filtersOverlap(rule.levels, levels),
    );
  }

  #first(concerns: (rule: Rule) => boolean): Decision {
    for (const { rules } of this.#lists) {
      const rule = rules.find(concerns);
      if (rule !== undefined) return { isAllowed: !isDenial(rule), rule };
    }
    return { isAllowed: false, rule: undefined };
  }

  #may(topic: string, action: number): boolean {
    for (const list of this.#lists) {
      const said = list.of(topic);
      if (said === 0) continue;
      if ((said & action) !== 0) return true;
      if ((said & Says.denied) !== 0) return false;
    }
    return false;
  }
}

/** Returns the words for what has decided: the rule's file and line. `file`: the path of the access list. */
export function describeRule({ rule }: Decision, file: string): string {
  if (rule === undefined) return `no rule of ${file === "" ? "its login" : file} allows it`;
  if (rule.place === undefined) return `a right that it was given with its login: ${rule.levels.join("/")}`;
  return `${file} line ${rule.place.line}: ${rule.place.words}`;
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
