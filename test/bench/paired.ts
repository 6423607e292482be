/** Compares two programs by pairs of measurements, in spite of the noise that both of a pair have met. */

export interface Comparison {
  /** After : before, the geometric mean of all pairs. */
  readonly ratio: number;
  /** The bounds between which the true ratio lies, with 95 % confidence. */
  readonly low: number;
  readonly high: number;
}

/** Student's t for 95 %, both sides, by degrees of freedom from 1; from 30 on it is near the last. */
const student = [
  ...[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131],
  ...[2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042],
];

/** Compares at least two pairs of positive figures, [before, after]. */
export function compare(pairs: readonly (readonly [before: number, after: number])[]): Comparison {
  const logs = pairs.map(([before, after]) => Math.log(after / before));
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1);
  const t = student[Math.min(logs.length - 1, student.length) - 1]!;
  const reach = t * Math.sqrt(variance / logs.length);
  return { ratio: Math.exp(mean), low: Math.exp(mean - reach), high: Math.exp(mean + reach) };
}
