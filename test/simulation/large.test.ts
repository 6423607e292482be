/**
 * Messages in parts whose broker sleeps in the middle of them, longer than any sweep; or whose parts are gone for
 * another reason before their message names them. What is acknowledged is there with all of its parts, and in its
 * order.
 */
import { expect, test } from "bun:test";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { lostCredits, orphanParts, overdrawn, unequalRetained } from "./checkers.ts";
import type { KeeperClient } from "./keeper.ts";
import { World } from "./world.ts";

const seeds = Math.ceil(Number(process.env.MQTTZOO_SEEDS ?? 40) / 10);
/** A broker that has slept so long has been given up: its branch is closed, and its parts are swept. */
const sleepMsMin = 50_000;
const sleepMsMax = 300_000;
const capital = 10_000_000;

interface Trial {
  readonly world: World;
  readonly history: History;
  readonly reader: Actor;
  readonly publisher: PublishingActor;
  /**
   * Calls back, once, when so many parts of a message have been written at the publisher's broker, at their last
   * commit.
   */
  onPart(number: number, then: (id: string) => void): void;
}

async function begin(seed: number, mailDrop: readonly string[] = []): Promise<Trial> {
  const world = new World(seed, { hasLarge: true, bankCapital: capital, mailDrop });
  const history = new History();
  for (const id of ["a", "b", "c"]) await world.node(id).startIn(world);
  const reader = new Actor("reader", { world, history, subscribe: "sim/#", at: ["b"] });
  const publisher = new PublishingActor("p1", { world, history, qos: 1, isBrief: true, at: ["a"] });
  for (const actor of [reader, publisher]) actor.live();
  expect(await world.pass(20_000, () => reader.isReady && publisher.isReady)).toBe(true);
  reader.isAway = true;
  reader.leave();
  await world.pass(1000);
  const onPart: Trial["onPart"] = (number, then) => {
    world.keeper.afterWrite = (client: KeeperClient, operations: readonly WriteOperation[]) => {
      const part = operations.find(({ path }) => /^\/parts\/[^/]+\/[^/]+$/.test(path));
      if (part?.kind !== "create" || !world.node("a").owns(client)) return;
      const [, , id, name] = part.path.split("/");
      if (Number(name) !== number) return;
      world.keeper.afterWrite = () => {};
      then(id!);
    };
  };
  return { world, history, reader, publisher, onPart };
}

/** Everything that was acknowledged has come, in its order; nothing is left that is nobody's. */
async function expectAll({ world, history, reader, publisher }: Trial): Promise<void> {
  publisher.isBusy = false;
  expect(await world.pass(60_000, () => !publisher.up || publisher.isSettled)).toBe(true);
  expect(world.node("a").isUp).toBe(true);
  reader.isAway = false;
  expect(await world.pass(60_000, () => reader.up && history.judge("reader").length === 0)).toBe(true);
  expect(history.acknowledgedCount).toBeGreaterThan(0);
  // What nobody names, though its broker lives, is kept for ten minutes.
  await world.pass(1_500_000);
  expect(unequalRetained(world, history)).toEqual([]);
  expect(orphanParts(world)).toEqual([]);
  expect([...(await overdrawn(world)), ...(await lostCredits(world))]).toEqual([]);
}

test.each([
  ["in a mailbox", []],
  ["in a mail drop", ["sim/#"]],
] as const)(
  "what is kept %s, and retained: a broker sleeps between two parts, longer than any sweep",
  async (_, drops) => {
    for (let seed = 1; seed <= seeds; seed++) {
      const trial = await begin(seed, drops);
      const { world, publisher } = trial;
      let isAsleep = false;
      trial.onPart(seed % 3, () => {
        isAsleep = true;
        world.node("a").sleep();
      });
      publisher.isBusy = true;
      publisher.work();
      expect(await world.pass(10_000, () => isAsleep)).toBe(true);
      publisher.isBusy = false;
      await world.pass(sleepMsMin + world.random.next() * (sleepMsMax - sleepMsMin));
      world.node("a").wakeUp();
      await world.pass(15_000);
      await expectAll(trial);
    }
  },
  300_000,
);

test("parts that somebody else has removed are written anew, and nothing overtakes their message", async () => {
  for (let seed = 1; seed <= 3 * seeds; seed++) {
    const trial = await begin(seed);
    const { world, history, publisher } = trial;
    let removed = 0;
    const remove = (): void =>
      trial.onPart(1 + (seed % 3), (id) => {
        // As a teller of an older version does, which does not know whether a message is about to claim them.
        const path = `/parts/${id}/000${seed % 2}`;
        const left = seed % 5 === 0 ? world.random.next() * 3 : 0;
        world.after(left, () => {
          // It is set once when the first part is written, and once more when a message claims them.
          const isClaimed = world.keeper.tree.nodes.get(`/parts/${id}`)!.version > 1;
          if (!isClaimed) world.keeper.tree.write([{ kind: "delete", path, version: -1 }], {});
          if (!isClaimed) removed++;
          if (removed < 3) remove();
        });
      });
    remove();
    publisher.isBusy = true;
    publisher.work();
    expect(await world.pass(30_000, () => removed === 3)).toBe(true);
    await world.pass(1000);
    expect(history.isOrdered).toBe(true);
    await expectAll(trial);
  }
}, 300_000);
