/** What all flows of the broker share. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Timers } from "../base/timers.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { Journal } from "../mail/journal.ts";
import type { Mail } from "../mail/mail.ts";
import type { Settlements } from "../mail/settlement.ts";
import type { Turn } from "../net/writer.ts";
import type { RetainedMessages } from "../router/retained.ts";
import type { Router } from "../router/router.ts";
import type { Client } from "./client.ts";
import type { Metrics } from "./metrics.ts";
import type { BrokerOptions } from "./options.ts";

export interface Context {
  readonly options: BrokerOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly turn: Turn;
  readonly timers: Timers;
  readonly metrics: Metrics;
  readonly coordinator: Coordinator;
  readonly journal: Journal;
  readonly mail: Mail;
  readonly settlements: Settlements;
  readonly router: Router<Client>;
  readonly retained: RetainedMessages;
  /** Everybody with a session, by client id. */
  readonly clients: Map<string, Client>;
  /** This broker's incarnation: the transaction that created its znode. */
  readonly epoch: number;
}
