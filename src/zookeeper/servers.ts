/** The servers of an ensemble, in a random order, and how long to wait before the next one is dialled. */

import type { Random } from "../base/random.ts";
import { keeperBackoffMaxMs, keeperBackoffMinMs } from "../base/store-limits.ts";
import type { Server } from "./connect-string.ts";

export class Servers {
  readonly #servers: readonly Server[];
  readonly #random: Random;
  #at = -1;
  /** Servers tried in vain since the last contact. */
  #failures = 0;

  constructor(servers: readonly Server[], random: Random) {
    const order = servers.map((server) => ({ server, key: random.next() }));
    this.#servers = order.sort((a, b) => a.key - b.key).map(({ server }) => server);
    this.#random = random;
  }

  get count(): number {
    return this.#servers.length;
  }

  /** The one that is talked to, or dialled. */
  get current(): Server | undefined {
    return this.#servers[this.#at];
  }

  next(): Server {
    this.#at = (this.#at + 1) % this.#servers.length;
    return this.#servers[this.#at]!;
  }

  /** The current one is fine: it is the next one, too. */
  stay(): void {
    this.#at--;
  }

  reached(): void {
    this.#failures = 0;
  }

  /**
   * Milliseconds until the next one is dialled: after a round of all longer and longer, and never all brokers at once.
   */
  failed(): number {
    this.#failures++;
    const rounds = Math.floor(this.#failures / this.#servers.length);
    if (rounds === 0) return 0;
    const longest = Math.min(keeperBackoffMaxMs, keeperBackoffMinMs * 2 ** Math.min(rounds, 10));
    return longest * (0.5 + 0.5 * this.#random.next());
  }
}
