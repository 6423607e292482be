/** Mail drops when brokers ask for them no longer: what lies there is handed out, and then they are gone. */
import { expect, test } from "bun:test";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { creditLooksMax, creditsStillLost, lying, overdrawn, unlikeLying } from "./checkers.ts";
import { World } from "./world.ts";

const drops = (world: World): string[] =>
  [...world.keeper.tree.nodes].flatMap(([path, { data }]) =>
    path.startsWith("/bank/drops/") ? [`${path} ${Buffer.from(data)}`] : [],
  );

test("a mail drop that nobody asks for any more is closed, still handed out, and gone when it is empty", async () => {
  const world = new World(1, { mailDrop: ["sim/#"], bankTtlMax: 3600 });
  const history = new History();
  for (const id of ["a", "b", "c"]) await world.node(id).startIn(world);
  const reader = new Actor("reader", { world, history, subscribe: "sim/#" });
  const publisher = new PublishingActor("p1", { world, history, qos: 1 });
  for (const actor of [reader, publisher]) actor.live();
  expect(await world.pass(20_000, () => reader.isReady && publisher.isReady)).toBe(true);
  reader.isAway = true;
  reader.leave();
  publisher.work();
  publisher.isBusy = true;
  await world.pass(500);
  publisher.isBusy = false;
  await world.pass(5000, () => publisher.isSettled);
  const stored = lying(world).length;
  expect(stored).toBeGreaterThan(3);
  // One that asks for it is enough: the others go along.
  for (const id of ["b", "c"]) world.node(id).kill();
  world.mailDrop = [];
  await world.pass(5000);
  for (const id of ["b", "c"]) await world.node(id).startIn(world);
  await world.pass(200_000);
  expect(drops(world)).toEqual(['/bank/drops/sim%2F# {"isOpen":true}']);
  world.node("a").kill();
  await world.pass(5000);
  for (const id of ["a"]) await world.node(id).startIn(world);
  expect(await world.pass(300_000, () => drops(world).join() === '/bank/drops/sim%2F# {"isOpen":false}')).toBe(true);
  // The session has been away all the time.
  const due = lying(world).length;
  reader.isAway = false;
  expect(await world.pass(20_000, () => history.receivedCount("reader") >= due)).toBe(true);
  expect(unlikeLying(world, "reader", history.receivedBy("reader"))).toEqual([]);
  // What is published now is stored for nobody.
  publisher.isBusy = true;
  await world.pass(500);
  publisher.isBusy = false;
  await world.pass(5000, () => publisher.isSettled);
  expect(lying(world).length).toBeLessThanOrEqual(due);
  const live = history.acknowledgedCount - stored;
  expect(live).toBeGreaterThan(3);
  await world.pass(2000);
  expect(history.receivedCount("reader")).toBeGreaterThanOrEqual(due + live);
  // After an hour all of it has outlived its time.
  expect(await world.pass(2 * 3_600_000, () => drops(world).length === 0)).toBe(true);
  expect(lying(world)).toEqual([]);
  expect([...(await overdrawn(world)), ...(await creditsStillLost(world, creditLooksMax))]).toEqual([]);
}, 120_000);
