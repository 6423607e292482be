/** The delivery context, with the parts that know the cluster: all sessions, the other brokers, and the router. */
import type { Route, Router } from "../../router/router.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { Peer, Remote } from "./peer.ts";
import type { RemoteSession } from "./remote-session.ts";

/** The receivers of a topic in the whole cluster. */
export type ClusterRoute = Route<LocalSession, Remote>;

/** The state of this broker in the cluster. */
export interface Self {
  /** The broker's epoch: the transaction that created its znode. It changes with the keeper session. */
  epoch: number;
  /** True while the broker's znode is being created. */
  isJoining: boolean;
  /** True once the broker is about to leave and sends its clients to other brokers. */
  isDraining: boolean;
  /** True while the lease or the keeper session is over: other brokers may keep the persistent sessions by now. */
  isFenced: boolean;
  /** The format in which records are written: the newest that all live brokers read. `Membership` sets it. */
  format: number;
  /** How often the lease has ended: what was begun before the last time must not be carried out. */
  fences: number;
  /** Until then (ms, by the clock's `now`) there may be sessions of dead brokers that no broker keeps yet. */
  orphansUntil: number;
}

/** The parts of a broker that most flows need. Ask for `DeliveryContext` or `Runtime` where that is enough. */
export interface ClusterContext extends DeliveryContext {
  readonly router: Router<LocalSession, Remote>;
  /** Returns true if there are mail drops, so that sessions may have slips for what lies there. */
  readonly hasMailDrops: () => boolean;
  /** All sessions that this broker keeps, by client id. */
  readonly localSessions: Map<string, LocalSession>;
  /** Persistent sessions that this broker does not keep, by client id. */
  readonly remoteSessions: Map<string, RemoteSession>;
  /** The other brokers, by id. */
  readonly peers: Map<string, Peer>;
  readonly self: Self;
}
