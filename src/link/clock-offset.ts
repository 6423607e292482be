/**
 * By how much the clock of the broker at the other end of a link is ahead of this one's, as pings tell: each says what
 * time it is there, and how long ago which ping of this broker's had come. So half of the time that both were under way
 * bounds the error, as in NTP.
 */
import { clockSampleMs } from "../base/api-limits.ts";

/** A difference of two clocks. */
export interface ClockDifference {
  /** By how many ms the other clock is ahead; negative: it is behind. */
  readonly aheadMs: number;
  /** The difference is right within so many ms. */
  readonly withinMs: number;
}

/** The bytes of what a ping tells: four numbers of 64 bits. Brokers before that send pings without a body. */
export const pingBodyBytes = 32;

/** The clocks' difference over one connection. */
export class ClockOffset {
  /** The last ping from the other side: when it left there by that one's `now`, and came here by this one's. */
  #theirs: { readonly leftAt: number; readonly cameAt: number } | undefined;
  #best: (ClockDifference & { readonly at: number }) | undefined;

  /** The difference; undefined: it has not been measured, or the other side does not tell its time. */
  get difference(): ClockDifference | undefined {
    return this.#best;
  }

  /** Writes the body of a ping that leaves now. `now` and `wall` are this machine's, as `Clock` has them. */
  write(to: DataView, { now, wall }: Moment): void {
    const { leftAt, cameAt } = this.#theirs ?? { leftAt: Number.NaN, cameAt: Number.NaN };
    to.setFloat64(0, wall);
    to.setFloat64(8, now);
    to.setFloat64(16, leftAt);
    to.setFloat64(24, now - cameAt);
  }

  /** Reads the body of a ping that has come now. What makes no sense is not looked at: no ping closes a link. */
  read(body: DataView, { now, wall }: Moment): void {
    if (body.byteLength < pingBodyBytes) return;
    const [theirWall, leftAt, ours, heldMs] = [0, 8, 16, 24].map((at) => body.getFloat64(at)) as Four;
    if (!Number.isFinite(theirWall) || !Number.isFinite(leftAt)) return;
    this.#theirs = { leftAt, cameAt: now };
    const underWayMs = now - ours - heldMs;
    if (!(heldMs >= 0 && underWayMs >= 0 && underWayMs <= now - ours)) return;
    this.#measured({ aheadMs: theirWall + underWayMs / 2 - wall, withinMs: underWayMs / 2 }, now);
  }

  /** A measurement that was quick counts for a while, unless a later one shows that a clock has been set. */
  #measured(measured: ClockDifference, now: number): void {
    const best = this.#best;
    const isBetter =
      best === undefined ||
      measured.withinMs <= best.withinMs ||
      now - best.at > clockSampleMs ||
      Math.abs(measured.aheadMs - best.aheadMs) > measured.withinMs + best.withinMs;
    if (isBetter) this.#best = { ...measured, at: now };
  }
}

/** A moment by this machine's clock. */
interface Moment {
  readonly now: number;
  readonly wall: number;
}

type Four = [number, number, number, number];
