/**
 * The remains of sessions that are over, and whose records are empty: the broker that erased one has died in the
 * middle, or another broker has stored mail for it that had not heard of its end.
 */
import { adoptionPageMax } from "../../base/limits.ts";
import { currentStore, read } from "../../coordinator/mirror.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SessionStore } from "./session-store.ts";
import { sessionFromStore, sessionReads } from "./take-over.ts";

export interface SessionRemainsParts {
  readonly sessionStore: SessionStore;
  /** Returns true while a connection here is taking that client's session. */
  readonly isObtaining: (clientId: string) => boolean;
}

/** Removes what is left of sessions. */
export class SessionRemains {
  readonly #context: ClusterContext;
  readonly #parts: SessionRemainsParts;

  constructor(context: ClusterContext, parts: SessionRemainsParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Removes all that is left of a session, as it was read from the store: as long as its record is as it was then, so
   * that nothing is taken from a new session of its client. The routes follow the store.
   */
  erase(client: LocalSession): void {
    const known = this.#context.remoteSessions.get(client.session.clientId)?.subscriptions.keys() ?? [];
    this.#parts.sessionStore.erase(client, () => {}, { filters: [...known] });
  }

  /** Removes what is left of those clients' sessions that are over. Rejects with `OperatingError`. */
  async look(clientIds: readonly string[]): Promise<void> {
    for (let at = 0; at < clientIds.length; at += adoptionPageMax)
      await this.#lookAt(clientIds.slice(at, at + adoptionPageMax));
  }

  async #lookAt(clientIds: readonly string[]): Promise<void> {
    const { coordinator, localSessions } = this.#context;
    const results = await read(currentStore(coordinator), clientIds.flatMap(sessionReads));
    clientIds.forEach((clientId, index) => {
      const four = results.slice(4 * index, 4 * index + 4);
      const { sessionStore, isObtaining } = this.#parts;
      const isBusy = localSessions.has(clientId) || isObtaining(clientId) || sessionStore.isErasing(clientId);
      if (isBusy || !hasData(four[0]) || four[0].data.length > 0) return;
      this.erase(sessionFromStore(this.#context, clientId, four));
    });
  }
}
