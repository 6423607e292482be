/** Quotes for applications: how much it costs to have a message stored, and whether the bank can pay that now. */
import { isDrawn, milli, type Pricing, quoteOf } from "../bank/price.ts";
import { MqttError } from "./errors.ts";
import type { Messaging } from "./messaging.ts";
import { currentNames, type OnOldName } from "./old-names.ts";
import { State } from "./retained-state.ts";

export interface Quote {
  /** Credits that one stored copy costs: the least, and the most, since without an expiry the time to live is drawn. */
  readonly least: number;
  readonly most: number;
  /** Credits that this broker has free, and those in the vault, which it may ask for; a few seconds old. */
  readonly balance: number;
  readonly vault: number;
  /** All copies could be paid now, whatever is drawn. */
  readonly isAffordable: boolean;
}

export interface QuoteOptions {
  /** The topic that it will be published on, each of whose levels costs; without it, one of one level. */
  readonly topic?: string;
  /** Milliseconds, as it will be published with. */
  readonly expiryMs?: number;
  /** @deprecated Seconds: it is called `expiryMs`. */
  readonly expiry?: number;
  /** Subscribers that may be away, each of which costs a copy; 1 unless set. */
  readonly copies?: number;
  readonly signal?: AbortSignal;
}

/** Where a broker tells what it takes; below `$SYS/broker/bank/`. */
const topics = ["pricing", "free", "vault"] as const;

export class BankDesk {
  readonly #client: Messaging;
  readonly #onOldName: OnOldName;

  /** @internal */
  constructor(client: Messaging, onOldName: OnOldName) {
    this.#client = client;
    this.#onOldName = onOldName;
  }

  /**
   * `bytes`: of topic, properties and payload together. Rejects with `MqttError` if the broker has no bank, or does not
   * tell.
   */
  async quote(bytes: number, options: QuoteOptions = {}): Promise<Quote> {
    const { topic, expiryMs: ttlMs, copies = 1, signal } = currentNames(options, "message", this.#onOldName);
    const states = topics.map((name) => new State<string>(this.#client, `$SYS/broker/bank/${name}`, { qos: 0 }));
    try {
      const [text, free, inVault] = await Promise.all(states.map((state) => state.get(signal ? { signal } : {})));
      if (text === undefined) throw new MqttError("this broker does not tell what it takes for a stored message");
      const pricing = JSON.parse(text) as Pricing;
      const price = (ttlMs: number): number => (copies * quoteOf(bytes, { ttlMs, topic }, pricing)) / milli;
      // For sessions' mail: what only lies in a mail drop may cost less, never more.
      const least = price(ttlMs ?? (isDrawn(pricing, "mailbox") ? pricing.ttlMinMs : pricing.ttlMaxMs));
      const most = price(ttlMs ?? pricing.ttlMaxMs);
      const balance = Number(free ?? 0);
      const vault = Number(inVault ?? 0);
      return { least, most, balance, vault, isAffordable: most <= balance + vault };
    } finally {
      await Promise.all(states.map((state) => state.end()));
    }
  }
}
