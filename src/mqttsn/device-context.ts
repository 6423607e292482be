/** The surroundings of one client of MQTT-SN. */
import type { Random } from "../base/random.ts";
import type { Timers } from "../base/timers.ts";
import type { InnerDoors } from "./inner-connection.ts";
import type { Peer } from "./peer.ts";
import type { PredefinedTopics } from "./predefined-topics.ts";
import type { SnMetrics } from "./sn-metrics.ts";

/**
 * The states of a client (6.14). willTopic, willMessage: CONNECT has come, and the client is asked for its will.
 * opening: the broker is asked. awake: it sleeps, has asked for its mail, and is being handed it.
 */
export type State = "new" | "willTopic" | "willMessage" | "opening" | "active" | "asleep" | "awake" | "gone";

/** A client, as its surroundings know it. */
export interface Named {
  readonly clientId: string;
  readonly peer: Peer;
}

/** The parts around a client that it needs. */
export interface DeviceContext<Owner> {
  readonly doors: InnerDoors<Owner>;
  readonly timers: Timers;
  readonly clock: { now(): number };
  readonly random: Random;
  readonly predefined: PredefinedTopics;
  readonly metrics: SnMetrics;
  /** The user as whom clients come; undefined: nobody. */
  readonly user: string | undefined;
  readonly retryMs: number;
  readonly datagramBytesMax: number;
  /** Returns true while the broker has something for the client that it has not handed over. */
  mailWaits(owner: Owner): boolean;
  /** Tells the operator of a message that is too large for a datagram. */
  tooLarge(device: Named, topic: string, size: number): void;
  /** The client was silent for too long, or has not answered. */
  lost(device: Named): void;
  /** The client is gone, or was turned away: it is not known here any more. */
  ended(device: Named): void;
}
