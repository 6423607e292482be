/**
 * How long to wait before the next attempt: drawn between 0 and a bound that doubles, so that not all come at once
 * (full jitter).
 */
import type { Random } from "../base/random.ts";
import type { ReconnectOptions } from "./client-options.ts";

const minMsDefault = 250;
const maxMsDefault = 30_000;

export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: Random;
  #boundMs: number;

  constructor({ minMs = minMsDefault, maxMs = maxMsDefault }: ReconnectOptions, random: Random) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#random = random;
    this.#boundMs = minMs;
  }

  /** The next wait, in ms. */
  next(): number {
    const waitMs = Math.round(this.#random.next() * this.#boundMs);
    this.#boundMs = Math.min(this.#maxMs, Math.max(1, this.#boundMs * 2));
    return waitMs;
  }

  /** All is well again: the next wait is a short one. */
  reset(): void {
    this.#boundMs = this.#minMs;
  }
}
