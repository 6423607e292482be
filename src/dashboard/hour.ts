/** The last hour of several brokers, as one. */
import type { SampleRow } from "../api/broker-rows.ts";

/** Samples of all brokers as one line: rates and credits are added up, of times the longest counts. */
export interface Hour {
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly samples: readonly SampleRow[];
}

/** How far apart samples are. */
export const stepSeconds = 10;

/** Puts the samples of several brokers together that were taken in the same ten seconds. */
export function merge(histories: readonly (readonly SampleRow[])[]): Hour {
  const steps = new Map<number, SampleRow>();
  for (const history of histories)
    for (const sample of history) {
      const step = Math.round(Date.parse(sample.at) / 1000 / stepSeconds) * stepSeconds;
      const there = steps.get(step);
      steps.set(step, there === undefined ? sample : both(there, sample));
    }
  const times = [...steps.keys()].sort((a, b) => a - b);
  return { times, samples: times.map((step) => steps.get(step)!) };
}

function both(a: SampleRow, b: SampleRow): SampleRow {
  const sum = (of: "connections" | "received" | "sent" | "dropped" | "refused" | "turned_away"): number =>
    a[of] + b[of];
  const longest = (of: "settle_p50_ms" | "settle_p99_ms"): number | null =>
    a[of] === null || b[of] === null ? (a[of] ?? b[of]) : Math.max(a[of], b[of]);
  return {
    at: a.at,
    ...{ connections: sum("connections"), received: sum("received"), sent: sum("sent") },
    ...{ dropped: sum("dropped"), refused: sum("refused"), turned_away: sum("turned_away") },
    ...{ settle_p50_ms: longest("settle_p50_ms"), settle_p99_ms: longest("settle_p99_ms") },
    ...{ bound: a.bound + b.bound, granted: a.granted + b.granted },
    // Each broker knows the whole bank's; the newest word is not known.
    ...{ vault: Math.min(a.vault, b.vault), capital: Math.max(a.capital, b.capital) },
  };
}
