/**
 * The Reason String that a publisher is sent when the bank cannot pay: how it is written, and how a client reads it.
 */
import type { ShareDenial } from "./shares.ts";

export interface Shortage {
  /** Credits that the message would have cost. */
  readonly price: number;
  /** Credits that were free. */
  readonly balance: number;
  /** Seconds after which credits may have come back; undefined: no time is enough for this price. */
  readonly retryAfter: number | undefined;
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

export interface DescribedShortage extends Shortage {
  readonly retryAfter: number;
  /** Credits that the user may ever bind. */
  readonly most: number;
  readonly share?: SpentShare | undefined;
}

export function describeShortage({ price, balance, retryAfter, most, share }: DescribedShortage): string {
  const sums = `price ${price.toFixed(1)}, balance ${balance.toFixed(1)} credits;`;
  if (price > most) {
    const all = share === undefined || share.percent === 100 ? "all that it has" : `the whole share of ${whose(share)}`;
    return `the bank cannot pay: ${all} is ${most.toFixed(1)} credits: ${sums} ${hopeless}`;
  }
  const why = share === undefined ? "" : `${describeShare(share)}: `;
  return `the bank cannot pay: ${why}${sums} credits come back as messages are read or expire, try again in ${retryAfter} s`;
}

const hopeless = "to try again does not help: send less, or let it expire sooner";

function whose({ user }: SpentShare): string {
  return user === "" ? "anonymous clients" : JSON.stringify(user);
}

function describeShare(share: SpentShare): string {
  const { user, clientId, why, percent, held } = share;
  if (clientId !== undefined)
    return `it is nearly empty, and client ${JSON.stringify(clientId)} holds more than is left (${held.toFixed(1)} credits)`;
  const who = whose(share);
  if (why !== "scarce") return `the share of ${who} is used up (${percent} % of it, ${held.toFixed(1)} credits held)`;
  return `it is nearly empty, and ${who} ${user === "" ? "hold" : "holds"} more than is left (${held.toFixed(1)} credits)`;
}

const shortageText = new RegExp(
  `.*price (-?[\\d.]+), balance (-?[\\d.]+) credits;(?:.* try again in (\\d+) s| ${hopeless})$`,
);

/** Undefined: the text is another one. */
export function readShortage(text: string): Shortage | undefined {
  const match = shortageText.exec(text);
  if (match === null) return undefined;
  const [, price, balance, retryAfter] = match;
  return {
    price: Number(price),
    balance: Number(balance),
    retryAfter: retryAfter === undefined ? undefined : Number(retryAfter),
  };
}
