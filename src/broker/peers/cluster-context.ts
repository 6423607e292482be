/** What the flows of a cluster share: beside what delivers messages, whose sessions are where, and who the others are. */
import type { Route, Router } from "../../router/router.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
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
  /** How often the lease has ended: what was begun before counts no more. */
  fences: number;
  /** Until then, by the clock, there may be sessions of dead brokers that nobody keeps yet. */
  orphansUntil: number;
}

export interface ClusterContext extends DeliveryContext {
  readonly router: Router<LocalSession, Remote>;
  /** All clients whose sessions this broker keeps, by client id. */
  readonly localSessions: Map<string, LocalSession>;
  /** Persistent sessions that are kept elsewhere, by client id. */
  readonly remoteSessions: Map<string, RemoteSession>;
  /** The other brokers, by id. */
  readonly peers: Map<string, Peer>;
  readonly self: Self;
}
