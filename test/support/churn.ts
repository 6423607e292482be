/** Plays devices that come and go, and looks at what is left of them. */
import { expect } from "bun:test";
import { walk } from "../../src/coordinator/mirror.ts";
import { publishersPath, rootPaths } from "../../src/coordinator/paths.ts";
import type { Server } from "../../src/server/server.ts";
import { churn } from "../bench/churn-load.ts";
import { eventually } from "./broker.ts";

/**
 * Lists the nodes that clients have a part in; not the list of publishers for people, nor shards of sessions and of
 * wills.
 */
async function nodesOf({ broker }: Server): Promise<string[]> {
  const paths: string[] = [];
  for (const root of rootPaths.filter((path) => path !== publishersPath))
    await walk(broker.context.coordinator, root, (path) => void paths.push(path));
  return paths.filter((path) => !/^\/(sessions|wills|brokers)\/[^/]+$|^\/retained\/\$SYS/.test(path));
}

/** A device may wait so long for its answers, in ms, on a machine that is busy with other tests. */
export const slowMs = 100_000;

/**
 * As many devices at each broker: when their sessions have ended, no broker has anything of them, nor has the store.
 */
export async function churnLeavesNothing(servers: readonly Server[], devicesMax: number): Promise<void> {
  const before = new Set(await nodesOf(servers[0]!));
  const played = servers.map(({ port }) => churn({ port, concurrent: 40, devicesMax, patienceMs: slowMs }));
  for (const result of await Promise.all(played)) expect(result).toMatchObject({ devices: devicesMax, failed: 0 });
  const isRid = ({ broker: { context } }: Server): boolean =>
    context.metrics.connections === 0 &&
    context.localSessions.size === 0 &&
    context.remoteSessions.size === 0 &&
    context.journal.pendingUnits === 0;
  await eventually(() => servers.every(isRid), "nothing is pending, and nobody is known", 60_000);
  let left: string[] = [];
  const look = async (): Promise<boolean> => {
    left = (await nodesOf(servers[0]!)).filter((path) => !before.has(path));
    return left.length === 0;
  };
  await eventually(look, "the tree is as it was", 60_000).catch(() => expect(left).toEqual([]));
  for (const { broker } of servers) expect(broker.context.router.subscriptions).toBe(0);
}
