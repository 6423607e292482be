/**
 * Strangers: znodes that no broker has written as they are. They are empty, another program's, or newer than what this
 * broker reads. Each is left alone, ignored, counted, and named in the log and on `/readyz`; the znodes beside it are
 * served.
 */
import type { Clock } from "../../base/clock.ts";
import { isBadFormat } from "../../base/errors.ts";
import { logTextMax, strangersLoggedMax, strangersLogMs, strangersMax, strangersShownMax } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";

/** The strangers that this broker has met in the tree. */
export class Strangers {
  readonly #runtime: { readonly clock: Clock; readonly log: Log };
  /** The reason why each is a stranger, by path; no more than `strangersMax`. */
  readonly #known = new Map<string, string>();
  /** Until then (ms, by the clock's `now`) no more than `strangersLoggedMax` are named in the log. */
  #logUntil = Number.NEGATIVE_INFINITY;
  #logged = 0;
  #unlogged = 0;
  /** How often a stranger was met, each as often as it was read. */
  found = 0;

  constructor(runtime: { readonly clock: Clock; readonly log: Log }) {
    this.#runtime = runtime;
  }

  /** The number of strangers known now; it stops at `strangersMax`. */
  get count(): number {
    return this.#known.size;
  }

  /** Names the first strangers and what is wrong with them, `strangersShownMax` at most. */
  get words(): string {
    const first = [...this.#known].slice(0, strangersShownMax);
    return first.map(([path, why]) => `${shown(path)} ${why}`).join("; ");
  }

  /** Counts a stranger and names it in the log. `why` is a predicate for its path, such as "is empty". */
  note(path: string, why: string): void {
    this.found++;
    if (this.#known.get(path) === why) return;
    if (this.#known.size < strangersMax || this.#known.has(path)) this.#known.set(path, why);
    this.#log(path, why);
  }

  #log(path: string, why: string): void {
    const now = this.#runtime.clock.now();
    if (now >= this.#logUntil) {
      this.#logUntil = now + strangersLogMs;
      this.#logged = 0;
    }
    if (++this.#logged > strangersLoggedMax) {
      this.#unlogged++;
      return;
    }
    const facts = { path: shown(path), why, unnamed: this.#unlogged };
    this.#runtime.log.warn(facts, "a znode is not ours, or newer than what this broker reads: it is left out");
    this.#unlogged = 0;
  }

  /** Forgets a stranger that is gone, or has been replaced by a znode of ours. */
  forget(path: string): void {
    this.#known.delete(path);
  }

  /**
   * Returns the decoded record of a znode; undefined, and noted, if it is a stranger's. Throws what `decode` throws for
   * any other reason: that is our own error.
   */
  read<Record>(path: string, decode: () => Record): Record | undefined {
    let record: Record;
    try {
      record = decode();
    } catch (error) {
      if (!isBadFormat(error)) throw error;
      this.note(path, error.message);
      return undefined;
    }
    if (this.#known.size > 0) this.forget(path);
    return record;
  }
}

/** Shortens a path for the log: a stranger's name may be of any length. */
function shown(path: string): string {
  return path.length <= logTextMax ? path : `${path.slice(0, logTextMax)}...`;
}
