/**
 * One run of the wide world: brokers that speak to an ensemble through the product's own client, clients of all kinds, and
 * faults by the seed's plan, of which two may happen at once; then healing, and everything that is wrong at the end.
 */
import { orphanPartsBusyMs, sweepMs } from "../../src/base/limits.ts";
import type { Log } from "../../src/base/log.ts";
import { defaultOptions } from "../../src/broker/options.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { leftovers, lostCredits, orphanParts, overdrawn, unequalRetained, unsettled, wrongOwners } from "./checkers.ts";
import { BriefActor, lostToGroup, TimedHistory } from "./groups.ts";
import { Liveness } from "./liveness.ts";
import { healAll, type Plan, planOf } from "./plan.ts";
import { StatusActor, StatusWatcher, untruePresence } from "./presence.ts";
import { seeded, World } from "./world.ts";

export interface WideOptions {
  readonly log?: Log | undefined;
  /** Plays these of the plan's faults alone, by their numbers. */
  readonly only?: readonly number[] | undefined;
  /** Judges what is said of devices too: whether they are there. */
  readonly judgesPresence?: boolean | undefined;
}

export interface WideOutcome {
  readonly seed: number;
  readonly sent: number;
  readonly transactions: number;
  /** What was played, in its order. */
  readonly played: readonly string[];
  readonly wrong: readonly string[];
}

/** Simulated time in which everything must come to rest after the last fault. */
const healMs = 40_000;
/** ... and in which the bank's teller has gone through the tree. */
const tellerMs = 70_000;
/** Messages of one publisher, about, however long the faults take. */
const messagesEach = 120;

export function wideWorld(seed: number, { log }: WideOptions = {}): { world: World; plan: Plan } {
  const plan = planOf(seeded(seed ^ 0x5eed));
  const { traits } = plan;
  const world = new World(seed, {
    log,
    ensemble: { observers: traits.observers, sequenceStart: traits.sequenceStart },
    bankCapital: traits.isPoor ? 3000 : defaultOptions.bankCapital,
    hasLarge: traits.hasLarge,
    wireBytesMax: traits.wireBytesMax,
    mailDrop: traits.hasDrops ? ["sim/p1"] : [],
    brokerOptions: { drainTime: 1 },
  });
  return { world, plan };
}

export async function runWide(seed: number, options: WideOptions = {}): Promise<WideOutcome> {
  const { world, plan } = wideWorld(seed, options);
  const played: string[] = [];
  const history = new TimedHistory(() => world.now());
  const liveness = new Liveness(world);
  history.isOrdered = !plan.traits.isPoor;
  for (const id of ["a", "b", "c"]) {
    const node = world.node(id);
    node.live();
    await world.pass(30_000, () => node.isUp);
    node.restartsAfter = 1000;
  }
  const people = new People(world, history, plan);
  const { actors } = people;
  for (const actor of actors) actor.live();
  const ready = await world.pass(20_000, () => actors.every(({ isReady }) => isReady));
  if (!ready) return end([`not everybody could connect at the start: ${people.states()}`]);
  const since = world.now();
  people.begin();
  for (const [number, fault] of plan.faults.entries()) {
    if (options.only !== undefined && !options.only.includes(number)) continue;
    world.after(fault.at, () => {
      played.push(`${Math.round(world.now())} ms: ${number}: ${fault.name} for ${Math.round(fault.forMs)} ms`);
      world.after(fault.forMs, fault.begin(world));
    });
  }
  await world.pass(plan.totalMs + 500);
  healAll(world);
  people.settle();
  const rests = (): boolean => people.isAtRest && leftovers(world).length === 0;
  const healed = await world.pass(healMs, rests);
  // What is wrong now stays wrong, or would come too late.
  await world.pass(3000);
  const restless = healed ? [] : [`not at rest: ${people.states()}; left: ${leftovers(world).slice(0, 6).join(" ")}`];
  // What is done now and then may be under way just now.
  if (healed) await world.pass(1000, () => unsettled(world).length === 0);
  const state = healed ? [...wrongOwners(world), ...unsettled(world), ...unequalRetained(world, history)] : [];
  state.push(...(await overdrawn(world)));
  // The teller has looked through everything, and what was not told has been found out.
  await world.pass(tellerMs);
  state.push(...(await overdrawn(world)));
  // Where a bank is poor its branches go on asking each other: some credits may be on their way just now.
  let lost = await lostCredits(world);
  for (let look = 0; healed && lost.length > 0 && look < 50; look++) {
    await world.pass(77);
    lost = await lostCredits(world);
  }
  if (healed) state.push(...lost);
  // Nobody's parts are removed when it is sure that nobody will ever name them.
  await world.pass(orphanPartsBusyMs + 3 * sweepMs, () => orphanParts(world).length === 0);
  state.push(...orphanParts(world));
  const untrue = options.judgesPresence === true ? people.untrue() : [];
  return end([...people.wrong(since), ...untrue, ...restless, ...state]);

  function end(found: readonly string[]): WideOutcome {
    const { ended, failedStarts, ensemble } = world;
    const destroyed = ensemble!.destroyed === undefined ? [] : [`the ensemble is lost: ${ensemble!.destroyed}`];
    const refused = failedStarts.filter((why) => !why.includes("cannot reach ZooKeeper"));
    const wrong = [...destroyed, ...ended, ...refused, ...liveness.end(), ...found];
    return { seed, sent: history.sent.length, transactions: ensemble!.log.length, played, wrong };
  }
}

/** Leaves out one fault after the other, as long as something is wrong all the same. */
export async function shrink(seed: number, options: WideOptions): Promise<WideOutcome> {
  let only = wideWorld(seed).plan.faults.map((_, number) => number);
  let outcome = await runWide(seed, { ...options, only });
  for (const number of [...only]) {
    const without = only.filter((other) => other !== number);
    const smaller = await runWide(seed, { ...options, only: without });
    if (smaller.wrong.length === 0) continue;
    only = without;
    outcome = smaller;
  }
  return outcome;
}

/** All clients of a wide world. */
class People {
  readonly actors: readonly Actor[];
  readonly publishers: readonly PublishingActor[];
  readonly #world: World;
  readonly #history: TimedHistory;
  readonly #plan: Plan;
  readonly #subscribers: readonly Actor[];
  readonly #visitor: Actor;
  readonly #members: readonly Actor[];
  readonly #brief: BriefActor;
  readonly #devices: readonly StatusActor[];
  readonly #watcher: StatusWatcher;
  #isRestless = true;

  constructor(world: World, history: TimedHistory, plan: Plan) {
    this.#world = world;
    this.#history = history;
    this.#plan = plan;
    const pace = Math.max(60, (2 * plan.totalMs) / messagesEach);
    const all = { world, history };
    this.publishers = [1, 2, 1, 2].map(
      (qos, index) => new PublishingActor(`p${index + 1}`, { ...all, qos: qos as 1 | 2, pace }),
    );
    const narrow = { properties: { receiveMaximum: 2 } };
    this.#subscribers = ["s1", "s2", "visitor"].map(
      (name) => new Actor(name, { ...all, subscribe: "sim/#", ...(name === "s2" ? { connection: narrow } : {}) }),
    );
    this.#visitor = this.#subscribers[2]!;
    this.#members = ["g1", "g2", "g3"].map(
      (name) => new Actor(name, { ...all, subscribe: "$share/g/sim/#", isBrief: name === "g3" }),
    );
    this.#brief = new BriefActor("brief", { ...all, subscribe: "sim/#", isBrief: true });
    // A poor bank refuses what they say.
    const count = plan.traits.isPoor ? 0 : 4;
    this.#devices = Array.from(
      { length: count },
      (_, index) => new StatusActor(`d${index}`, { ...all, isBrief: index % 2 === 0, willDelay: index < 2 ? 0 : 2 }),
    );
    this.#watcher = new StatusWatcher("watcher", { ...all, subscribe: "status/#" });
    const watchers = [...this.#members, this.#brief, this.#watcher];
    this.actors = [...this.publishers, ...this.#subscribers, ...watchers, ...this.#devices];
  }

  begin(): void {
    for (const publisher of this.publishers) {
      publisher.isBusy = true;
      publisher.work();
      this.#wander(publisher, 4000);
    }
    this.#visit(this.#visitor);
    this.#visit(this.#members[1]!);
    for (const device of this.#devices) this.#wander(device, 6000);
    this.#wander(this.#brief, 9000);
    this.#wander(this.#members[2]!, 5000);
    for (const reader of this.#subscribers) this.#dawdle(reader);
  }

  /** Nobody begins anything new; some devices go for good. */
  settle(): void {
    this.#isRestless = false;
    this.#visitor.isAway = this.#members[1]!.isAway = false;
    for (const publisher of this.publishers) publisher.isBusy = false;
    const [first, second] = this.#devices;
    const go = (device: StatusActor, how: "with a word" | "without a word"): void => {
      device.goForGood(how);
      if (!device.isAway) this.#world.after(100, () => go(device, how));
    };
    if (first !== undefined) this.#world.after(this.#world.random.next() * 3000, () => go(first, "without a word"));
    if (second !== undefined) this.#world.after(this.#world.random.next() * 3000, () => go(second, "with a word"));
  }

  get isAtRest(): boolean {
    return (
      this.actors.every(({ up, isAway }) => up || isAway) &&
      this.publishers.every(({ isSettled }) => isSettled) &&
      this.#devices.every(({ isSettled }) => isSettled) &&
      this.#devices.slice(0, 2).every(({ isAway }) => isAway)
    );
  }

  states(): string {
    return this.actors
      .map(({ name, up, session }) => `${name}:${up ? "up" : "down"}:${session.outgoing.size}`)
      .join(" ");
  }

  /** What is wrong with what they have got; `since`: everybody had subscribed. */
  wrong(since: number): string[] {
    const history = this.#history;
    return [
      ...this.#subscribers.flatMap(({ name }) => history.judge(name)),
      ...lostToGroup(history, this.#members, since),
    ];
  }

  /** What is wrong with what is said of the devices. */
  untrue(): string[] {
    return untruePresence(this.#world, this.#devices, this.#watcher);
  }

  /** Changes brokers at once, now and then; the old one hears of it, or does not. */
  #wander(actor: Actor, everyMs: number): void {
    const { random } = this.#world;
    this.#world.after(500 + random.next() * everyMs * this.#slowness, () => {
      if (!this.#isRestless) return;
      if (random.next() < 0.4) actor.roam();
      else actor.hop();
      this.#wander(actor, everyMs);
    });
  }

  /** Comes and goes. */
  #visit(visitor: Actor): void {
    if (!this.#isRestless) return;
    visitor.isAway = !visitor.isAway;
    if (visitor.isAway) visitor.leave();
    const { random } = this.#world;
    const ms = visitor.isAway ? 100 + random.next() * 600 : 400 + random.next() * 1500;
    this.#world.after(ms * this.#slowness, () => this.#visit(visitor));
  }

  /** Does not read for a while, now and then. */
  #dawdle(reader: Actor): void {
    const { random } = this.#world;
    this.#world.after((1000 + random.next() * 8000) * this.#slowness, () => {
      if (!this.#isRestless) return;
      reader.dawdle(random.next() * 1500);
      this.#dawdle(reader);
    });
  }

  /** Where the faults take minutes, people take their time. */
  get #slowness(): number {
    return Math.max(1, this.#plan.totalMs / 20_000);
  }
}
