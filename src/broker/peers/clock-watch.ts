/** Tells the operator of brokers whose machines' clocks differ from this one's, and when they agree again. */
import { clocksApartMs } from "../../base/api-limits.ts";
import { clockReportMs } from "../../base/limits.ts";
import { aheadOfStore } from "../../coordinator/store-clock.ts";
import type { ClockDifference } from "../../link/clock-offset.ts";
import type { ClusterContext } from "./cluster-context.ts";

/** Returns true if two clocks differ by more than they may, whatever the measurement's error is. */
export function areApart(difference: ClockDifference | undefined): difference is ClockDifference {
  return difference !== undefined && Math.abs(difference.aheadMs) - difference.withinMs > clocksApartMs;
}

/** Says in words what comes of a wrong clock, and what helps. */
export const wrongClockWords =
  "messages that expire, tokens and certificates are judged by a wrong time, and logs do not agree: have NTP set the " +
  "machine's clock (chronyc tracking, timedatectl)";

/** Looks at each measurement of another clock. */
export class ClockWatch {
  readonly #context: Pick<ClusterContext, "log" | "coordinator" | "machineClock">;
  /** When it was last told of each broker whose clock differs, by the clock's `now`. */
  readonly #told = new Map<string, number>();

  constructor(context: Pick<ClusterContext, "log" | "coordinator" | "machineClock">) {
    this.#context = context;
  }

  look(peer: string, difference: ClockDifference | undefined): void {
    const { log, coordinator, machineClock } = this.#context;
    const toldAt = this.#told.get(peer);
    if (!areApart(difference)) {
      if (toldAt === undefined || difference === undefined) return;
      this.#told.delete(peer);
      log.info({ peer }, "its machine's clock and this one's agree again");
      return;
    }
    const now = machineClock.now();
    if (toldAt !== undefined && now < toldAt + clockReportMs) return;
    this.#told.set(peer, now);
    // It tells which of the two is wrong, where it is known.
    const ofStore = aheadOfStore(machineClock, coordinator.storeTime);
    log.warn(
      {
        ...{ peer, peerAheadMs: Math.round(difference.aheadMs), withinMs: Math.ceil(difference.withinMs) },
        ...(ofStore === undefined ? {} : { aheadOfZooKeeperMs: Math.round(ofStore.aheadMs) }),
      },
      `its machine's clock differs from this one's: ${wrongClockWords}`,
    );
  }
}
