/**
 * The Reason String that a publisher is sent when the bank cannot pay: how it is written, and how a client reads it.
 */

export interface Shortage {
  /** Credits that the message would have cost. */
  readonly price: number;
  /** Credits that were free. */
  readonly balance: number;
  /** Seconds after which credits may have come back. */
  readonly retryAfter: number;
}

export function describeShortage({ price, balance, retryAfter }: Shortage): string {
  return `the bank cannot pay: price ${price.toFixed(1)}, balance ${balance.toFixed(1)} credits; credits come back as messages are read or expire, try again in ${retryAfter} s`;
}

/** Undefined: the text is another one. */
export function readShortage(text: string): Shortage | undefined {
  const match = /price (-?[\d.]+), balance (-?[\d.]+) credits;.* try again in (\d+) s$/.exec(text);
  return match === null
    ? undefined
    : { price: Number(match[1]), balance: Number(match[2]), retryAfter: Number(match[3]) };
}
