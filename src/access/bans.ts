/** Addresses from which too many logins have failed: they are refused for a while. The time is told. */

import { bansMax } from "../base/access-limits.ts";
import { canonicalAddress } from "../base/ip-address.ts";

export interface BanPolicy {
  /** Failures within `ms` that lead to a ban; 0: nobody is banned. */
  readonly failures: number;
  readonly ms: number;
}

interface Failures {
  count: number;
  /** When the first of them, or the ban, is forgotten. */
  until: number;
  isBanned: boolean;
}

export class Bans {
  readonly #policy: BanPolicy;
  readonly #failures = new Map<string, Failures>();
  /** Bans, ever. */
  total = 0;

  constructor(policy: BanPolicy) {
    this.#policy = policy;
  }

  /** True if that has led to a ban. */
  failed(address: string, now: number): boolean {
    if (this.#policy.failures === 0 || address === "") return false;
    const key = networkOf(address);
    const before = this.#current(key, now);
    if (before === undefined) this.#makeRoom(now);
    const failures = before ?? { count: 0, until: now + this.#policy.ms, isBanned: false };
    failures.count++;
    this.#failures.set(key, failures);
    if (failures.isBanned || failures.count < this.#policy.failures) return false;
    failures.isBanned = true;
    failures.until = now + this.#policy.ms;
    this.total++;
    return true;
  }

  succeeded(address: string): void {
    const key = networkOf(address);
    if (this.#failures.get(key)?.isBanned === false) this.#failures.delete(key);
  }

  isBanned(address: string, now: number): boolean {
    return this.#failures.size > 0 && this.#current(networkOf(address), now)?.isBanned === true;
  }

  lift(address: string): boolean {
    return this.#failures.delete(networkOf(address));
  }

  /** Lists the banned addresses, and for how many more milliseconds. */
  *list(now: number): Generator<{ readonly address: string; readonly ms: number }> {
    for (const [address, { isBanned, until }] of this.#failures)
      if (isBanned && until > now) yield { address, ms: until - now };
  }

  #current(key: string, now: number): Failures | undefined {
    const failures = this.#failures.get(key);
    if (failures === undefined || failures.until > now) return failures;
    this.#failures.delete(key);
    return undefined;
  }

  /** An attacker with many addresses must not fill the memory: the oldest are forgotten. */
  #makeRoom(now: number): void {
    if (this.#failures.size < bansMax) return;
    for (const [key, { until }] of this.#failures) if (until <= now) this.#failures.delete(key);
    for (const key of this.#failures.keys()) {
      if (this.#failures.size < bansMax) return;
      this.#failures.delete(key);
    }
  }
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
