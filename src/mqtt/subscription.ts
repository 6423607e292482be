/** A subscription: one topic filter, and what the client asked for with it. */
import type { QoS } from "./constants.ts";
import type { Filter } from "./topic.ts";

export interface Subscription {
  readonly filter: Filter;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0: send retained messages, 1: only if the subscription is new, 2: never. */
  readonly retainHandling: 0 | 1 | 2;
  /** Subscription identifier; 0: none. */
  readonly id: number;
  /** The branch of the bank that pays for keeping it, its price in milli-credits, and for whom; undefined: nobody. */
  readonly paid?: { readonly branch: string; readonly credits: number; readonly payer?: string } | undefined;
}
