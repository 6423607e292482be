/**
 * The clients whose wills are, or may be, in the store. A will that is to be removed is there until that is committed.
 * When the lease is over this broker can remove none, and others may be about to publish them: a client that comes back
 * here without a will would be declared dead.
 */

/** A client's latest will. */
interface StoredWill {
  /** True if the lease under which it was written, or found, is over, and the store was not looked through since. */
  isLeft: boolean;
}

/** Knows whose wills may be in the store: under this broker's name, or where it had found them. */
export class StoredWills {
  readonly #wills = new Map<string, StoredWill>();
  #areSomeLeft = false;

  /** Returns true if a client's will may be in the store. */
  has(clientId: string): boolean {
    return this.#wills.has(clientId);
  }

  /** Returns true if it was left there when the lease was over. */
  isLeft(clientId: string): boolean {
    return this.#wills.get(clientId)?.isLeft === true;
  }

  /** Notes a will that is on its way into the store. Returns a function that notes that it does not get there. */
  put(clientId: string): () => void {
    const before = this.#wills.get(clientId);
    const will: StoredWill = { isLeft: false };
    this.#wills.set(clientId, will);
    return () => {
      if (this.#wills.get(clientId) !== will) return;
      if (before === undefined) this.#wills.delete(clientId);
      else this.#wills.set(clientId, before);
    };
  }

  /** Returns a function that notes that the will which a client has now is gone from the store. */
  removal(clientId: string): () => void {
    const will = this.#wills.get(clientId);
    return () => {
      if (this.#wills.get(clientId) === will) this.#wills.delete(clientId);
    };
  }

  /**
   * Notes that the lease is over: all wills are left to whoever finds them. `orphans`: clients whose wills had been
   * found here, and belong to no connection.
   */
  leave(orphans: Iterable<string> = []): void {
    for (const clientId of orphans) if (!this.#wills.has(clientId)) this.#wills.set(clientId, { isLeft: true });
    for (const will of this.#wills.values()) will.isLeft = true;
    this.#areSomeLeft = this.#wills.size > 0;
  }

  /** Notes that the store has been looked through: wills that were left are known again, or are not there any more. */
  found(): void {
    if (!this.#areSomeLeft) return;
    this.#areSomeLeft = false;
    for (const [clientId, { isLeft }] of this.#wills) if (isLeft) this.#wills.delete(clientId);
  }
}
