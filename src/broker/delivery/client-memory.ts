/**
 * The memory that one client has the broker use, in bytes: what it has sent and the broker holds, what waits for it,
 * and its subscriptions. A message that was lent to many, and rules that a user's clients ask together, count once in
 * a look; what else many share, such as a queued message to all of them, counts for each.
 */
import type { RuleList } from "../../access/rule-list.ts";
import {
  connectionMemoryBytes,
  decodedMemoryBytes,
  feedMemoryBytes,
  lastingSessionMemoryBytes,
} from "../../base/memory-limits.ts";
import type { Connection } from "./connection.ts";
import type { LocalSession } from "./local-session.ts";

/** The things that have been counted in one look at all clients, and that others share. */
export interface Counted {
  readonly lent: Set<Uint8Array>;
  readonly rules: Set<RuleList>;
}

/** Returns a look that has counted nothing yet. */
export function nothingCounted(): Counted {
  return { lent: new Set(), rules: new Set() };
}

/** Returns the memory of a connection and of the session that it serves. */
export function memoryOf(connection: Connection, counted: Counted): number {
  const { writer, framer, channel, client, exchange, route, waitingBytes, transport } = connection;
  const under =
    writer.memoryBytes(counted.lent) + framer.memoryBytes + channel.memoryBytes + (transport.memoryBytes ?? 0);
  const waiting = waitingBytes * decodedMemoryBytes + (exchange?.scram.memoryBytes ?? 0);
  const own = connectionMemoryBytes + under + waiting + (route?.bytes.length ?? 0) * decodedMemoryBytes;
  if (client === undefined) return own;
  return own + client.inflightMemoryBytes + lastingMemoryOf(client, counted);
}

/** Returns the memory of a session, whether its client is connected or not. */
export function lastingMemoryOf(client: LocalSession, counted: Counted): number {
  const { mailbox, permissions } = client;
  const lasting = mailbox === undefined ? 0 : lastingSessionMemoryBytes + mailbox.memoryBytes;
  return sessionMemoryOf(client) + lasting + (permissions?.memoryBytes(counted.rules) ?? 0);
}

/** Returns the memory of a session that grows with what its client subscribes to. */
export function sessionMemoryOf({ session, queueMemoryBytes, feedsPending, will }: LocalSession): number {
  return session.memoryBytes + queueMemoryBytes + feedsPending * feedMemoryBytes + (will?.publish.size ?? 0);
}
