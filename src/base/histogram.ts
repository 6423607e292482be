/** How long things take: counts in buckets, as Prometheus wants them. Counting must cost next to nothing. */

/** Upper ends of the buckets, in ms; what is longer is counted too. */
export const bucketEndsMs = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000] as const;

export class Histogram {
  /** Of each bucket alone, not of those below it. */
  readonly counts: number[] = new Array(bucketEndsMs.length + 1).fill(0);
  sumMs = 0;
  count = 0;

  observe(ms: number): void {
    let at = 0;
    while (at < bucketEndsMs.length && ms > bucketEndsMs[at]!) at++;
    this.counts[at]!++;
    this.sumMs += ms;
    this.count++;
  }
}
