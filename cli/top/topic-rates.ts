/** The topics on which most is published, counted as it comes. */

/** Topics that are counted apart, at most; what comes on others is counted together. */
const topicsMax = 50_000;

export interface TopicRate {
  readonly topic: string;
  readonly messages: number;
  readonly bytes: number;
}

interface Sum {
  messages: number;
  bytes: number;
}

export class TopicRates {
  #sums = new Map<string, Sum>();
  #since: number;

  constructor(now: number) {
    this.#since = now;
  }

  add(topic: string, bytes: number): void {
    const name = this.#sums.has(topic) || this.#sums.size < topicsMax ? topic : "(others)";
    const sum = this.#sums.get(name);
    if (sum === undefined) this.#sums.set(name, { messages: 1, bytes });
    else {
      sum.messages++;
      sum.bytes += bytes;
    }
  }

  /** Returns the busiest, by what came a second, and all together; begins to count anew. */
  take(
    now: number,
    count: number,
  ): { readonly busiest: readonly TopicRate[]; readonly all: TopicRate; topics: number } {
    const seconds = Math.max(0.001, (now - this.#since) / 1000);
    const rateOf = (topic: string, { messages, bytes }: Sum): TopicRate => ({
      topic,
      messages: messages / seconds,
      bytes: bytes / seconds,
    });
    const all = { messages: 0, bytes: 0 };
    for (const { messages, bytes } of this.#sums.values()) {
      all.messages += messages;
      all.bytes += bytes;
    }
    const sorted = [...this.#sums].sort(([a, one], [b, other]) => other.messages - one.messages || (a < b ? -1 : 1));
    const taken = {
      busiest: sorted.slice(0, count).map(([topic, sum]) => rateOf(topic, sum)),
      all: rateOf("(all)", all),
      topics: this.#sums.size,
    };
    this.#sums = new Map();
    this.#since = now;
    return taken;
  }
}
