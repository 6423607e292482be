/**
 * Connections that wait while the store is behind or unreachable. Those that make work for the store go on when it has
 * caught up, so what waits for the store is bounded. A CONNECT whose client has gone to another broker meanwhile is
 * never carried out.
 */
import type { Coordinator } from "../../coordinator/coordinator.ts";
import type { Journal } from "../../mail/journal.ts";
import { type Connection, PauseReason } from "./connection.ts";

/** Holds connections back for the store, and lets them go on in the order in which they came. */
export class StoreBackPressure {
  readonly #journal: Journal;
  readonly #coordinator: Pick<Coordinator, "state">;
  readonly #resume: (connection: Connection, reason: number) => void;
  /** The call that lets each waiting connection go on. */
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

  /** Stops reading a connection that has made work for the store, while the store is behind. */
  hold(connection: Connection): void {
    if (!this.#journal.full) return;
    connection.hold(PauseReason.journal);
    this.#waiting.set(connection, () => this.#resume(connection, PauseReason.journal));
  }

  /** Calls `go` when the store is reachable and not behind: mostly at once. */
  pass(connection: Connection, go: () => void): void {
    if (this.#mustWait) this.#waiting.set(connection, go);
    else go();
  }

  get #mustWait(): boolean {
    return this.#coordinator.state !== "CONNECTED" || this.#journal.full;
  }

  /** Returns true if the connection waits for the store. */
  isWaiting(connection: Connection): boolean {
    return this.#waiting.has(connection);
  }

  /** Forgets a connection that has ended. */
  forget(connection: Connection): void {
    this.#waiting.delete(connection);
  }

  /** Lets waiting connections go on, in the order in which they came, until too much waits for the store again. */
  relieved(): void {
    for (const [connection, go] of this.#waiting) {
      if (this.#mustWait) return;
      this.#waiting.delete(connection);
      go();
    }
  }
}
