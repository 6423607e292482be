/** What all flows of the broker share. */
import type { Access } from "../../access/access.ts";
import type { Bans } from "../../access/bans.ts";
import type { Clock } from "../../base/clock.ts";
import type { OperatingError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Timers } from "../../base/timers.ts";
import type { Coordinator } from "../../coordinator/coordinator.ts";
import type { Journal } from "../../mail/journal.ts";
import type { Mail } from "../../mail/mail.ts";
import type { Settlements } from "../../mail/settlement.ts";
import type { Slips } from "../../mail/slips.ts";
import type { Turn } from "../../net/writer.ts";
import type { RetainedMessages } from "../../router/retained.ts";
import type { Route, Router } from "../../router/router.ts";
import type { BankAccount } from "../core/bank-account.ts";
import type { Metrics } from "../core/metrics.ts";
import type { BrokerOptions } from "../core/options.ts";
import type { Strangers } from "../core/strangers.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { DialLink } from "./links.ts";
import type { Peer, Remote, RemoteSession } from "./peer.ts";

export type ClusterRoute = Route<LocalSession, Remote>;

/** What this broker is in the cluster now. */
export interface Self {
  /** This incarnation: the transaction that created the broker's znode. It changes with the keeper session. */
  epoch: number;
  /** The znode is being made. */
  isJoining: boolean;
  /** It is about to leave: clients are sent to other brokers. */
  isDraining: boolean;
  /** The lease is over, or the session is: other brokers may keep the persistent sessions by now. */
  isFenced: boolean;
  /** The format in which records are written: the newest that all live brokers read. `Membership` sets it. */
  format: number;
  /** Until then, by the clock, there may be sessions of dead brokers that nobody keeps yet. */
  orphansUntil: number;
}

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
  readonly slips: Slips;
  readonly settlements: Settlements;
  readonly bankAccount: BankAccount;
  readonly router: Router<LocalSession, Remote>;
  readonly retained: RetainedMessages;
  /** Everybody whose session this broker keeps, by client id. */
  readonly localSessions: Map<string, LocalSession>;
  /** Persistent sessions that are kept elsewhere, by client id. */
  readonly remoteSessions: Map<string, RemoteSession>;
  /** The other brokers, by id. */
  readonly peers: Map<string, Peer>;
  readonly self: Self;
  readonly dialLink: DialLink;
  /** What all brokers of the cluster know; undefined: links are not authenticated. */
  readonly linkSecret: string | undefined;
  /** Who may come in and do what; undefined: everybody everything. */
  readonly access: Access | undefined;
  readonly bans: Bans;
  /** Znodes that are not ours. */
  readonly strangers: Strangers;
  /** The broker must end. */
  readonly fatal: (error: OperatingError) => void;
  /** A session that this broker kept is another one's. */
  readonly evict: (client: LocalSession) => void;
}
