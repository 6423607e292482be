/**
 * The handover of sessions: this broker kept them, and another one keeps them from now on, or may. Nothing more is done
 * in their names here.
 */
import { logTextMax } from "../../base/limits.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import type { ConnectionEnd } from "./connection-end.ts";
import type { SessionStore } from "./session-store.ts";
import type { Wills } from "./wills.ts";

/** Gives sessions up when another broker claims them, has taken them, or may take them. */
export class SessionHandover {
  readonly #context: ClusterContext;
  readonly #connectionEnd: ConnectionEnd;
  readonly #store: SessionStore;
  readonly #wills: Wills;
  readonly #directory: SubscriptionDirectory;

  constructor(
    context: ClusterContext,
    parts: {
      connectionEnd: ConnectionEnd;
      sessionStore: SessionStore;
      wills: Wills;
      directory: SubscriptionDirectory;
    },
  ) {
    this.#context = context;
    this.#connectionEnd = parts.connectionEnd;
    this.#store = parts.sessionStore;
    this.#wills = parts.wills;
    this.#directory = parts.directory;
  }

  /**
   * Gives up a client id that another broker claims: its connection here ends, and its session is that broker's, or is
   * erased (`clean`), unless its client comes back here meanwhile. Calls `done` when all is committed.
   */
  giveUp(clientId: string, { clean, done }: { clean: boolean; done: () => void }): void {
    const { localSessions, journal } = this.#context;
    const client = localSessions.get(clientId);
    if (client?.connection !== undefined && !client.isEnding)
      this.#connectionEnd.disconnect(
        client.connection,
        Reason.sessionTakenOver,
        "its client has connected to another broker",
      );
    // Told last: a broker that drains leaves the will of a connection that ends to wait for its client.
    this.#wills.cameBack(clientId);
    if (client === undefined || client.isEnding) return this.#store.whenErased(clientId, done);
    // The session has ended with its connection, as most do.
    if (localSessions.get(clientId) !== client) return this.#store.whenErased(clientId, () => journal.drained(done));
    if (clean) {
      this.#wills.publishNow(client);
      return this.#store.erase(client, done);
    }
    this.#wills.forget(client);
    client.stopExpiry();
    const { claimedAt } = client;
    journal.drained(() => {
      // Its client may have come back here by a later claim, and would be connected without a session.
      const isOthers = localSessions.get(clientId) === client && client.claimedAt === claimedAt;
      if (isOthers) this.#directory.release(client);
      done();
    });
  }

  /** Gives up a persistent session that another broker has taken. */
  evict(client: LocalSession): void {
    const { localSessions, log } = this.#context;
    const { clientId } = client.session;
    if (localSessions.get(clientId) !== client || client.mailbox === undefined) return;
    log.info({ client: clientId.slice(0, logTextMax) }, "another broker keeps this session now");
    client.stopExpiry();
    // The client is connected there by now, where its new will counts.
    this.#wills.forget(client);
    this.#directory.lose(client);
    if (client.connection !== undefined)
      this.#connectionEnd.disconnect(client.connection, Reason.sessionTakenOver, "its session is kept elsewhere");
  }

  /**
   * Gives up all persistent sessions and all clients with wills, since the lease is over: other brokers may keep those
   * sessions by now, and publish those wills. No client may be declared dead that is still connected here.
   */
  fence(): void {
    for (const client of [...this.#context.localSessions.values()]) {
      if (client.mailbox === undefined && !client.isWillStored) continue;
      this.#wills.abandon(client);
      client.stopExpiry();
      if (client.mailbox !== undefined) this.#directory.lose(client);
      if (client.connection !== undefined)
        this.#connectionEnd.disconnect(client.connection, Reason.useAnotherServer, "no contact with ZooKeeper");
    }
  }
}
