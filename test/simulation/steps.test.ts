/**
 * Every step of store, deliver, refund, grant and close, and whoever takes it dies there: a plain story is told once to
 * count the writes that reach the keeper, and then again for each of them: with the broker killed just before the write
 * takes effect, just after it, before it hears of it, and with all brokers cut off from the keeper at that moment.
 * Afterwards nothing acknowledged is lost, the audit balances, and no credit is lost for good.
 */
import { expect, test } from "bun:test";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { orphanPartsBusyMs } from "../../src/base/limits.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import type { BrokerNode } from "./broker-node.ts";
import { creditLooksMax, creditsStillLost, leftovers, orphanParts, overdrawn } from "./checkers.ts";
import type { KeeperClient } from "./keeper.ts";
import { World } from "./world.ts";

const faults = ["killed before", "killed after", "no keeper after"] as const;
const kinds = ["store", "deliver", "refund", "grant", "close"] as const;
type Kind = (typeof kinds)[number];

interface Strike {
  readonly at: number;
  readonly fault: (typeof faults)[number];
}

interface Told {
  readonly steps: readonly (ReadonlySet<Kind> | undefined)[];
  readonly wrong: readonly string[];
}

/** MQTTZOO_STEPS tells more stories: each seed's is another one. */
const seeds = Number(process.env.MQTTZOO_STEPS ?? 2);

test("whoever dies at any step of store, deliver, refund, grant or close: nothing is lost, and it balances", async () => {
  for (let seed = 1; seed <= seeds; seed++) await strikeEverywhere(seed);
}, 3_600_000);

async function strikeEverywhere(seed: number): Promise<void> {
  const { steps, wrong } = await tell(seed);
  expect(wrong).toEqual([]);
  for (const kind of kinds) expect(steps.filter((step) => step?.has(kind)).length).toBeGreaterThan(0);
  const found: string[] = [];
  let stories = 0;
  for (let at = 1; at <= steps.length; at++) {
    const kind = [...(steps[at - 1] ?? [])].join(", ");
    if (kind === "") continue;
    for (const fault of faults) {
      const told = await tell(seed, { at, fault });
      stories++;
      found.push(...told.wrong.map((what) => `seed ${seed}, step ${at} (${kind}), ${fault}: ${what}`));
    }
    // One is enough to look into.
    if (found.length > 0) break;
  }
  const counts = kinds.map((kind) => `${kind} ${steps.filter((step) => step?.has(kind)).length}`);
  console.log(`${steps.length} writes: ${counts.join(", ")}; ${stories} stories`);
  expect(found).toEqual([]);
}

/** The kinds of steps that a write takes. */
function kindsOf(operations: readonly WriteOperation[]): Set<Kind> {
  const is = (kind: WriteOperation["kind"], path: RegExp): boolean =>
    operations.some((operation) => operation.kind === kind && path.test(operation.path));
  const found = new Set<Kind>();
  if (is("create", /^\/topics\/.*\/=|^\/parts\/.*\/|^\/retained\//)) found.add("store");
  if (is("set", /\/mail\/\d+$/) || is("delete", /\/mail\/\d+$/) || is("set", /\/left$/)) found.add("deliver");
  if (is("delete", /^\/topics\/.*\/=|^\/parts\/.*\/|^\/retained\//)) found.add("refund");
  if (is("set", /^\/bank$/)) found.add(is("delete", /^\/bank\/branches\//) ? "close" : "grant");
  if (is("set", /^\/bank\/branches\/=/) || is("delete", /^\/bank\/branches\/=/)) found.add("close");
  return found;
}

/** Messages wait for two readers and in a mail drop, are read, and a broker is gone until its branch is closed. */
async function tell(seed: number, strike?: Strike): Promise<Told> {
  const world = new World(seed, { mailDrop: ["sim/p3"], hasLarge: true, bankTtlMax: 3600, bankCapital: 12_000 });
  const history = new History();
  /** One for each write that has come; undefined where it was refused. */
  const steps: (Set<Kind> | undefined)[] = [];
  const nodes = ["a", "b", "c"].map((id) => world.node(id));
  for (const node of nodes) await start(world, node);
  const readers = [
    new Actor("r1", { world, history, subscribe: "sim/#" }),
    new Actor("r2", { world, history, subscribe: "sim/#" }),
  ];
  const publishers = [1, 2, 1].map(
    (qos, index) => new PublishingActor(`p${index + 1}`, { world, history, qos: qos as 1 | 2 }),
  );
  const actors = [...readers, ...publishers];
  for (const actor of actors) actor.live();
  await world.pass(20_000, () => actors.every(({ isReady }) => isReady));
  for (const reader of readers) {
    reader.isAway = true;
    reader.leave();
  }
  await world.pass(1000);
  strikeAt(world, steps, strike);
  for (const publisher of publishers) {
    publisher.work();
    publisher.isBusy = true;
  }
  const wrong: string[] = [];
  await world.pass(20_000, () => history.acknowledgedCount >= 12);
  for (const publisher of publishers) publisher.isBusy = false;
  await world.pass(10_000, () => publishers.every(({ isSettled }) => isSettled));
  for (const reader of readers) reader.isAway = false;
  const isRead = (): boolean => readers.every(({ name, up }) => up && history.judge(name).length === 0);
  await world.pass(20_000, () => isRead() && leftovers(world).length === 0);
  // One is gone until the teller closes its branch, and comes back.
  world.node("c").kill();
  await world.pass(120_000);
  await start(world, world.node("c"));
  // Whoever was struck in the end is back, too.
  await world.pass(20_000, () => nodes.every(({ isUp }) => isUp));
  // Parts of a broker that lives are nobody's for long before they are swept.
  await world.pass(
    orphanPartsBusyMs + 3 * sweepMs,
    () => orphanParts(world).length === 0 && leftovers(world).length === 0,
  );
  wrong.push(...readers.flatMap(({ name }) => history.judge(name)), ...orphanParts(world));
  wrong.push(...leftovers(world).map((path) => `${path} is left`));
  wrong.push(...(await overdrawn(world)), ...(await creditsStillLost(world, creditLooksMax)));
  return { steps, wrong };
}

/** Writes down the steps, and strikes at one. */
function strikeAt(world: World, steps: (Set<Kind> | undefined)[], strike: Strike | undefined): void {
  let arrived = 0;
  const nodeOf = (client: KeeperClient) => [...world.nodes.values()].find((node) => node.owns(client))!;
  const kill = (client: KeeperClient): void => {
    const node = nodeOf(client);
    node.kill();
    world.after(3000, () => begin(node));
  };
  world.keeper.beforeWrite = (client) => {
    arrived++;
    if (strike?.fault === "killed before" && arrived === strike.at) kill(client);
  };
  world.keeper.afterWrite = (client, operations) => {
    steps[arrived - 1] = kindsOf(operations);
    if (strike === undefined || arrived !== strike.at) return;
    if (strike.fault === "killed after") kill(client);
    if (strike.fault !== "no keeper after") return;
    for (const node of world.nodes.values()) node.cutKeeper();
    world.after(500, () => {
      for (const node of world.nodes.values()) node.healKeeper();
    });
  };
}

const starting = new Set<BrokerNode>();

/** Starts a broker; it may be struck meanwhile, and is then started once more. */
function begin(node: BrokerNode): void {
  if (node.isUp || starting.has(node)) return;
  starting.add(node);
  node.start().then(
    () => starting.delete(node),
    () => starting.delete(node),
  );
}

async function start(world: World, node: BrokerNode): Promise<void> {
  begin(node);
  await world.pass(30_000, () => node.isUp);
}
