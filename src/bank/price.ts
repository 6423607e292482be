/**
 * The price of what the store keeps, by its weight (`coordinator/weight.ts`): integer milli-credits. Of a stored
 * message its time is paid for, too; the price is settled once, and stored with it.
 */

import { messageWeightOf, placeOfTopic, placeWeightOf, slipWeightOf } from "../coordinator/weight.ts";

/** Milli-credits. A credit is a thousand of them. */
export const milli = 1000;
/** Milli-credits for each byte of weight: .04 credits. */
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

/** The price of a message of that weight, in bytes, that is kept for so long; in milli-credits. */
export function priceOf(weight: number, ttlMs: number, { ttlMinMs, ttlMaxMs }: Pricing): number {
  const part = ttlMaxMs === ttlMinMs ? 0 : (ttlMs - ttlMinMs) / (ttlMaxMs - ttlMinMs);
  return weightPriceOf(weight) + Math.round(timeCreditsMax * Math.min(1, Math.max(0, part)));
}

/** The price of what pays for its weight alone, in milli-credits. */
export function weightPriceOf(weight: number): number {
  return byteCredits * weight;
}

/** Bytes of what a broker announces: an epoch in digits. */
const markBytes = 32;

/**
 * The price of a znode that a broker announces, in milli-credits. It stands nowhere: who reads the znode works it out
 * from its path, so all that may work on one tree must come to the same.
 */
export function markPriceOf(path: string): number {
  return weightPriceOf(placeWeightOf(path) + markBytes);
}

/** Bytes of the store that so many milli-credits pay for. */
export function weightPaidBy(credits: number): number {
  return Math.floor(credits / byteCredits);
}

/** Characters of the client id, and of the broker's, that a quote reckons with. */
const quotedIdLength = 23;

/**
 * The price of one copy of a message of so many bytes (topic, properties and payload) for one session, with the slip in
 * its mailbox; in milli-credits. `topic`: without it, one of one level.
 */
export function quoteOf(bytes: number, { ttlMs, topic = "" }: Quoted, pricing: Pricing): number {
  const place = placeOfTopic(topic);
  const clientId = "x".repeat(quotedIdLength);
  const message = messageWeightOf(place, { bytes, texts: quotedIdLength });
  const slip = slipWeightOf(place, { clientId, subscriptionIds: 0, branchBytes: quotedIdLength });
  return priceOf(message + slip, ttlMs, pricing);
}

/** The prices of a message for one way of keeping it, in milli-credits, for times to live in seconds. */
export interface Quote {
  /** Where it is kept; undefined: wherever it is, since its publisher says for how long. */
  readonly keeping: Keeping | undefined;
  readonly ttlMin: number;
  readonly ttlMax: number;
  readonly least: number;
  readonly most: number;
}

/**
 * Quotes a message of so many bytes. Without an expiry of its publisher's (`ttl`, in seconds) it is kept for the
 * longest time for a session, and for a time that is drawn in a mail drop.
 */
export function quotesOf(
  bytes: number,
  { ttl, topic }: { readonly ttl?: number | undefined; readonly topic?: string | undefined },
  pricing: Pricing,
): readonly Quote[] {
  const of = (keeping: Keeping | undefined, ttlMin: number, ttlMax: number): Quote => {
    const price = (seconds: number): number => quoteOf(bytes, { ttlMs: seconds * 1000, topic }, pricing);
    return { keeping, ttlMin, ttlMax, least: price(ttlMin), most: price(ttlMax) };
  };
  if (ttl !== undefined) return [of(undefined, ttl, ttl)];
  const [min, max] = [pricing.ttlMinMs / 1000, pricing.ttlMaxMs / 1000];
  return [of("mailbox", max, max), of("drop", min, max)];
}

/** The message that a quote is asked for. */
export interface Quoted {
  readonly ttlMs: number;
  readonly topic?: string | undefined;
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
