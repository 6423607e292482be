/**
 * A session that another broker takes while the link between the two is cut: what it subscribes to there is routed by
 * at the broker that had it, too, which hears of it from the store alone.
 */
import { expect, test } from "bun:test";
import { History } from "../chaos/history.ts";
import { Actor } from "./actors.ts";
import { World } from "./world.ts";

const seeds = 12;

test(`${seeds} seeds`, async () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= seeds; seed++) wrong.push(...(await moveAlong(seed)));
  expect(wrong).toEqual([]);
}, 120_000);

async function moveAlong(seed: number): Promise<string[]> {
  const world = new World(seed, { bankCapital: 1_000_000 });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const nomad = new Actor("nomad", { world, history: new History(), subscribe: "old/#" });
  nomad.live();
  await world.pass(5000, () => nomad.isReady);
  world.node("a").cutFrom.add("b");
  await world.pass(10_000);
  for (let hop = 0; hop < 12; hop++) {
    nomad.hop();
    const { client } = nomad;
    // As soon as it is there, and unsubscribes from something now and then.
    void client?.ready.then(
      () => {
        client.subscribe([`new/${hop}/#`], { qos: 1 }).catch(() => {});
        if (hop % 3 === 2) client.unsubscribe([`new/${hop - 1}/#`]).catch(() => {});
      },
      () => {},
    );
    await world.pass(200 + world.random.next() * 2500);
  }
  await world.pass(3000);
  const due = [...world.keeper.tree.nodes.keys()].filter((path) => path.endsWith("/~nomad")).length;
  return [...world.nodes.values()].flatMap(({ id, broker }) => {
    const { localSessions, remoteSessions } = broker!.context;
    const held = localSessions.get("nomad")?.session.subscriptions ?? remoteSessions.get("nomad")?.subscriptions;
    return held?.size === due ? [] : [`seed ${seed}: ${id} knows ${[...(held?.keys() ?? [])]}, and there are ${due}`];
  });
}
