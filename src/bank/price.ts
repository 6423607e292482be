/** The price of keeping a message: integer milli-credits, drawn once and stored with it. */

/** Milli-credits. A credit is a thousand of them. */
export const milli = 1000;
/** Milli-credits for each byte: .04 credits. */
const byteCredits = 40;
/** Milli-credits for the longest time to live: a random time to live makes it random(0, 100) credits. */
const timeCreditsMax = 100_000;

export interface Pricing {
  /** The shortest time to live that is drawn, and the one that costs nothing, in ms. */
  readonly ttlMinMs: number;
  /** The longest one that is drawn, and the one from which on time costs no more, in ms. */
  readonly ttlMaxMs: number;
  readonly ttl: TtlPolicy;
}

/**
 * The messages whose time to live is drawn where the publisher gave none. drops: mail drops' only. random: all. max:
 * none.
 */
export type TtlPolicy = "drops" | "random" | "max";

/** Where a message is kept. mailbox: it is owed to a session. drop: it lies in a mail drop, for whoever comes. */
export type Keeping = "mailbox" | "drop";

/**
 * The price of a message of so many bytes (topic, properties and payload) that is kept for so long, in milli-credits.
 */
export function priceOf(bytes: number, ttlMs: number, { ttlMinMs, ttlMaxMs }: Pricing): number {
  const part = ttlMaxMs === ttlMinMs ? 0 : (ttlMs - ttlMinMs) / (ttlMaxMs - ttlMinMs);
  return byteCredits * bytes + Math.round(timeCreditsMax * Math.min(1, Math.max(0, part)));
}

/** A retained message pays for its bytes while it stays. */
export function retainedPriceOf(bytes: number): number {
  return byteCredits * bytes;
}

/**
 * True if chance decides how long a message is kept whose publisher does not say; false: it is kept for the longest
 * time.
 */
export function isDrawn({ ttl }: Pick<Pricing, "ttl">, keeping: Keeping): boolean {
  return ttl === "random" || (ttl === "drops" && keeping === "drop");
}

/** A time to live for a message whose publisher gave none, in ms. `chance`: 0…1. */
export function drawTtl(pricing: Pricing, keeping: Keeping, chance: number): number {
  const { ttlMinMs, ttlMaxMs } = pricing;
  return isDrawn(pricing, keeping) ? Math.round(ttlMinMs + chance * (ttlMaxMs - ttlMinMs)) : ttlMaxMs;
}
