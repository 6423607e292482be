/** Dials a host on Bun at all of its addresses, by happy eyeballs; one that is an address already as it is. */
import { lookup } from "node:dns/promises";
import { messageOf, OperatingError } from "../base/errors.ts";
import { isIPv4, isIPv6 } from "../base/ip-address.ts";
import { dialFirst, inTurn } from "./happy-eyeballs.ts";
import { type DialOptions, dialTcp } from "./tcp.ts";
import type { TransportEvents } from "./transport.ts";

export interface DialHostOptions extends DialOptions {
  /** Looks up a host's addresses; the system's resolver unless set. */
  readonly addressesOf?: (host: string, family: number) => Promise<readonly string[]>;
}

/** Rejects with `OperatingError` (ECONNECT), which names the host, whichever of its addresses was the last. */
export async function dialHost<Owner>(
  host: string,
  port: number,
  events: TransportEvents<Owner>,
  { addressesOf = resolved, ...options }: DialHostOptions = {},
): Promise<Owner> {
  const { tls, proxy, localAddress = "" } = options;
  // A proxy looks up the name itself: it may be one that only it knows.
  if (proxy !== undefined || familyOf(host) !== 0) return dialTcp(host, port, events, options);
  // One that cannot be resolved is told as it is dialled.
  const addresses = await addressesOf(host, familyOf(localAddress)).catch(() => []);
  if (addresses.length < 2) return dialTcp(host, port, events, options);
  const all = { ...options, ...(tls === undefined ? {} : { tls: { serverName: host, ...tls } }) };
  return dialFirst(inTurn(addresses), events, (address, raced) =>
    dialTcp(address, port, raced, all).catch((error) => {
      const said = messageOf(error).replace(`cannot connect to ${address}:`, `cannot connect to ${host}:`);
      throw new OperatingError("ECONNECT", said);
    }),
  );
}

/** The family of an address: 4 or 6; 0: it is none. */
function familyOf(address: string): 0 | 4 | 6 {
  if (isIPv4(address)) return 4;
  return isIPv6(address) ? 6 : 0;
}

/** The addresses of a host; `family`: 4 or 6, 0 for both. Rejects with the resolver's error. */
async function resolved(host: string, family: number): Promise<string[]> {
  return (await lookup(host, { all: true, family })).map(({ address }) => address);
}
