/**
 * How long things take, or how many they are: counts in buckets, as Prometheus wants them. Counting costs next to
 * nothing.
 */

/** Upper ends of the buckets of times, in ms. */
export const timeEnds: readonly number[] = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
/** Ends of the buckets for turns of the event loop, in ms: most take less than one. */
export const turnEnds: readonly number[] = [0.1, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 50, 100, 250, 1000];
/** Ends of the buckets for numbers of receivers. */
export const fanoutEnds: readonly number[] = [0, 1, 2, 5, 10, 25, 50, 100, 1000, 10_000];

/**
 * Returns the value below which a part of what was counted lies, as if it lay evenly between the ends of its bucket;
 * the last end for what is larger; null: nothing was counted. `counts`: of each bucket alone.
 */
export function percentileOf(ends: readonly number[], counts: readonly number[], part: number): number | null {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  let left = all * part;
  for (const [at, end] of ends.entries()) {
    const count = counts[at]!;
    const begin = ends[at - 1] ?? 0;
    if (count > 0 && left <= count) return begin + (end - begin) * (left / count);
    left -= count;
  }
  return ends.at(-1)!;
}

export class Histogram {
  /** Upper ends of the buckets; what is larger is counted too. */
  readonly ends: readonly number[];
  /** Counts of each bucket alone, not of those below it. */
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(ends: readonly number[]) {
    this.ends = ends;
    this.counts = new Array(ends.length + 1).fill(0);
  }

  observe(value: number, times = 1): void {
    let at = 0;
    while (at < this.ends.length && value > this.ends[at]!) at++;
    this.counts[at]! += times;
    this.sum += times * value;
    this.count += times;
  }
}
