/** The port of the mail to the bank, which pays for what is stored. */
import type { TopicPlace } from "../coordinator/weight.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { JournalOperation } from "./operations.ts";
import type { Terms } from "./records.ts";

/** Credits set aside for a publish until it is settled. */
export interface Payment {
  /** The client for whom it is, where clients are told apart. */
  readonly clientId?: string | undefined;
  /** A part of it pays for a copy; returns what it lacks. */
  take(credits: number): number;
  /** Frees what is left: nothing more will be stored for it. */
  close(): void;
}

/** The price of what is stored, in milli-credits, and the user whose it is; null: it is the broker's own. */
export interface Price {
  readonly credits: number;
  readonly payer: string | null;
  /** The client whose it is, if that is known. */
  readonly clientId?: string | undefined;
  /** The bytes of a message's payload; for anything else, or where they are not known, 0. */
  readonly payloadBytes?: number;
}

export interface Ledger {
  /** The name of this broker's branch. */
  readonly branch: string;
  /**
   * Price and end of a message where it is kept, without slips: settled once, the same whenever it is asked. `place`:
   * the levels of its topic, if they are known.
   */
  termsOf(publish: Publish, keeping: "mailbox" | "drop", place?: TopicPlace): Terms;
  /** The price of so many bytes in the store, in milli-credits. */
  priceOf(weight: number): number;
  /** Stands in every unit that stores a message: this broker's branch has not been closed. */
  guard(): JournalOperation;
  /** A message will be stored. Without payment it is counted all the same. */
  keep(path: string, price: Price, payment: Payment | undefined): void;
  /** A message that a branch has paid for is gone, or has not been stored after all. */
  freed(path: string, branch: string): void;
}
