/**
 * Happy eyeballs (RFC 8305): a host's addresses are dialled one after the other, the next one when the one before has
 * failed or has not answered for a while; the first that answers is taken. So an address that nothing comes back from
 * costs a quarter of a second, not the two minutes that the kernel gives it.
 */
import { happyEyeballsMs } from "../base/limits.ts";
import type { TransportEvents } from "./transport.ts";

/** The owner of a connection that has won; undefined: it came too late, and is closed. */
type Racer<Owner> = { readonly is: Owner } | undefined;

/** Dials one address. */
export type DialAddress<Owner> = (address: string, events: TransportEvents<Racer<Owner>>) => Promise<unknown>;

/** Returns addresses in the order in which they are tried: IPv6 and IPv4 in turn, beginning as the resolver does. */
export function inTurn(addresses: readonly string[]): string[] {
  const isFirstKind = (address: string): boolean => address.includes(":") === addresses[0]!.includes(":");
  const [one, other] = [addresses.filter(isFirstKind), addresses.filter((address) => !isFirstKind(address))];
  return one.flatMap((address, at) => [address, ...other.slice(at, at + 1)]).concat(other.slice(one.length));
}

/** Resolves with the owner of the first connection. Rejects with what the last of the addresses has come to. */
export function dialFirst<Owner>(
  addresses: readonly string[],
  events: TransportEvents<Owner>,
  dial: DialAddress<Owner>,
): Promise<Owner> {
  return new Promise((resolve, reject) => {
    let winner: Racer<Owner>;
    let next = 0;
    let failures = 0;
    let cancel = (): void => {};
    const raced: TransportEvents<Racer<Owner>> = {
      opened(transport) {
        if (winner !== undefined) {
          transport.abort();
          return undefined;
        }
        cancel();
        winner = { is: events.opened(transport) };
        resolve(winner.is);
        return winner;
      },
      received: (racer, bytes) => racer && events.received(racer.is, bytes),
      drained: (racer) => racer && events.drained(racer.is),
      closed: (racer, error) => racer && events.closed(racer.is, error),
    };
    const failed = (error: unknown): void => {
      failures++;
      if (failures === addresses.length) reject(error);
      else begin();
    };
    const begin = (): void => {
      cancel();
      const address = addresses[next++];
      if (address === undefined || winner !== undefined) return;
      const timer = setTimeout(begin, happyEyeballsMs);
      cancel = () => clearTimeout(timer);
      dial(address, raced).catch(failed);
    };
    begin();
  });
}
