/**
 * Znodes that nobody of ours has written as they are: empty, of another program, or newer than what this one reads. Each is left
 * alone and left out, counted, and named in the log and on `/readyz`; what they stand beside goes on.
 */
import { isBadFormat } from "../../base/errors.ts";
import { logTextMax, strangersLoggedMax, strangersLogMs, strangersMax, strangersShownMax } from "../../base/limits.ts";
import type { Runtime } from "./runtime.ts";

export class Strangers {
  readonly #runtime: Pick<Runtime, "clock" | "log">;
  /** What is wrong with each, by its path; no more than `strangersMax`. */
  readonly #known = new Map<string, string>();
  /** Until then no more than `strangersLoggedMax` are named in the log. */
  #logUntil = Number.NEGATIVE_INFINITY;
  #logged = 0;
  #unlogged = 0;
  /** All that were found, each as often as it was. */
  found = 0;

  constructor(runtime: Pick<Runtime, "clock" | "log">) {
    this.#runtime = runtime;
  }

  /** How many are known now; beyond `strangersMax` they are not told apart. */
  get count(): number {
    return this.#known.size;
  }

  /** The first of them in words, `strangersShownMax` at most. */
  get words(): string {
    const first = [...this.#known].slice(0, strangersShownMax);
    return first.map(([path, why]) => `${shown(path)} ${why}`).join("; ");
  }

  /** `why` completes "it ...". */
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

  /** It is gone, or one of ours stands there. */
  forget(path: string): void {
    this.#known.delete(path);
  }

  /** What a record says; undefined if it is a stranger's. Whatever else `decode` throws is our own error. */
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

/** Whoever has made a name may have put anything into it. */
function shown(path: string): string {
  return path.length <= logTextMax ? path : `${path.slice(0, logTextMax)}...`;
}
