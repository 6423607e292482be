/**
 * The access list, in the format of mosquitto's acl_file: `user NAME`, `topic [read|write|readwrite|deny] FILTER`,
 * `pattern … FILTER` with %u and %c. Rules before the first `user` are for clients without a user name; patterns are
 * for all.
 */

import { permissionsSharedMax } from "../base/access-limits.ts";
import { OperatingError } from "../base/errors.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { Permissions, type Rule } from "./permissions.ts";

/** Filters that a token or a hook grants; they count instead of the file. */
export interface Topics {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export interface Subject {
  readonly username: string | undefined;
  readonly clientId: string;
}

const accesses: Record<string, Pick<Rule, "read" | "write">> = {
  read: { read: true, write: false },
  write: { read: false, write: true },
  readwrite: { read: true, write: true },
  deny: { read: false, write: false },
};

export class Acl {
  /** Rules by user name; "", which cannot be a name, stands for clients without one. */
  readonly #users = new Map<string, Rule[]>();
  readonly #patterns: readonly Rule[];
  /** Permissions that all clients of a user share, unless a pattern looks at the client id. */
  readonly #shared = new Map<string | undefined, Permissions>();
  readonly #looksAtClient: boolean;

  /** Throws `OperatingError` that names the line. */
  constructor(text: string) {
    const patterns: Rule[] = [];
    let user = "";
    text.split("\n").forEach((line, index) => {
      const words = line.trim();
      if (words === "" || words.startsWith("#")) return;
      const wrong = (why: string): never => {
        throw new OperatingError("EFILE", `line ${index + 1}: ${why}`);
      };
      const [, keyword, rest = ""] = /^(\S+)\s*(.*)$/s.exec(words)!;
      if (keyword === "user") {
        if (rest === "") wrong("user without a name");
        user = rest;
      } else if (keyword === "topic" || keyword === "pattern") {
        const rule =
          readRule(rest) ?? wrong(`${JSON.stringify(rest)} is not [read|write|readwrite|deny] and a topic filter`);
        if (keyword === "pattern") patterns.push(rule);
        else this.#users.set(user, [...(this.#users.get(user) ?? []), rule]);
      } else {
        wrong(`${JSON.stringify(keyword)} is none of user, topic, pattern`);
      }
    });
    this.#patterns = patterns;
    this.#looksAtClient = patterns.some(({ levels }) => levels.some((level) => level.includes("%c")));
  }

  /** A user's own rules before the patterns, and among each the denials first, as mosquitto asks them. */
  permissionsOf(subject: Subject): Permissions {
    const before = this.#looksAtClient ? undefined : this.#shared.get(subject.username);
    if (before !== undefined) return before;
    const own = this.#users.get(subject.username ?? "") ?? [];
    const permissions = new Permissions([...deniesFirst(own), ...deniesFirst(fillIn(this.#patterns, subject))]);
    if (!this.#looksAtClient && this.#shared.size < permissionsSharedMax)
      this.#shared.set(subject.username, permissions);
    return permissions;
  }
}

export function permissionsFrom({ publish, subscribe }: Topics, subject: Subject): Permissions {
  const rules = [
    ...publish.map((text) => ruleOf(text, "write")),
    ...subscribe.map((text) => ruleOf(text, "read")),
  ].filter((rule) => rule !== undefined);
  return new Permissions(fillIn(rules, subject));
}

function readRule(text: string): Rule | undefined {
  const [, access, filter = ""] = /^(?:(read|write|readwrite|deny)\s+)?(.+)$/.exec(text) ?? [];
  return ruleOf(filter, access ?? "readwrite");
}

function ruleOf(text: string, access: string): Rule | undefined {
  const filter = parseFilter(text);
  return filter === undefined || filter.group !== undefined
    ? undefined
    : { levels: filter.levels, ...accesses[access]! };
}

function deniesFirst(rules: readonly Rule[]): Rule[] {
  const isDenial = ({ read, write }: Rule): boolean => !read && !write;
  return [...rules.filter(isDenial), ...rules.filter((rule) => !isDenial(rule))];
}

/**
 * Puts names into patterns. A name that would become a wildcard, several levels, or a topic of the broker's own ($SYS)
 * fits nowhere.
 */
function fillIn(patterns: readonly Rule[], { username, clientId }: Subject): Rule[] {
  const values = { u: username, c: clientId };
  return patterns.flatMap((pattern) => {
    let fits = true;
    const levels = pattern.levels.map((level) =>
      level.replace(/%([uc])/g, (_, which: "u" | "c") => {
        const value = values[which];
        if (value === undefined || value === "" || /^\$|[+#/]/.test(value)) fits = false;
        return value ?? "";
      }),
    );
    // What cannot be filled in grants nothing; a denial that cannot is kept for everything it might mean.
    if (fits) return [{ ...pattern, levels }];
    const isDenial = !pattern.read && !pattern.write;
    return isDenial ? [{ ...pattern, levels: pattern.levels.map((level) => (/%[uc]/.test(level) ? "+" : level)) }] : [];
  });
}
