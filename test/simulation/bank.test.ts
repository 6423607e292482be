/** The bank when a broker is gone for long: its branch is closed, and opened again when it wakes up. */
import { expect, test } from "bun:test";
import { noBytes } from "../../src/base/bytes.ts";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { lostCredits, overdrawn } from "./checkers.ts";
import { World } from "./world.ts";

async function worldWithMail(seed: number) {
  const world = new World(seed);
  const history = new History();
  history.isOrdered = false;
  for (const id of ["a", "b", "c"]) await world.node(id).startIn(world);
  const reader = new Actor("reader", { world, history, subscribe: "sim/#" });
  const publishers = [1, 2].map((qos) => new PublishingActor(`p${qos}`, { world, history, qos: qos as 1 | 2 }));
  for (const actor of [reader, ...publishers]) actor.live();
  expect(await world.pass(20_000, () => [reader, ...publishers].every(({ isReady }) => isReady))).toBe(true);
  reader.isAway = true;
  reader.leave();
  for (const publisher of publishers) publisher.work();
  return { world, history, reader, publishers };
}

test("a broker that slept for minutes stores again when it wakes up, and nothing is overdrawn", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { world, history, reader, publishers } = await worldWithMail(seed);
    const work = async (ms: number): Promise<void> => {
      for (const publisher of publishers) publisher.isBusy = true;
      await world.pass(ms);
      for (const publisher of publishers) publisher.isBusy = false;
      await world.pass(5000, () => publishers.every(({ isSettled }) => isSettled));
    };
    await work(300);
    const sleeper = world.node("c");
    // What it was just storing is on its way when it falls asleep.
    for (const publisher of publishers) publisher.isBusy = true;
    await world.pass(100);
    sleeper.sleep();
    for (const publisher of publishers) publisher.isBusy = false;
    await world.pass(150_000);
    const branches = [...world.keeper.tree.nodes.keys()].filter((path) => path.startsWith("/bank/branches/"));
    expect(branches).not.toContain("/bank/branches/c");
    expect(await overdrawn(world)).toEqual([]);
    sleeper.wakeUp();
    // What it was storing arrives now, before it has its branch again.
    for (let step = 0; step < 100; step++) {
      await world.pass(0.5);
      expect(await overdrawn(world)).toEqual([]);
    }
    await world.pass(5000);
    await work(2000);
    expect(await overdrawn(world)).toEqual([]);
    reader.isAway = false;
    await world.pass(
      20_000,
      () => history.judge("reader").length === 0 && publishers.every(({ isSettled }) => isSettled),
    );
    expect(history.judge("reader")).toEqual([]);
    await world.pass(100_000);
    expect([...(await overdrawn(world)), ...(await lostCredits(world))]).toEqual([]);
  }
}, 120_000);

test("clocks that jump by a year, forth or back: what has outlived its time goes, the rest stays, and it balances", async () => {
  const year = 365 * 86_400_000;
  for (const [seed, offset] of [
    [1, year],
    [2, -year],
  ] as const) {
    const { world, history, reader, publishers } = await worldWithMail(seed);
    for (const publisher of publishers) publisher.isBusy = true;
    await world.pass(300);
    for (const publisher of publishers) publisher.isBusy = false;
    await world.pass(5000, () => publishers.every(({ isSettled }) => isSettled));
    const isMessage = (path: string): boolean => /^\/topics\/.*\/=[^/]+$/.test(path);
    const stored = (): number => [...world.keeper.tree.nodes.keys()].filter(isMessage).length;
    const before = stored();
    expect(before).toBeGreaterThan(5);
    for (const clock of [world, ...world.nodes.values()]) clock.wallOffset = offset;
    await hearStoreTime(world);
    await world.pass(200_000);
    expect(stored()).toBe(offset > 0 ? 0 : before);
    reader.isAway = false;
    const isDone = (): boolean => reader.up && (offset > 0 || history.judge("reader").length === 0);
    expect(await world.pass(20_000, isDone)).toBe(true);
    if (offset > 0) expect(history.receivedCount("reader")).toBe(0);
    await world.pass(5000, () => stored() === 0);
    expect(stored()).toBe(0);
    for (const clock of [world, ...world.nodes.values()]) clock.wallOffset = 0;
    await hearStoreTime(world);
    await world.pass(5000);
    expect([...(await overdrawn(world)), ...(await lostCredits(world))]).toEqual([]);
  }
}, 120_000);

test("one broker's clock that is wrong by a year ends nothing early, neither what others keep nor what it stores", async () => {
  const year = 365 * 86_400_000;
  for (const [seed, offset] of [
    [3, year],
    [4, -year],
  ] as const) {
    const { world, history, reader, publishers } = await worldWithMail(seed);
    // The broker with the lowest id is the teller.
    world.node("a").wallOffset = offset;
    await hearStoreTime(world);
    for (const publisher of publishers) publisher.isBusy = true;
    await world.pass(1000);
    for (const publisher of publishers) publisher.isBusy = false;
    expect(await world.pass(5000, () => publishers.every(({ isSettled }) => isSettled))).toBe(true);
    expect(history.acknowledgedCount).toBeGreaterThan(5);
    await world.pass(200_000);
    reader.isAway = false;
    expect(await world.pass(20_000, () => reader.up && history.judge("reader").length === 0)).toBe(true);
    // Whoever pays is told, or looks for what is gone.
    await world.pass(100_000);
    expect([...(await overdrawn(world)), ...(await lostCredits(world))]).toEqual([]);
  }
}, 120_000);

test("a message that costs most of the capital is paid from the vault and from what idle brokers have in reserve", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const world = new World(seed, { bankCapital: 10_000 });
    const history = new History();
    const ids = ["a", "b", "c", "d", "e", "f"];
    for (const id of ids) await world.node(id).startIn(world);
    const reader = new Actor("reader", { world, history, subscribe: "dear/#", at: ["a"] });
    const publisher = new PublishingActor("p1", { world, history, qos: 1, at: ["f"] });
    for (const actor of [reader, publisher]) actor.live();
    expect(await world.pass(20_000, () => reader.isReady && publisher.isReady)).toBe(true);
    reader.isAway = true;
    reader.leave();
    await world.pass(5000);
    const { bankAccount } = world.node("f").broker!.context;
    const others = ids
      .slice(0, -1)
      .reduce((sum, id) => sum + world.node(id).broker!.context.bankAccount.account.free, 0);
    // 8,100 to 8,200 credits: more than the vault has and is free here together.
    const payload = "x".repeat(202_000);
    expect(bankAccount.vault + bankAccount.account.free).toBeLessThan(8_080_000);
    expect(others).toBeGreaterThan(2_000_000);
    let reason: number | undefined;
    publisher.client!.publish("dear/x", payload, { qos: 1 }).then(
      (answer) => {
        reason = answer;
      },
      (error) => {
        reason = error;
      },
    );
    expect(await world.pass(10_000, () => reason !== undefined)).toBe(true);
    expect(reason).toBe(0);
    expect(await overdrawn(world)).toEqual([]);
  }
}, 120_000);

/** Brokers hear what time it is in the store with each commit. */
async function hearStoreTime(world: World): Promise<void> {
  let heard = 0;
  for (const { broker } of world.nodes.values())
    broker!.context.journal.commit([{ kind: "put", path: "/bank/drops", data: noBytes, exists: true }], () => heard++);
  expect(await world.pass(5000, () => heard === world.nodes.size)).toBe(true);
}
