/** Brokers that the DNS names for a domain: SRV records (RFC 2782), as mosquitto's clients have them with -S. */
import { Resolver } from "node:dns/promises";
import { OperatingError } from "../../src/base/errors.ts";
import { type Random, systemRandom } from "../../src/base/random.ts";
import type { Place } from "../../src/client/dial.ts";

export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

const triesMax = 2;
const patienceMs = 5000;

/**
 * Looks up the brokers of the domains that stand in place of hosts. `dns`: the server that is asked, host:port. Rejects
 * with `OperatingError` (ECONNECT).
 */
export async function placesBySrv(
  domains: readonly Place[],
  { isTls, dns }: { readonly isTls: boolean; readonly dns: string | undefined },
): Promise<Place[]> {
  const resolver = new Resolver({ timeout: patienceMs, tries: triesMax });
  if (dns !== undefined) resolver.setServers([dns]);
  const found: Place[] = [];
  for (const place of domains) {
    const name = `_${isTls ? "secure-mqtt" : "mqtt"}._tcp.${place.host}`;
    let records: readonly SrvRecord[];
    try {
      records = await resolver.resolveSrv(name);
    } catch (error) {
      throw new OperatingError("ECONNECT", `the DNS names no broker by ${name} (SRV): ${wordsOf(error)}`);
    }
    // A record of "." says that there is none.
    const there = inOrder(records, systemRandom).filter((record) => record.name !== "" && record.name !== ".");
    if (there.length === 0) throw new OperatingError("ECONNECT", `there is no broker by ${name} (SRV), says the DNS`);
    found.push(...there.map((record) => ({ ...place, host: record.name, port: record.port })));
  }
  return found;
}

/** Sorts by priority; those of one priority by chance, those of more weight more often first (RFC 2782). */
export function inOrder(records: readonly SrvRecord[], random: Random): SrvRecord[] {
  const left = [...records].sort((a, b) => a.priority - b.priority || a.weight - b.weight);
  const sorted: SrvRecord[] = [];
  while (left.length > 0) {
    const group = left.filter(({ priority }) => priority === left[0]!.priority);
    const sum = group.reduce((all, { weight }) => all + weight, 0);
    let drawn = Math.floor(random.next() * (sum + 1));
    const next = group.find(({ weight }) => {
      drawn -= weight;
      return drawn <= 0;
    })!;
    sorted.push(next);
    left.splice(left.indexOf(next), 1);
  }
  return sorted;
}

function wordsOf(error: unknown): string {
  const { code = "" } = error as { code?: string };
  const words: Record<string, string> = {
    ENOTFOUND: "there is no such name; name the broker itself with -h, without -S",
    DNS_ENOTFOUND: "there is no such name; name the broker itself with -h, without -S",
    ENODATA: "there is no such record; name the broker itself with -h, without -S",
    DNS_ENODATA: "there is no such record; name the broker itself with -h, without -S",
  };
  return words[code] ?? `it does not answer (${code || String(error)})`;
}
