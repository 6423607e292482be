/**
 * Events of clients, for whoever watches: they come, go, and are refused. As long as nobody does, nothing is made
 * of it.
 */
import type { RememberedRefusal } from "./recent-refusals.ts";

/** A client that has come or gone. */
export interface ClientEvent {
  readonly kind: "connected" | "disconnected";
  readonly clientId: string;
  readonly user: string;
  readonly remote: string;
  /** The reason why the connection has ended, in words; "": it has begun. */
  readonly reason: string;
}

export type LiveEvent = ClientEvent | { readonly kind: "refused"; readonly refusal: RememberedRefusal };

/** Tells those who watch. */
export class LiveEvents {
  readonly #watchers = new Set<(event: LiveEvent) => void>();

  /** How many watch. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** True if somebody watches. */
  get isWatched(): boolean {
    return this.#watchers.size > 0;
  }

  /** Has events told from now on; returns what ends that. */
  watch(told: (event: LiveEvent) => void): () => void {
    this.#watchers.add(told);
    return () => void this.#watchers.delete(told);
  }

  /** Tells an event. */
  tell(event: LiveEvent): void {
    for (const told of this.#watchers) told(event);
  }
}
