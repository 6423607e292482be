/**
 * Answers in their order: a read shows no write whose own answer has not been told, however contact is lost. So a slip
 * that is found in a mailbox is never one whose name is still to come (`MailboxNames`).
 */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { childrenOf } from "../../src/coordinator/read-results.ts";
import { World } from "./world.ts";

const seeds = 40;
const steps = 80;

for (const [kind, options] of [
  ["the port", {}],
  ["an ensemble of servers", { ensemble: {} }],
] as const)
  test(`${seeds} seeds with ${kind}`, async () => {
    let [answers, withoutResults] = [0, 0];
    for (let seed = 1; seed <= seeds; seed++) {
      const world = new World(seed, options);
      const node = world.node("a");
      await node.startIn(world);
      const { coordinator } = node.broker!.context;
      const create = (path: string, mode: "persistent" | "sequential"): void =>
        coordinator.write([{ kind: "create", path, data: encodeUtf8("x"), mode }], (_, results) => {
          told++;
          if (results === undefined) withoutResults++;
        });
      let told = -1;
      const early: number[] = [];
      create("/probe", "persistent");
      for (let step = 0; step < steps && node.isUp; step++) {
        const chance = world.random.next();
        if (chance < 0.5) create("/probe/", "sequential");
        else if (chance < 0.8)
          coordinator.read([{ kind: "children", path: "/probe" }], (error, [result]) => {
            answers++;
            if (error === undefined && childrenOf(result).length > told) early.push(step);
          });
        else if (chance < 0.86) node.loseNextAnswer(20 + world.random.next() * 300);
        else if (chance < 0.92) node.resetKeeper();
        else {
          node.cutKeeper();
          world.after(world.random.next() * 600, () => node.healKeeper());
        }
        await world.pass(world.random.next() < 0.5 ? 0 : world.random.next() * 20);
      }
      await world.pass(3000);
      expect([seed, early]).toEqual([seed, []]);
    }
    // It has come to what is doubtful.
    expect([answers > seeds * 10, withoutResults > seeds / 2]).toEqual([true, true]);
  });
