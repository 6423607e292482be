/** The prices of what this broker stores: by its weight, and of messages by their time, too. */
import { drawTtl, isDrawn, type Keeping, type Pricing, priceOf, weightPriceOf } from "../../bank/price.ts";
import {
  type MessageSize,
  messageWeightOf,
  partsWeightOf,
  placeOfTopic,
  retainedWeightOf,
  slipWeightOf,
  type TopicPlace,
  textWeightOf,
} from "../../coordinator/weight.ts";
import { chargeTextsOf, piecesMax } from "../../mail/parts.ts";
import type { Terms } from "../../mail/records.ts";
import { type Publish, topicOf } from "../../mqtt/publish.ts";
import type { Runtime } from "./runtime.ts";

/** Settles prices, in milli-credits, and how long messages are kept for them. */
export class PriceList {
  readonly pricing: Pricing;
  readonly #runtime: Pick<Runtime, "coordinator" | "clock" | "random">;
  /** Bytes of the branch's name in records, at most. */
  readonly #branchBytes: number;
  /**
   * Price and end of each message, as they were first settled. Apart: those whose lifetime was drawn at random
   * ("drawn").
   */
  readonly #terms = { drawn: new WeakMap<Publish, Terms>(), longest: new WeakMap<Publish, Terms>() };

  constructor(runtime: Pick<Runtime, "coordinator" | "clock" | "random" | "options">) {
    const { options } = runtime;
    this.#runtime = runtime;
    this.#branchBytes = textWeightOf(options.id);
    this.pricing = {
      ttlMinMs: options.bankTtlMin * 1000,
      ttlMaxMs: options.bankTtlMax * 1000,
      ttl: options.bankTtl,
    };
  }

  /**
   * Returns price and end of a message that is stored in a mailbox or a mail drop, without slips. Both are settled when
   * first asked for. `place`: the levels of its topic, if they are known.
   */
  termsOf(publish: Publish, keeping: Keeping, place?: TopicPlace): Terms {
    const kept = publish.kept();
    const settled = isDrawn(this.pricing, keeping) ? this.#terms.drawn : this.#terms.longest;
    let terms = settled.get(kept);
    if (terms === undefined) {
      const { clock, random } = this.#runtime;
      const now = clock.wall();
      const ttl = kept.expiresAt === Infinity ? drawTtl(this.pricing, keeping, random.next()) : kept.expiresAt - now;
      const weight = messageWeightOf(place ?? placeOfTopic(topicOf(kept)), this.#sizeOf(kept));
      terms = { credits: priceOf(weight, ttl, this.pricing), keepUntil: Math.round(now + ttl) };
      settled.set(kept, terms);
    }
    return terms;
  }

  /** Returns the price of a copy of a message for one client, with the slip in its mailbox. */
  ofCopy(publish: Publish, clientId: string, subscriptionIds: readonly number[]): number {
    const place = placeOfTopic(topicOf(publish));
    const slip = this.slipWeightOf(place, clientId, subscriptionIds);
    return this.termsOf(publish, "mailbox", place).credits + weightPriceOf(slip);
  }

  /** Returns the weight of a slip for a message on a topic, in bytes. */
  slipWeightOf(place: TopicPlace, clientId: string, subscriptionIds: readonly number[]): number {
    const branchBytes = this.#branchBytes;
    return slipWeightOf(place, { clientId, subscriptionIds: subscriptionIds.length, branchBytes });
  }

  /** Returns the price of keeping a retained message. */
  ofRetained(publish: Publish): number {
    return weightPriceOf(retainedWeightOf(placeOfTopic(topicOf(publish)), this.#sizeOf(publish)));
  }

  /** Returns the price of so many bytes in the store. */
  ofWeight(weight: number): number {
    return weightPriceOf(weight);
  }

  #sizeOf(publish: Publish): MessageSize {
    const pieces = piecesMax(publish, this.#runtime.coordinator.submissionBytesMax);
    const parts = pieces === 0 ? 0 : partsWeightOf(pieces, chargeTextsOf(publish, this.#branchBytes));
    return { bytes: publish.size + parts, texts: this.#branchBytes + textWeightOf(publish.payer) };
  }
}
