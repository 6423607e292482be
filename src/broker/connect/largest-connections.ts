/** The end of the connections that take most memory, of one for whom they are counted. */
import { ProtocolError } from "../../base/errors.ts";
import { memoryLookedAtOnce } from "../../base/memory-limits.ts";
import { Reason } from "../../mqtt/reason.ts";
import { memoryOf, nothingCounted } from "../delivery/client-memory.ts";
import type { Connection } from "../delivery/connection.ts";
import type { Spender } from "../delivery/spender.ts";
import type { MemoryContext, MemoryWatchParts } from "./memory-watch.ts";

/** The connections that are to be ended: the largest of a spender, until that many bytes are free. */
export interface Excess {
  readonly spender: Spender;
  readonly bytes: number;
  /** The reason, in words, which MQTT 5 clients are told. */
  readonly why: string;
}

/** Disconnects (0x97) the largest connections of a spender, as many as it takes. Returns the bytes that they had. */
export function* disconnectLargest(
  { metrics }: Pick<MemoryContext, "metrics">,
  { connections, fail }: Pick<MemoryWatchParts, "connections" | "fail">,
  { spender, bytes, why }: Excess,
): Generator<void, number, void> {
  const bySize = yield* sorted(connections, spender);
  const counted = nothingCounted();
  let freed = 0;
  for (let size = bySize.length - 1; size >= 0; size--) {
    for (const connection of bySize[size] ?? []) {
      if (freed >= bytes) return freed;
      // It may have sent or read something since, or be gone.
      if (connection.channel.phase === "closed" || connection.spender !== spender) continue;
      freed += memoryOf(connection, counted);
      metrics.beyondLimit.memory++;
      const isTold = connection.mayAnswerConnect;
      fail(connection, new ProtocolError(Reason.quotaExceeded, why));
      // What it sends is not waited for if it could not be told.
      if (!isTold) connection.transport.abort();
      yield;
    }
  }
  return freed;
}

/** Returns a spender's connections by the binary logarithm of their memory: to sort them would take long. */
function* sorted(
  connections: ReadonlySet<Connection>,
  spender: Spender,
): Generator<void, (Connection[] | undefined)[], void> {
  const bySize: (Connection[] | undefined)[] = [];
  const counted = nothingCounted();
  let seen = 0;
  for (const connection of connections) {
    if (connection.spender === spender && connection.channel.phase !== "closed") {
      const size = Math.ceil(Math.log2(memoryOf(connection, counted)));
      bySize[size] ??= [];
      bySize[size].push(connection);
    }
    if (++seen % memoryLookedAtOnce === 0) yield;
  }
  return bySize;
}
