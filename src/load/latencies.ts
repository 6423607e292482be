/**
 * How long things took: counts in buckets that grow with the value, so that a microsecond and a minute fit, each within
 * 3 %.
 */

/** Buckets for each doubling. */
const parts = 32;
/** Doublings from a microsecond: the last is over two minutes. */
const doublings = 28;

export class Latencies {
  readonly #counts = new Uint32Array(parts * doublings);
  count = 0;
  /** The longest latency, in ms. */
  max = 0;
  #sum = 0;

  /** Counts one latency, in ms; anything below a microsecond counts as one. */
  record(ms: number): void {
    const micros = Math.max(1, ms * 1000);
    const exponent = 31 - Math.clz32(micros);
    const bucket = exponent * parts + Math.floor((micros / 2 ** exponent - 1) * parts);
    this.#counts[Math.min(bucket, this.#counts.length - 1)]!++;
    this.count++;
    this.#sum += ms;
    if (ms > this.max) this.max = ms;
  }

  /** The value below which so many of a hundred lie, in ms; 0 if there is none. */
  percentile(percent: number): number {
    let left = Math.ceil((this.count * percent) / 100);
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count;
      if (count > 0 && left <= 0) return Math.min(this.max, upperEnd(bucket));
    }
    return 0;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.#sum / this.count;
  }

  /** How many lie between two values, in ms. */
  between(fromMs: number, toMs: number): number {
    let sum = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      const end = upperEnd(bucket);
      if (end > fromMs && end <= toMs) sum += count;
    }
    return sum;
  }

  add(other: LatenciesJson): void {
    for (const [bucket, count] of other.buckets) this.#counts[bucket]! += count;
    this.count += other.count;
    this.#sum += other.sum;
    this.max = Math.max(this.max, other.max);
  }

  toJSON(): LatenciesJson {
    const buckets = [...this.#counts.entries()].filter(([, count]) => count > 0);
    return { buckets, count: this.count, sum: this.#sum, max: this.max };
  }
}

/** Between processes. */
export interface LatenciesJson {
  readonly buckets: readonly (readonly [bucket: number, count: number])[];
  readonly count: number;
  readonly sum: number;
  readonly max: number;
}

/** The upper end of a bucket, in ms. */
function upperEnd(bucket: number): number {
  return (2 ** Math.floor(bucket / parts) * (1 + ((bucket % parts) + 1) / parts)) / 1000;
}
