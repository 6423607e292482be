/** One run of the simulated world from a seed: load, faults, healing; and everything that is wrong at its end. */

import { Accounts } from "../../src/bank/accounts.ts";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { orphanPartsBusyMs } from "../../src/base/limits.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import {
  creditLooksMax,
  creditsStillLost,
  idlePrepaid,
  leftovers,
  orphanParts,
  overdrawn,
  refusals,
  tooHeavy,
  unequalRetained,
  unlikeLying,
  unpaidSlips,
  unsettled,
  wrongOwners,
} from "./checkers.ts";
import { Liveness } from "./liveness.ts";
import { World, type WorldOptions } from "./world.ts";

/** Simulated time in which everything must come to rest after the last fault. */
const healMs = 20_000;

/** The time in which pieces of payloads that nobody names have been swept. */
const partsMs = orphanPartsBusyMs + 3 * sweepMs;

/** Less than the shortest time to live: what outlives its time by a clock is lost by right. */
const jumpMsMax = 36_000_000;

/** The time in which the bank's teller has gone through the tree. */
const tellerMs = 70_000;

/** In every other world with mail drops all that is published lies in one; in the others half of it. */
export function dropsOf(seed: number): readonly string[] {
  return seed % 2 === 0 ? ["sim/#"] : ["sim/p1", "sim/p2"];
}

/** Worlds in which mailboxes are soon full, and end their sessions; the bank is rich, so that nobody is refused. */
export function smallMailboxes(seed: number): WorldOptions {
  return { brokerOptions: { maxQueued: 3 + (seed % 20) }, bankCapital: defaultOptions.bankCapital };
}

export interface Outcome {
  readonly seed: number;
  readonly sent: number;
  readonly transactions: number;
  readonly wrong: readonly string[];
}

export async function run(seed: number, options: WorldOptions = {}): Promise<Outcome> {
  const world = new World(seed, options);
  const history = new History();
  const liveness = new Liveness(world);
  history.isOrdered = !world.isPoor;
  for (const id of ["a", "b", "c"]) world.node(id);
  for (const node of world.nodes.values()) await node.startIn(world);
  const publishers = [1, 2, 1, 2].map(
    (qos, index) => new PublishingActor(`p${index + 1}`, { world, history, qos: qos as 1 | 2 }),
  );
  const subscribers = ["s1", "s2", "visitor"].map((name) => new Actor(name, { world, history, subscribe: "sim/#" }));
  const actors = [...publishers, ...subscribers];
  for (const actor of actors) actor.live();
  const ready = await world.pass(20_000, () => actors.every(({ isReady }) => isReady));
  if (!ready) return end(["not everybody could connect at the start"]);
  for (const publisher of publishers) {
    publisher.isBusy = true;
    publisher.work();
  }
  const visitor = subscribers[2]!;
  let isVisiting = true;
  visit(world, visitor, () => isVisiting);
  for (const publisher of publishers) wander(world, publisher, () => isVisiting);
  const faults = 2 + Math.floor(world.random.next() * 4);
  for (let fault = 0; fault < faults; fault++) {
    await world.pass(200 + world.random.next() * 1500);
    await misfortune(world);
  }
  await world.pass(500);
  isVisiting = visitor.isAway = false;
  for (const publisher of publishers) publisher.isBusy = false;
  const wrongLate: string[] = [];
  const names = subscribers.map(({ name }) => name);
  const wrong = (): string[] => names.flatMap((name) => history.judge(name));
  const rests = (): boolean =>
    actors.every(({ up }) => up) && publishers.every(({ isSettled }) => isSettled) && leftovers(world).length === 0;
  const healed = await world.pass(healMs, rests);
  // What is wrong now stays wrong, or would come too late.
  await world.pass(1000);
  const states = actors.map((actor) => `${actor.name}:${actor.up ? "up" : "down"}:${actor.session.outgoing.size}`);
  const restless = healed ? [] : [`not at rest: ${states.join(" ")}; left: ${leftovers(world).slice(0, 6).join(" ")}`];
  if (healed && world.mailDrop.length > 0) wrongLate.push(...(await comeLate(world)));
  // What is done now and then may be under way just now.
  if (healed) await world.pass(1000, () => unsettled(world).length === 0);
  const state = healed
    ? [...wrongOwners(world), ...unsettled(world), ...unequalRetained(world, history), ...refusals(world)]
    : [];
  state.push(...(await overdrawn(world)), ...(await tooHeavy(world)), ...unpaidSlips(world));
  // The teller has looked through everything, and what was not told has been found out.
  await world.pass(tellerMs);
  state.push(...(await overdrawn(world)));
  const lost = await creditsStillLost(world, healed ? creditLooksMax : 0);
  if (healed) state.push(...lost, ...idlePrepaid(world));
  // Nobody's parts are removed when it is sure that nobody will ever name them.
  await world.pass(partsMs, () => orphanParts(world).length === 0);
  state.push(...orphanParts(world));
  return end([...actors.flatMap(({ untold }) => untold), ...wrong(), ...wrongLate, ...restless, ...state]);

  function end(found: string[]): Outcome {
    const wrong = [...found, ...liveness.end()];
    return { seed, sent: history.sent.length, transactions: world.keeper.tree.transactions, wrong };
  }
}

/** Milli-credits that the operator deposits then. */
const lateCredits = 1_000_000_000;

/** Checks that a client which subscribes when all is over is handed what lies in mail drops. */
async function comeLate(world: World): Promise<string[]> {
  const history = new History();
  // What lies there may bind all that the bank had, and who comes has to pay, too.
  let isRich = false;
  const { coordinator } = [...world.nodes.values()].find(({ isUp }) => isUp)!.broker!.context;
  new Accounts(coordinator).changeCapital(lateCredits, {}, () => {
    isRich = true;
  });
  await world.pass(5000, () => isRich);
  const late = [true, false].map(
    (isBrief) => new Actor(isBrief ? "guest" : "settler", { world, history, subscribe: "sim/#", isBrief }),
  );
  for (const actor of late) actor.live();
  const judged = (): string[] => late.flatMap(({ name }) => unlikeLying(world, name, history.receivedBy(name)));
  await world.pass(15_000, () => judged().length === 0);
  // Nothing comes twice, either.
  await world.pass(1000);
  const wrong = judged();
  for (const actor of late) {
    actor.isAway = true;
    actor.leave();
  }
  return wrong;
}

/** A publisher that changes brokers at once, now and then. */
function wander(world: World, publisher: Actor, goesOn: () => boolean): void {
  world.after(500 + world.random.next() * 4000, () => {
    if (!goesOn()) return;
    publisher.hop();
    wander(world, publisher, goesOn);
  });
}

/** A subscriber that comes and goes, as long as it is told to. */
function visit(world: World, visitor: Actor, goesOn: () => boolean): void {
  if (!goesOn()) return;
  visitor.isAway = !visitor.isAway;
  if (visitor.isAway) visitor.leave();
  world.after(visitor.isAway ? 100 + world.random.next() * 600 : 400 + world.random.next() * 1500, () =>
    visit(world, visitor, goesOn),
  );
}

type Misfortune = (world: World) => Promise<void>;

const misfortunes: readonly Misfortune[] = [
  // A broker dies and comes back: at once, or after its session has ended.
  async (world) => {
    const node = pick(world);
    node.kill();
    await world.pass(world.random.next() < 0.4 ? world.random.next() * 300 : 2500 + world.random.next() * 2000);
    await node.startIn(world);
  },
  // A broker sleeps, for a moment or for longer than its session.
  async (world) => {
    const node = pick(world);
    node.sleep();
    await world.pass(world.random.next() < 0.5 ? world.random.next() * 1500 : 2500 + world.random.next() * 3000);
    node.wakeUp();
  },
  // A link is cut.
  async (world) => {
    const node = pick(world);
    const other = pick(world);
    if (node === other) return;
    node.cutFrom.add(other.id);
    await world.pass(world.random.next() * 6000);
    node.cutFrom.delete(other.id);
  },
  // One broker, or all of them, have no contact with the keeper.
  async (world) => {
    const nodes = world.random.next() < 0.5 ? [pick(world)] : [...world.nodes.values()];
    for (const node of nodes) node.cutKeeper();
    await world.pass(world.random.next() * 5000);
    for (const node of nodes) node.healKeeper();
  },
  // The keeper elects another leader: nobody has contact for a moment, no session ends.
  async (world) => {
    for (const node of world.nodes.values()) node.cutKeeper();
    await world.pass(50 + world.random.next() * 400);
    for (const node of world.nodes.values()) node.healKeeper();
  },
  // A commit takes effect, and its answer is lost.
  async (world) => {
    pick(world).loseNextAnswer(20 + world.random.next() * 1500);
    await world.pass(1500);
  },
  // The connections of all clients of a broker are half-open for a while.
  async (world) => {
    const node = pick(world);
    node.cutClients();
    await world.pass(world.random.next() * 3000);
    node.healClients();
  },
  // The keeper removes empty containers, as it does now and then.
  async (world) => world.keeper.tree.sweepContainers(),
];

/** A broker's wall clock is wrong for a while. */
const jump: Misfortune = async (world) => {
  const node = pick(world);
  node.wallOffset = (2 * world.random.next() - 1) * jumpMsMax;
  await world.pass(world.random.next() * 4000);
  node.wallOffset = 0;
};

function pick(world: World) {
  const nodes = [...world.nodes.values()];
  return nodes[Math.floor(world.random.next() * nodes.length)]!;
}

async function misfortune(world: World): Promise<void> {
  const choice = world.hasJumps ? [...misfortunes, jump, jump] : misfortunes;
  await choice[Math.floor(world.random.next() * choice.length)]!(world);
}
