/**
 * How many slips lie in the mailboxes of sessions that other brokers keep. Whoever empties one does not tell, so it is counted
 * in the store now and then: one that nobody empties does not grow without bound, and one that was full is not so for ever.
 */
import { mailCountEveryMax } from "../../base/limits.ts";
import { mailPath } from "../../coordinator/paths.ts";
import type { Runtime } from "../core/runtime.ts";
import type { RemoteSession } from "./peer.ts";

/** One more has been stored from here. */
export function countStored(context: Runtime, session: RemoteSession): void {
  if (++session.mailedSinceCount >= mailCountEveryMax) recount(context, session);
}

/** Counts anew, unless that is under way. */
export function recount({ coordinator }: Runtime, session: RemoteSession): void {
  if (session.isBeingCounted) return;
  session.isBeingCounted = true;
  session.mailedSinceCount = 0;
  coordinator.read([{ kind: "exists", path: mailPath(session.clientId) }], (error, [result]) => {
    session.isBeingCounted = false;
    if (typeof result === "object" && "stat" in result) session.mailCount = result.stat.childCount;
    else if (error === undefined && result === "NoNode") session.mailCount = 0;
  });
}
