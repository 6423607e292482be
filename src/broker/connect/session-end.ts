/** The end of a session by the operator's word: its client is disconnected, and nothing is left of it in the store. */
import { logTextMax } from "../../base/limits.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { ConnectionEnd } from "./connection-end.ts";
import type { SessionStore } from "./session-store.ts";
import type { Wills } from "./wills.ts";

/** Ends sessions. */
export class SessionEnd {
  readonly #context: ClusterContext;
  readonly #parts: {
    readonly connectionEnd: ConnectionEnd;
    readonly sessionStore: SessionStore;
    readonly wills: Wills;
  };

  constructor(
    context: ClusterContext,
    parts: { connectionEnd: ConnectionEnd; sessionStore: SessionStore; wills: Wills },
  ) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Ends a session that this broker keeps, as if its time were over: its will is published. Calls `done` when it is
   * gone from the store.
   */
  end(client: LocalSession, done: () => void): void {
    const { localSessions, log } = this.#context;
    const { connectionEnd, sessionStore, wills } = this.#parts;
    const { session, connection } = client;
    const { clientId } = session;
    log.info({ client: clientId.slice(0, logTextMax) }, "an administrator ends a session");
    if (connection !== undefined) {
      session.expiryInterval = 0;
      connectionEnd.dismiss(connection, Reason.administrativeAction, "an administrator has ended the session");
    } else if (localSessions.get(clientId) === client) {
      wills.publishNow(client);
      sessionStore.erase(client, () => {});
    }
    sessionStore.whenErased(clientId, done);
  }
}
