/**
 * Bans: after failed logins, of addresses from which too many have failed and of users for whom too many have, from
 * wherever, for a while; and for good, by the operator's list. A login that succeeds makes nobody forget the failures
 * before. The time is told.
 */
import { bansMax, knownLoginsMax } from "../base/access-limits.ts";
import { canonicalAddress } from "../base/ip-address.ts";
import { BanList } from "./ban-list.ts";

export interface BanPolicy {
  /** Failures within `ms` that lead to a ban; 0: nobody is banned. */
  readonly failures: number;
  readonly ms: number;
}

/** One who tries to log in. */
export interface Contender {
  /** "": a Unix socket, which is never banned. */
  readonly address: string;
  /** The name that it gives, whether there is such a user or not; undefined: none. */
  readonly username: string | undefined;
}

/** The two that are counted, and banned, apart. */
export type BanKind = "address" | "user";

interface Failures {
  count: number;
  /** When the first of them, or the ban, is forgotten. */
  until: number;
  isBanned: boolean;
}

export class Bans {
  readonly #policy: BanPolicy;
  readonly #failures: Record<BanKind, Map<string, Failures>> = { address: new Map(), user: new Map() };
  /**
   * Users with the networks from which they have logged in: a stranger elsewhere cannot lock a user out there. The
   * oldest first.
   */
  readonly #known = new Set<string>();
  /** Bans after failed logins, ever. */
  total = 0;
  #lasting = new BanList("");

  constructor(policy: BanPolicy) {
    this.#policy = policy;
  }

  /** The list of those who are banned for good. */
  get lasting(): BanList {
    return this.#lasting;
  }

  /** Takes over a list of those who are banned for good. */
  useList(list: BanList): void {
    this.#lasting = list;
  }

  /** Counts a failed login. Returns what has been banned by it. */
  failed({ address, username }: Contender, now: number): BanKind[] {
    if (this.#policy.failures === 0) return [];
    const banned: BanKind[] = [];
    if (address !== "" && this.#count("address", networkOf(address), now)) banned.push("address");
    if (username !== undefined && this.#count("user", username, now)) banned.push("user");
    return banned;
  }

  /** Remembers from where a user logs in. */
  succeeded({ address, username }: Contender): void {
    if (this.#policy.failures === 0 || username === undefined) return;
    const key = knownKey(username, address);
    this.#known.delete(key);
    this.#known.add(key);
    if (this.#known.size > knownLoginsMax) for (const oldest of this.#known) return void this.#known.delete(oldest);
  }

  /** True if a login must be refused, whatever is shown: the address is banned, or the user is and it comes anew. */
  isBanned({ address, username }: Contender, now: number): boolean {
    if (this.isAddressBanned(address, now)) return true;
    if (this.#lasting.holds({ address, username, clientId: undefined })) return true;
    if (username === undefined || this.#current("user", username, now)?.isBanned !== true) return false;
    return !this.#known.has(knownKey(username, address));
  }

  isAddressBanned(address: string, now: number): boolean {
    if (this.#lasting.holds({ address, username: undefined, clientId: undefined })) return true;
    return this.#failures.address.size > 0 && this.#current("address", networkOf(address), now)?.isBanned === true;
  }

  /** Lifts a ban, and forgets the failures. Returns false if there was neither. */
  lift(kind: BanKind, name: string): boolean {
    return this.#failures[kind].delete(kind === "address" ? networkOf(name) : name);
  }

  /** Lists who is banned, and for how many more milliseconds. */
  *list(now: number): Generator<{ readonly kind: BanKind; readonly name: string; readonly ms: number }> {
    for (const kind of ["address", "user"] as const)
      for (const [name, { isBanned, until }] of this.#failures[kind])
        if (isBanned && until > now) yield { kind, name, ms: until - now };
  }

  /** True if this has led to a ban. */
  #count(kind: BanKind, key: string, now: number): boolean {
    const before = this.#current(kind, key, now);
    if (before === undefined) this.#makeRoom(kind, now);
    const failures = before ?? { count: 0, until: now + this.#policy.ms, isBanned: false };
    failures.count++;
    this.#failures[kind].set(key, failures);
    if (failures.isBanned || failures.count < this.#policy.failures) return false;
    failures.isBanned = true;
    failures.until = now + this.#policy.ms;
    this.total++;
    return true;
  }

  #current(kind: BanKind, key: string, now: number): Failures | undefined {
    const failures = this.#failures[kind].get(key);
    if (failures === undefined || failures.until > now) return failures;
    this.#failures[kind].delete(key);
    return undefined;
  }

  /** An attacker with many addresses, or names, must not fill the memory: the oldest are forgotten. */
  #makeRoom(kind: BanKind, now: number): void {
    const all = this.#failures[kind];
    if (all.size < bansMax) return;
    for (const [key, { until }] of all) if (until <= now) all.delete(key);
    for (const key of all.keys()) {
      if (all.size < bansMax) return;
      all.delete(key);
    }
  }
}

function knownKey(username: string, address: string): string {
  return `${networkOf(address)} ${username}`;
}

/** An IPv6 customer has a whole /64. */
export function networkOf(text: string): string {
  const address = canonicalAddress(text);
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const rest = tail === undefined || tail === "" ? [] : tail.split(":");
  while (groups.length + rest.length < 8) groups.push("0");
  return `${[...groups, ...rest]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
