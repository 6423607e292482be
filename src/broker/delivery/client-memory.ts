/**
 * The memory that one client has the broker use, in bytes: what it has sent and the broker holds, what waits for it,
 * and its subscriptions. What many share, such as the payload of a message to all of them, counts for each.
 */
import { feedMemoryBytes } from "../../base/limits.ts";
import type { Connection } from "./connection.ts";
import type { LocalSession } from "./local-session.ts";

/** Returns the memory of a connection and of the session that it serves. */
export function memoryOf({ writer, framer, channel, client }: Connection): number {
  const own = writer.buffered + framer.pendingBytes + framer.heldLength + channel.memoryBytes;
  return client === undefined ? own : own + sessionMemoryOf(client);
}

/** Returns the memory of a session. */
export function sessionMemoryOf({ session, queueBytes, feedsPending, will }: LocalSession): number {
  return session.memoryBytes + queueBytes + feedsPending * feedMemoryBytes + (will?.publish.size ?? 0);
}
