/** The session of a client that went before its CONNACK. */
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import type { SessionStore } from "./session-store.ts";
import type { Wills } from "./wills.ts";

export interface AbandonParts {
  readonly wills: Wills;
  readonly directory: SubscriptionDirectory;
  readonly sessionStore: SessionStore;
  /** True if a later connection of the client waits for its CONNACK. */
  readonly isRivalled: boolean;
  /** Calls back when none waits for the store any more. */
  readonly whenConnected: (clientId: string, go: () => void) => void;
}

/** Has the session of a client that went before its CONNACK wait, as if the client had left. */
export function abandon(client: LocalSession, { localSessions }: ClusterContext, parts: AbandonParts): void {
  const { wills, directory, sessionStore, isRivalled } = parts;
  const { clientId } = client.session;
  if (!isRivalled) wills.forget(client);
  if (client.mailbox === undefined) return;
  // A later connection of the client finds it here: a broker alone does not ask its store for sessions.
  if (!isRivalled || !localSessions.has(clientId)) directory.begin(client);
  const isLeft = (): boolean => localSessions.get(clientId) === client && client.connection === undefined;
  if (!isRivalled) sessionStore.recordAway(client);
  else parts.whenConnected(clientId, () => isLeft() && sessionStore.recordAway(client));
}
