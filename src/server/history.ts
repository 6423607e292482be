/**
 * The last hour of this broker, for whoever looks later: a few numbers each ten seconds. The counters are read then and
 * at no other time, so it costs nothing on the way of a packet.
 */
import type { SampleRow } from "../api/broker-rows.ts";
import { milli } from "../bank/price.ts";
import type { Sleeper } from "../base/alarm.ts";
import { historyMs, historyStepMs } from "../base/api-limits.ts";
import type { Clock } from "../base/clock.ts";
import { percentileOf, timeEnds } from "../base/histogram.ts";
import { Ring } from "../base/ring.ts";
import type { Metrics } from "../broker/core/metrics.ts";
import type { ClusterContext } from "../broker/peers/cluster-context.ts";

const samplesMax = historyMs / historyStepMs;

/** The counters as they were when a sample was taken. */
interface Counts {
  readonly at: number;
  readonly received: number;
  readonly sent: number;
  readonly dropped: number;
  readonly refused: number;
  readonly turnedAway: number;
  readonly settling: readonly number[];
}

/** Takes a sample whenever the time of day is a multiple of ten seconds, as all brokers do. */
export class History implements Sleeper {
  readonly #context: Pick<ClusterContext, "metrics" | "bankAccount">;
  readonly #clock: Clock;
  readonly #samples = new Ring<SampleRow>();
  #last: Counts;
  #nextAt: number;

  constructor(context: Pick<ClusterContext, "metrics" | "bankAccount">, clock: Clock) {
    this.#context = context;
    this.#clock = clock;
    this.#last = this.#count();
    this.#nextAt = this.#following();
  }

  /** Returns the samples after a point in time, in ms since 1970, the oldest first. */
  *after(at: number): Generator<SampleRow> {
    for (let index = 0; index < this.#samples.length; index++) {
      const sample = this.#samples.at(index)!;
      if (Date.parse(sample.at) > at) yield sample;
    }
  }

  nextDeadline(): number {
    return this.#nextAt;
  }

  tick(): void {
    if (this.#clock.now() < this.#nextAt) return;
    this.#nextAt = this.#following();
    const [before, now] = [this.#last, this.#count()];
    this.#last = now;
    this.#samples.push(this.#sample(before, now));
    if (this.#samples.length > samplesMax) this.#samples.shift();
  }

  #following(): number {
    return this.#clock.now() + historyStepMs - (this.#clock.wall() % historyStepMs);
  }

  #count(): Counts {
    const { metrics } = this.#context;
    return {
      at: this.#clock.now(),
      ...{ received: metrics.publishesReceived, sent: metrics.publishesSent, refused: metrics.refused },
      dropped: sum(Object.values(metrics.droppedBy)),
      turnedAway: sum(Object.values(metrics.turnedAway)),
      settling: ackTimes(metrics),
    };
  }

  #sample(before: Counts, now: Counts): SampleRow {
    const { metrics, bankAccount } = this.#context;
    const { account, capital, vault } = bankAccount;
    const seconds = Math.max(0.001, (now.at - before.at) / 1000);
    const rate = (of: "received" | "sent" | "dropped" | "refused" | "turnedAway"): number =>
      Math.round(((now[of] - before[of]) / seconds) * 10) / 10;
    const settled = now.settling.map((count, index) => count - before.settling[index]!);
    return {
      at: new Date(this.#clock.wall()).toISOString(),
      connections: metrics.connections,
      ...{ received: rate("received"), sent: rate("sent"), dropped: rate("dropped"), refused: rate("refused") },
      turned_away: rate("turnedAway"),
      settle_p50_ms: percentileOf(timeEnds, settled, 0.5),
      settle_p99_ms: percentileOf(timeEnds, settled, 0.99),
      ...{ bound: account.bound / milli, granted: account.grant / milli },
      ...{ vault: vault / milli, capital: capital / milli },
    };
  }
}

/** Returns how many acks took how long, whatever they waited for, by bucket. */
function ackTimes({ acking }: Metrics): number[] {
  const { live, through, stored } = acking;
  return live.counts.map((count, index) => count + through.counts[index]! + stored.counts[index]!);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
