/** Bounds on what brokers remember at rest: no more than there is, or it would grow for ever. */
import type { World } from "./world.ts";

/** Finds what the broker has kept of clients that have gone; `clients` are those of the world that live. */
export function hoards(world: World, clients: number): string[] {
  const wrong: string[] = [];
  for (const { id, broker } of world.nodes.values()) {
    if (broker === undefined) continue;
    const { context } = broker;
    const online = [...context.localSessions.values()].filter(({ connection }) => connection !== undefined).length;
    const sizes: readonly (readonly [what: string, size: number, most: number])[] = [
      ["sessions", context.localSessions.size, clients],
      ["sessions elsewhere", context.remoteSessions.size, clients],
      ["other brokers", context.peers.size, world.nodes.size - 1],
      ["connections", context.metrics.connections, online],
      ["units of the journal", context.journal.pendingUnits, 0],
      // Nobody else writes there: what is taken for a stranger's, or in the way of a commit, is a fault of ours.
      ["znodes of strangers", context.strangers.found, 0],
    ];
    for (const [what, size, most] of sizes)
      if (size > most) wrong.push(`${id} remembers ${size} ${what}; ${most} are there`);
    for (const client of context.localSessions.values())
      if (client.inflight.size > 0)
        wrong.push(`${id} has ${client.inflight.size} in flight to ${client.session.clientId}`);
    for (const peer of context.peers.values())
      if (peer.pending.size > 0) wrong.push(`${id} has ${peer.pending.size} pending at ${peer.id}`);
  }
  return wrong;
}
