/**
 * The access list, in the format of mosquitto's acl_file: `user NAME`, `topic [read|write|readwrite|deny] FILTER`,
 * `pattern … FILTER` with %u and %c. Rules before the first `user` are for clients without a user name; patterns are
 * for all.
 */

import {
  linesPerStepMax,
  permissionsSharedMax,
  sharedTopicsRememberedCharactersMax,
  sharedTopicsRememberedMax,
  topicsRememberedCharactersMax,
  topicsRememberedMax,
} from "../base/access-limits.ts";
import { OperatingError } from "../base/errors.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { Permissions } from "./permissions.ts";
import { isDenial, type MemoryLimit, type Rule, RuleList, type RulePlace } from "./rule-list.ts";

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

/** The memory of rules that are one client's, or one user's, and of those that all share. */
const ownMemory: MemoryLimit = {
  isShared: false,
  topicsMax: topicsRememberedMax,
  charactersMax: topicsRememberedCharactersMax,
};
const sharedMemory: MemoryLimit = {
  isShared: true,
  topicsMax: sharedTopicsRememberedMax,
  charactersMax: sharedTopicsRememberedCharactersMax,
};

export class Acl {
  /** Rules by user name; "", which cannot be a name, stands for clients without one. */
  readonly #users: ReadonlyMap<string, readonly Rule[]>;
  /** The users' own rules as they are asked, made when a user is first asked for. */
  readonly #own = new Map<string, RuleList>();
  /** Patterns in which names are filled in, and those in which there is nothing to fill in; denials apart. */
  readonly #open: Parted<readonly Rule[]>;
  readonly #closed: Parted<RuleList>;
  /** Permissions that all clients of a user share, unless a pattern looks at the client id. */
  readonly #shared = new Map<string | undefined, Permissions>();
  readonly #looksAtClient: boolean;

  private constructor(users: Map<string, Rule[]>, open: readonly Rule[], closed: readonly Rule[]) {
    this.#users = users;
    this.#open = partedOf(open);
    const { denials, grants } = partedOf(closed);
    this.#closed = { denials: new RuleList(denials, sharedMemory), grants: new RuleList(grants, sharedMemory) };
    this.#looksAtClient = open.some(({ levels }) => levels.some((level) => level.includes("%c")));
  }

  /** Reads an access list, some lines in each step. Throws `OperatingError` that names the line. */
  static *read(text: string): Generator<void, Acl, void> {
    const users = new Map<string, Rule[]>();
    const open: Rule[] = [];
    const closed: Rule[] = [];
    let user = "";
    let number = 0;
    for (const line of text.split("\n")) {
      if (++number % linesPerStepMax === 0) yield;
      const words = line.trim();
      if (words === "" || words.startsWith("#")) continue;
      const wrong = (why: string): never => {
        throw new OperatingError("EFILE", `line ${number}: ${why}`);
      };
      const [, keyword, rest = ""] = /^(\S+)\s*(.*)$/s.exec(words)!;
      if (keyword === "user") {
        if (rest === "") wrong("user without a name");
        user = rest;
      } else if (keyword === "topic" || keyword === "pattern") {
        const rule =
          readRule(rest, { line: number, words }) ??
          wrong(`${JSON.stringify(rest)} is not [read|write|readwrite|deny] and a topic filter`);
        if (keyword === "topic") ruleOfUser(users, user, rule);
        else if (rule.levels.some((level) => /%[uc]/.test(level))) open.push(rule);
        else closed.push(rule);
      } else {
        wrong(`${JSON.stringify(keyword)} is none of user, topic, pattern`);
      }
    }
    return new Acl(users, open, closed);
  }

  /** True if some pattern looks at the client id, so that not all clients of a user may do the same. */
  get looksAtClient(): boolean {
    return this.#looksAtClient;
  }

  /** A user's own rules before the patterns, and among each the denials first, as mosquitto asks them. */
  permissionsOf(subject: Subject): Permissions {
    const before = this.#looksAtClient ? undefined : this.#shared.get(subject.username);
    if (before !== undefined) return before;
    const { denials, grants } = this.#closed;
    const lists = [
      this.#ownOf(subject.username ?? ""),
      denials,
      new RuleList(fillIn(this.#open.denials, subject), ownMemory),
      grants,
      new RuleList(fillIn(this.#open.grants, subject), ownMemory),
    ];
    const permissions = new Permissions(lists.filter(({ rules }) => rules.length > 0));
    if (!this.#looksAtClient && this.#shared.size < permissionsSharedMax)
      this.#shared.set(subject.username, permissions);
    return permissions;
  }

  /**
   * Returns true if some client of a user may publish on a topic: of what was published earlier only the user is known,
   * not the client id. A rule with %c that denies counts for no client, as it leaves all others.
   */
  mayUserPublish(username: string | undefined, topic: string): boolean {
    const { denials, grants } = this.#closed;
    const some = this.#open.denials.filter(({ levels }) => !levels.some((level) => level.includes("%c")));
    const before = [
      this.#ownOf(username ?? ""),
      denials,
      new RuleList(fillIn(some, { username, clientId: "" }), ownMemory),
    ];
    return clientsIn(this.#open.grants, username, topic).some((clientId) => {
      const own = new RuleList(fillIn(this.#open.grants, { username, clientId }), ownMemory);
      return new Permissions([...before, grants, own]).mayPublish(topic);
    });
  }

  #ownOf(user: string): RuleList {
    const before = this.#own.get(user);
    if (before !== undefined) return before;
    const { denials, grants } = partedOf(this.#users.get(user) ?? []);
    const own = new RuleList([...denials, ...grants], ownMemory);
    // Only who has rules: others may call themselves by any name.
    if (own.rules.length > 0) this.#own.set(user, own);
    return own;
  }
}

/** Rules that deny apart from those that grant: they are asked before. */
interface Parted<Rules> {
  readonly denials: Rules;
  readonly grants: Rules;
}

function partedOf(rules: readonly Rule[]): Parted<Rule[]> {
  return { denials: rules.filter(isDenial), grants: rules.filter((rule) => !isDenial(rule)) };
}

function ruleOfUser(users: Map<string, Rule[]>, user: string, rule: Rule): void {
  const rules = users.get(user);
  if (rules === undefined) users.set(user, [rule]);
  else rules.push(rule);
}

export function permissionsFrom({ publish, subscribe }: Topics, subject: Subject): Permissions {
  const rules = [
    ...publish.map((text) => ruleOf(text, "write")),
    ...subscribe.map((text) => ruleOf(text, "read")),
  ].filter((rule) => rule !== undefined);
  return new Permissions([new RuleList(fillIn(rules, subject), ownMemory)]);
}

function readRule(text: string, place: RulePlace): Rule | undefined {
  const [, access, filter = ""] = /^(?:(read|write|readwrite|deny)\s+)?(.+)$/.exec(text) ?? [];
  const rule = ruleOf(filter, access ?? "readwrite");
  return rule && { ...rule, place };
}

function ruleOf(text: string, access: string): Rule | undefined {
  const filter = parseFilter(text);
  return filter === undefined || filter.group !== undefined
    ? undefined
    : { levels: filter.levels, ...accesses[access]! };
}

/** Returns the client ids for which a topic might fit patterns that look at them; "" stands for any other. */
function clientsIn(patterns: readonly Rule[], username: string | undefined, topic: string): string[] {
  const found = new Set([""]);
  const names = topic.split("/");
  for (const { levels } of patterns) {
    for (const [at, level] of levels.entries()) {
      if (!level.includes("%c")) continue;
      const literal = level.replaceAll("%u", username ?? "").replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
      const shape = new RegExp(`^${literal.replace("%c", "(.+)").replaceAll("%c", "\\1")}$`, "s");
      const [, clientId] = shape.exec(names[at] ?? "") ?? [];
      if (clientId !== undefined) found.add(clientId);
    }
  }
  return [...found];
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
    return isDenial(pattern)
      ? [{ ...pattern, levels: pattern.levels.map((level) => (/%[uc]/.test(level) ? "+" : level)) }]
      : [];
  });
}
