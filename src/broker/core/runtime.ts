/** The runtime that every part of the broker is given: options, store, time, chance, log and counters. */
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Slices } from "../../base/slices.ts";
import type { Timers } from "../../base/timers.ts";
import type { TurnWatch } from "../../base/turn-watch.ts";
import type { Coordinator } from "../../coordinator/coordinator.ts";
import type { Turn } from "../../net/writer.ts";
import type { LiveEvents } from "./live-events.ts";
import type { Metrics } from "./metrics.ts";
import type { BrokerOptions } from "./options.ts";
import type { RecentDrops } from "./recent-drops.ts";
import type { RecentRefusals } from "./recent-refusals.ts";
import type { RecentTakeOvers } from "./recent-take-overs.ts";
import type { Spans } from "./spans.ts";
import type { Strangers } from "./strangers.ts";
import type { Trace } from "./trace.ts";

/** The parts of a broker that all others use. `DeliveryContext` and `ClusterContext` add to it. */
export interface Runtime {
  readonly options: BrokerOptions;
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  /** This machine's own clock, right or wrong: to be compared with others, and for nothing else. */
  readonly machineClock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  /** Runs long work in slices, so that the event loop is not blocked. */
  readonly slices: Slices;
  /** Measures turns of the event loop, and is told what they are spent on. */
  readonly turns: TurnWatch;
  readonly log: Log;
  /** Gathers what is written to sockets while one event is handled, and writes it at the end. */
  readonly turn: Turn;
  readonly metrics: Metrics;
  /** The last refusals, with the reason of each. */
  readonly refused: RecentRefusals;
  /** The last messages that were dropped for some client, with the cause of each. */
  readonly drops: RecentDrops;
  /** The last connections that had to go for others with the same client ids. */
  readonly takeOvers: RecentTakeOvers;
  /** Tells what happens to the clients and messages that somebody follows. */
  readonly trace: Trace;
  /** Events of clients, for whoever watches. */
  readonly events: LiveEvents;
  /** Znodes in the tree that no broker has written. */
  readonly strangers: Strangers;
  /** Traces messages; undefined: nobody wants to know. */
  readonly spans: Spans | undefined;
}
