/**
 * What every flow of the broker is given: what the operator set, the store, time, chance, the log, and what is counted.
 */
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Slices } from "../../base/slices.ts";
import type { Timers } from "../../base/timers.ts";
import type { Coordinator } from "../../coordinator/coordinator.ts";
import type { Turn } from "../../net/writer.ts";
import type { Metrics } from "./metrics.ts";
import type { BrokerOptions } from "./options.ts";
import type { Strangers } from "./strangers.ts";

export interface Runtime {
  readonly options: BrokerOptions;
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  /** Does what takes long a little at a time. */
  readonly slices: Slices;
  readonly log: Log;
  /** Gathers what is written to sockets while one input is handled. */
  readonly turn: Turn;
  readonly metrics: Metrics;
  /** Znodes that are not ours. */
  readonly strangers: Strangers;
}
