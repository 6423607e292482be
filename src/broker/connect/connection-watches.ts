/** The looks at all connections: whether their clients are there, and take no more memory than they may. */
import type { ProcessMemory } from "../core/process-memory.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { HeldWatch } from "./held-watch.ts";
import { MemoryPressure } from "./memory-pressure.ts";
import { MemoryWatch, type MemoryWatchParts } from "./memory-watch.ts";

/**
 * Starts the looks. `memory` undefined: the process may have as much as there is. Returns what must be told of bytes
 * that clients send.
 */
export function watchConnections(
  context: ClusterContext,
  parts: MemoryWatchParts & { readonly memory: ProcessMemory | undefined },
): { received(bytes: number): void } {
  const { memory } = parts;
  new HeldWatch(context, parts.connections);
  const watch = new MemoryWatch(context, parts);
  if (memory === undefined) return watch;
  const pressure = new MemoryPressure(context, { ...parts, memory, watch });
  return {
    received(bytes) {
      watch.received(bytes);
      pressure.received(bytes);
    },
  };
}
