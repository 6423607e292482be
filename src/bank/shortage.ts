/**
 * The Reason String that a publisher is sent when the bank cannot pay: how it is written, and how a client reads it.
 */
import type { ShareDenial } from "./shares.ts";

export interface Shortage {
  /** Credits that the message would have cost. */
  readonly price: number;
  /** Credits that were free. */
  readonly balance: number;
  /** Seconds after which credits may have come back. */
  readonly retryAfter: number;
}

/** The reason why a user may bind no more, though others may. */
export interface SpentShare {
  /** "": anonymous clients. */
  readonly user: string;
  /** The client that holds so much, where clients are told apart. */
  readonly clientId?: string | undefined;
  readonly why: ShareDenial;
  /** The part of the bank that one user may bind, in percent. */
  readonly percent: number;
  /** Credits that the user's things bind. */
  readonly held: number;
}

export function describeShortage(shortage: Shortage & { readonly share?: SpentShare }): string {
  const { price, balance, retryAfter, share } = shortage;
  const why = share === undefined ? "" : `${describeShare(share)}: `;
  return `the bank cannot pay: ${why}price ${price.toFixed(1)}, balance ${balance.toFixed(1)} credits; credits come back as messages are read or expire, try again in ${retryAfter} s`;
}

function describeShare({ user, clientId, why, percent, held }: SpentShare): string {
  if (clientId !== undefined)
    return `it is nearly empty, and client ${JSON.stringify(clientId)} holds more than is left (${held.toFixed(1)} credits)`;
  const who = user === "" ? "anonymous clients" : JSON.stringify(user);
  if (why !== "scarce") return `the share of ${who} is used up (${percent} % of it, ${held.toFixed(1)} credits held)`;
  return `it is nearly empty, and ${who} ${user === "" ? "hold" : "holds"} more than is left (${held.toFixed(1)} credits)`;
}

/** Undefined: the text is another one. */
export function readShortage(text: string): Shortage | undefined {
  const match = /.*price (-?[\d.]+), balance (-?[\d.]+) credits;.* try again in (\d+) s$/.exec(text);
  return match === null
    ? undefined
    : { price: Number(match[1]), balance: Number(match[2]), retryAfter: Number(match[3]) };
}
