/**
 * The clock by which what lies in the store begins and ends. Brokers of a cluster must agree on it, or one whose clock
 * is ahead would end what others have promised; so where the store has a clock of its own, all go by that one.
 */
import type { Clock } from "../base/clock.ts";
import { clockReportMs, clockToleranceMs } from "../base/limits.ts";
import type { Coordinator, StoreTime } from "./coordinator.ts";

export interface StoreClockParts {
  /** This machine's own clock. */
  readonly clock: Clock;
  readonly coordinator: Pick<Coordinator, "storeTime">;
  /**
   * Told now and then, while it is so, by how many ms this machine's wall clock is ahead of the store's; negative:
   * behind.
   */
  readonly onApart: (aheadMs: number) => void;
}

/**
 * Tells this machine's time of day as long as it is about the store's, else the nearest that is.
 *
 * Invariant: what it tells is never further from the store's time than `clockToleranceMs` and the time that a commit
 * takes.
 */
export class StoreClock implements Clock {
  readonly #parts: StoreClockParts;
  #reportAt = -Infinity;

  constructor(parts: StoreClockParts) {
    this.#parts = parts;
  }

  now(): number {
    return this.#parts.clock.now();
  }

  wall(): number {
    const { clock, coordinator } = this.#parts;
    const own = clock.wall();
    const { storeTime } = coordinator;
    if (storeTime === undefined) return own;
    const now = clock.now();
    const nearest = nearestTo(own, storeTime, now);
    if (nearest !== own && now >= this.#reportAt) {
      this.#reportAt = now + clockReportMs;
      this.#parts.onApart(Math.round(own - nearest));
    }
    return nearest;
  }
}

/**
 * Returns by how many ms a machine's clock is ahead of the store's, and within how many that is right; undefined: the
 * store has not told its time.
 */
export function aheadOfStore(
  clock: Clock,
  storeTime: StoreTime | undefined,
): { readonly aheadMs: number; readonly withinMs: number } | undefined {
  if (storeTime === undefined) return undefined;
  const { wall, from, to } = storeTime;
  return { aheadMs: clock.wall() - wall - (clock.now() - (from + to) / 2), withinMs: (to - from) / 2 };
}

/**
 * The store said its time at some moment from `from` to `to`; what it may be now, with some tolerance, bounds what we
 * say.
 */
function nearestTo(own: number, { wall, from, to }: StoreTime, now: number): number {
  const earliest = wall + (now - to) - clockToleranceMs;
  const latest = wall + (now - from) + clockToleranceMs;
  return Math.min(latest, Math.max(earliest, own));
}
