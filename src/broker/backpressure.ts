/**
 * Connections that wait while the store is behind: whoever makes work for it goes on when it has caught up, so what waits for the
 * store is bounded.
 */
import type { Journal } from "../mail/journal.ts";
import { type Connection, Hold } from "./connection.ts";

export class Backpressure {
  readonly #journal: Journal;
  readonly #resume: (connection: Connection, reason: number) => void;
  /** How each goes on. */
  readonly #waiting = new Map<Connection, () => void>();

  constructor(journal: Journal, resume: (connection: Connection, reason: number) => void) {
    this.#journal = journal;
    this.#resume = resume;
    journal.onRelief = () => this.#relieved();
  }

  /** Has a connection that has made work for the store not be read while the store is behind. */
  hold(connection: Connection): void {
    if (!this.#journal.full) return;
    connection.hold(Hold.journal);
    this.#waiting.set(connection, () => this.#resume(connection, Hold.journal));
  }

  /** Calls back when the store is not behind: at once, mostly. */
  pass(connection: Connection, go: () => void): void {
    if (this.#journal.full) this.#waiting.set(connection, go);
    else go();
  }

  isWaiting(connection: Connection): boolean {
    return this.#waiting.has(connection);
  }

  /** A connection has ended. */
  forget(connection: Connection): void {
    this.#waiting.delete(connection);
  }

  /** They go on in the order in which they came, until there is too much again. */
  #relieved(): void {
    for (const [connection, go] of this.#waiting) {
      if (this.#journal.full) return;
      this.#waiting.delete(connection);
      go();
    }
  }
}
