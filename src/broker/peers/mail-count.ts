/**
 * Counts the slips in mailboxes of sessions that other brokers keep. A broker that empties a mailbox does not tell, so
 * the store is asked now and then: a mailbox that nobody empties does not grow without bound, and one that was full is
 * not taken for full for ever.
 */

import { mailCountEveryMax } from "../../base/limits.ts";
import { mailPath } from "../../coordinator/paths.ts";
import { hasStat } from "../../coordinator/read-results.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { RemoteSession } from "./remote-session.ts";

/** Counts a slip that this broker has stored for a session of another one. */
export function countStored(context: DeliveryContext, session: RemoteSession): void {
  context.mailboxes.filled(session.clientId, session.mailCount);
  if (session.countStored() >= mailCountEveryMax) recount(context, session);
}

/** Asks the store how many slips are in a session's mailbox, unless that is being asked. */
export function recount({ coordinator }: Pick<DeliveryContext, "coordinator">, session: RemoteSession): void {
  if (!session.beginCount()) return;
  coordinator.read([{ kind: "exists", path: mailPath(session.clientId) }], (error, [result]) => {
    if (hasStat(result)) return session.endCount(result.stat.childCount);
    session.endCount(error === undefined && result === "NoNode" ? 0 : undefined);
  });
}
