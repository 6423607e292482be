/** Shares in the simulated world: nobody holds more than his at all brokers together, whoever dies or sleeps. */
import { expect, test } from "bun:test";
import { milli } from "../../src/bank/price.ts";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { greedy, holdings } from "./checkers.ts";
import { World } from "./world.ts";

const bankCapital = 30_000;
const bankShare = 25;
/** More with MQTTZOO_SHARE_SEEDS. */
const seeds = Number(process.env.MQTTZOO_SHARE_SEEDS ?? 2);
const users = ["alice", "bob"];

test("users flood three brokers at once, which die, sleep and lose their branches: none holds more than his share", async () => {
  let most = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const world = new World(seed, { bankCapital, hasUsers: true, brokerOptions: { bankShare, bankWait: 2 } });
    const history = new History();
    const ids = ["a", "b", "c"];
    for (const id of ids) await world.node(id).startIn(world);
    const reader = new Actor("reader", { world, history, subscribe: "sim/#", connection: { username: "reader" } });
    const publishers = users.flatMap((username) =>
      ids.map((id) => {
        const how = { world, history, qos: 1, pace: 20, at: [id], connection: { username } } as const;
        return new PublishingActor(`${username}-${id}`, how);
      }),
    );
    for (const actor of [reader, ...publishers]) actor.live();
    expect(await world.pass(20_000, () => reader.isReady)).toBe(true);
    reader.isAway = true;
    reader.leave();
    for (const publisher of publishers) {
      publisher.work();
      publisher.isBusy = true;
    }
    const pass = async (steps: number, ms: number): Promise<void> => {
      for (let step = 0; step < steps; step++) {
        await world.pass(ms);
        expect({ seed, wrong: await greedy(world, bankShare) }).toEqual({ seed, wrong: [] });
      }
    };
    await pass(100, 50);
    const held = await holdings(world);
    for (const user of users) most = Math.max(most, held.get(user) ?? 0);
    const [victim, sleeper] = [world.node("a"), world.node("b")];
    victim.kill();
    await pass(20, 50);
    await victim.startIn(world);
    // Its branch is closed meanwhile, and what it was storing arrives when it wakes up.
    sleeper.sleep();
    await pass(15, 10_000);
    sleeper.wakeUp();
    await pass(100, 50);
    // What is read comes back, and is used again at whichever broker.
    reader.isAway = false;
    await pass(40, 100);
    reader.isAway = true;
    reader.leave();
    await pass(60, 50);
  }
  // It is no small matter: shares are used up.
  expect(most).toBeGreaterThan(0.8 * (bankShare / 100) * bankCapital * milli);
}, 240_000);
