/**
 * The session of a client, which outlives its connections, and with a store its process: nothing is said to the broker
 * before what it rests on is kept.
 */
import { ClientSession, type OnSettled } from "./client-session.ts";
import type { Keeper } from "./keeper.ts";
import type { Pending } from "./pending.ts";

export class OutboxSession extends ClientSession {
  readonly #onForgotten: () => void;
  readonly #keeper: Keeper | undefined;
  /** Cuts the connection: what was to be sent could not be kept. */
  readonly #cut: () => void;

  constructor(onSettled: OnSettled, { onForgotten, keeper, cut }: OutboxSessionContext) {
    super(onSettled, { givesUp: true });
    this.#onForgotten = onForgotten;
    this.#keeper = keeper;
    this.#cut = cut;
  }

  override released(packetId: number, next: () => void): void {
    const pending = this.outgoing.get(packetId) as Pending | undefined;
    if (this.#keeper === undefined || pending === undefined) return next();
    this.#keeper.keep({ kind: "released", key: pending.key }, next, this.#cut);
  }

  override received(packetId: number, next: () => void): void {
    if (this.#keeper === undefined) return next();
    this.#keeper.keep({ kind: "received", packetId }, next, this.#cut);
  }

  override forgotten(packetId: number, next: () => void): void {
    this.incoming.delete(packetId);
    if (this.#keeper === undefined) return next();
    this.#keeper.keep({ kind: "forgotten", packetId }, next, this.#cut);
  }

  override brokerForgot(): void {
    this.incoming.clear();
    this.#keeper?.later({ kind: "all forgotten" });
    this.#onForgotten();
  }
}

export interface OutboxSessionContext {
  readonly onForgotten: () => void;
  readonly keeper: Keeper | undefined;
  readonly cut: () => void;
}
