/**
 * Connections that wait while the store is behind or away: whoever makes work for it goes on when it has caught up, so what waits
 * for the store is bounded. And a CONNECT whose client has gone to another broker meanwhile is never carried out.
 */
import type { Coordinator } from "../../coordinator/coordinator.ts";
import type { Journal } from "../../mail/journal.ts";
import { type Connection, PauseReason } from "./connection.ts";

export class StoreBackPressure {
  readonly #journal: Journal;
  readonly #coordinator: Pick<Coordinator, "state">;
  readonly #resume: (connection: Connection, reason: number) => void;
  /** How each goes on. */
  readonly #waiting = new Map<Connection, () => void>();

  constructor(
    store: { readonly journal: Journal; readonly coordinator: Pick<Coordinator, "state" | "onState"> },
    resume: (connection: Connection, reason: number) => void,
  ) {
    this.#journal = store.journal;
    this.#coordinator = store.coordinator;
    this.#resume = resume;
    store.coordinator.onState(() => this.relieved());
  }

  /** Has a connection that has made work for the store not be read while the store is behind. */
  hold(connection: Connection): void {
    if (!this.#journal.full) return;
    connection.hold(PauseReason.journal);
    this.#waiting.set(connection, () => this.#resume(connection, PauseReason.journal));
  }

  /** Calls back when the store is there and not behind: at once, mostly. */
  pass(connection: Connection, go: () => void): void {
    if (this.#mustWait) this.#waiting.set(connection, go);
    else go();
  }

  get #mustWait(): boolean {
    return this.#coordinator.state !== "CONNECTED" || this.#journal.full;
  }

  isWaiting(connection: Connection): boolean {
    return this.#waiting.has(connection);
  }

  /** A connection has ended. */
  forget(connection: Connection): void {
    this.#waiting.delete(connection);
  }

  /** Little waits for the store: connections go on in the order in which they came, until there is too much again. */
  relieved(): void {
    for (const [connection, go] of this.#waiting) {
      if (this.#mustWait) return;
      this.#waiting.delete(connection);
      go();
    }
  }
}
