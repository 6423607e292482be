/** The doors that a broker is given from outside. */
import type { Access } from "../access/access.ts";
import type { Clock } from "../base/clock.ts";
import type { OperatingError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { TurnWatch } from "../base/turn-watch.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { Turn } from "../net/writer.ts";
import type { BrokerOptions } from "./core/options.ts";
import type { ProcessMemory } from "./core/process-memory.ts";
import type { Spans } from "./core/spans.ts";
import type { DialLink } from "./peers/link-connection.ts";
import type { AnswerQuestion } from "./peers/questions.ts";

/** The doors of a broker, which it is given from outside: it opens nothing itself. */
export interface Doors {
  readonly options: BrokerOptions;
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly turn: Turn;
  /** Measures turns of the event loop, those of the store's answers among them. Without: one of the broker's own. */
  readonly turns?: TurnWatch;
  /** The memory of the process; undefined: it may have as much as there is. */
  readonly memory?: ProcessMemory | undefined;
  /** Traces messages; without: none are. */
  readonly spans?: Spans | undefined;
  readonly dialLink: DialLink;
  /** The secret that all brokers of the cluster share; undefined: links are not authenticated. */
  readonly linkSecret: string | undefined;
  /** Answers operators' questions that other brokers pass on; undefined: they are not answered. */
  readonly answerQuestion?: AnswerQuestion | undefined;
  /** The checks of logins and rules; undefined: every client may connect and do everything. */
  readonly access?: Access | undefined;
  /** Called with the reason why the broker must end. */
  readonly fatal: (error: OperatingError) => void;
}
