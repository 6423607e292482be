/**
 * Slips are numbered by the store, which counts in 32 bits for each mailbox: 25 days, at a thousand messages a second.
 * So a mailbox that has counted far is made anew when it is empty, and its slips are numbered from 0 again; nothing is
 * there then that they could be out of order with. One that does not become empty in all that time counts as full at
 * last.
 */

import { slipNumberMax, slipNumberOldMin } from "../base/limits.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { isSlipName, mailPath } from "../coordinator/paths.ts";
import { childrenOf } from "../coordinator/read-results.ts";

export class MailboxNumbers {
  readonly #coordinator: Pick<Coordinator, "read" | "write">;
  /** The last number that is known, of mailboxes that have counted far, by client ids. */
  readonly #high = new Map<string, number>();
  /** Mailboxes that may be about to be made anew, or are looked at. */
  readonly #trying = new Set<string>();

  constructor(coordinator: Pick<Coordinator, "read" | "write">) {
    this.#coordinator = coordinator;
  }

  /** A slip of that name stands in a mailbox. */
  seen(clientId: string, name: string): void {
    const number = Number(name);
    if (number >= slipNumberOldMin) this.#high.set(clientId, Math.max(number, this.#high.get(clientId) ?? 0));
  }

  /** True if a mailbox can take hardly any more slips before it has been empty. */
  isSpent(clientId: string): boolean {
    return this.#high.size > 0 && (this.#high.get(clientId) ?? 0) >= slipNumberMax;
  }

  /** The session of a mailbox has ended: the next one numbers its slips anew. */
  forget(clientId: string): void {
    this.#high.delete(clientId);
  }

  /** A slip has gone: if it was the last one the mailbox goes with it, and the next slip makes another. */
  left(clientId: string): void {
    if (!this.#high.has(clientId) || this.#trying.has(clientId)) return;
    this.#trying.add(clientId);
    this.#coordinator.write([{ kind: "delete", path: mailPath(clientId), version: -1 }], (error) => {
      this.#trying.delete(clientId);
      // NotEmpty: the next time.
      if (error === undefined || error.code === "NoNode") this.#high.delete(clientId);
    });
  }

  /**
   * Looks whether a mailbox that was spent has been made anew: by the broker that serves its session, which does not
   * tell.
   */
  look(clientId: string): void {
    if (this.#trying.has(clientId)) return;
    this.#trying.add(clientId);
    this.#coordinator.read([{ kind: "children", path: mailPath(clientId) }], (error, [result]) => {
      this.#trying.delete(clientId);
      if (error !== undefined) return;
      const names = childrenOf(result).filter(isSlipName);
      if (names.every((name) => Number(name) < slipNumberOldMin)) this.#high.delete(clientId);
    });
  }
}
