/**
 * Payloads in parts are paid for as long as they are in the store: also those that no message names, since their broker
 * has died in between, or another one has replaced their message without knowing of it.
 */
import { expect, test } from "bun:test";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { History } from "../chaos/history.ts";
import { Actor } from "./actors.ts";
import { creditsStillLost, orphanParts, overdrawn, tooHeavy } from "./checkers.ts";
import { World } from "./world.ts";

const payloadBytes = 60_000;
/** Credits that pay for some payloads, not for many. */
const capital = 20_000;

interface Retaining {
  readonly world: World;
  readonly actors: readonly Actor[];
  /** Publishes it, retained, at once. */
  publish(actor: Actor, text: string): Promise<unknown>;
}

/** Clients that retain large messages on one topic, each at a broker of its own. */
async function begin(seed: number): Promise<Retaining> {
  const world = new World(seed, { hasLarge: true, bankCapital: capital });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const actors = ["a", "b"].map((at) => new Actor(`at-${at}`, { world, history: new History(), at: [at] }));
  for (const actor of actors) actor.live();
  expect(await world.pass(20_000, () => actors.every(({ isReady }) => isReady))).toBe(true);
  const publish: Retaining["publish"] = ({ client }, text) =>
    client!.publish("r", text.padEnd(payloadBytes, "."), { qos: 1, retain: true }).catch(() => {});
  return { world, actors, publish };
}

test("what a broker that dies has written of a payload is paid for until it is removed", async () => {
  let orphans = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const { world, actors, publish } = await begin(seed);
    const [node, actor] = [world.node("a"), actors[0]!];
    for (let death = 0; death < 6; death++) {
      world.keeper.afterWrite = (client, operations: readonly WriteOperation[]) => {
        if (node.owns(client) && operations.some(({ path }) => /^\/parts\/.*\/0001$/.test(path))) node.kill();
      };
      expect(await world.pass(20_000, () => actor.isReady)).toBe(true);
      void publish(actor, "x");
      expect(await world.pass(20_000, () => !node.isUp)).toBe(true);
      world.keeper.afterWrite = () => {};
      await node.startIn(world);
      expect([...(await tooHeavy(world)), ...(await overdrawn(world))]).toEqual([]);
    }
    orphans += orphanParts(world).length;
    expect(await world.pass(200_000, () => orphanParts(world).length === 0)).toBe(true);
    expect([...(await tooHeavy(world)), ...(await creditsStillLost(world, 50))]).toEqual([]);
  }
  expect(orphans).toBeGreaterThan(10);
}, 300_000);

test("a retained payload that another broker replaces without knowing of it is removed soon", async () => {
  const { world, actors, publish } = await begin(1);
  for (let round = 0; round < 20; round++) {
    let acks = 0;
    for (const actor of actors)
      world.after(world.random.next() * 4, () => publish(actor, actor.name).then(() => acks++));
    expect(await world.pass(10_000, () => acks === actors.length)).toBe(true);
    expect(await world.pass(2_000, () => orphanParts(world).length === 0)).toBe(true);
  }
  expect([...(await tooHeavy(world)), ...(await creditsStillLost(world, 50))]).toEqual([]);
}, 300_000);
