/**
 * One run of the wide world: brokers that speak to an ensemble through the product's own client, clients of all kinds,
 * and faults by the seed's plan, of which two may happen at once; then healing, and everything that is wrong at the
 * end.
 */
import { sweepMs } from "../../src/base/bank-limits.ts";
import { connectDeadlineMs, orphanPartsBusyMs } from "../../src/base/limits.ts";
import type { Log } from "../../src/base/log.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import { hoards } from "./bounds.ts";
import { type BrokerCode, thisVersion } from "./broker-code.ts";
import {
  creditLooksMax,
  creditsStillLost,
  emptyLevels,
  idlePrepaid,
  isShortOfCredits,
  leftovers,
  orphanParts,
  overdrawn,
  refusals,
  tooHeavy,
  unequalRetained,
  unpaidSlips,
  unsettled,
  wrongOwners,
} from "./checkers.ts";
import { TimedHistory } from "./groups.ts";
import { Liveness } from "./liveness.ts";
import { People } from "./people.ts";
import { healAll, type MailboxTraits, mailboxOf, type Plan, planOf } from "./plan.ts";
import { seeded, World } from "./world.ts";

export interface WideOptions {
  readonly log?: Log | undefined;
  /** Some brokers run this at first, and are upgraded, and rolled back. */
  readonly older?: BrokerCode | undefined;
  /** The wall clocks of brokers are wrong by up to so much, all the time, in ms; they drift apart, too. */
  readonly skewMs?: number | undefined;
  /** How much mailboxes take, and what becomes of full ones; undefined: the seed says it. */
  readonly mailboxes?: MailboxTraits | undefined;
  /** Clients connect anew before they are answered, now and then; undefined: the seed says it. */
  readonly areHasty?: boolean | undefined;
  /** Some readers subscribe at QoS 1; undefined: the seed says it. */
  readonly readsAtQoS1?: boolean | undefined;
  /** Plays these of the plan's faults alone, by their numbers. */
  readonly only?: readonly number[] | undefined;
}

export interface WideOutcome {
  readonly seed: number;
  readonly sent: number;
  readonly transactions: number;
  /** The faults that were played, in their order. */
  readonly played: readonly string[];
  readonly wrong: readonly string[];
}

/** Simulated time in which everything must come to rest after the last fault. */
const healMs = 40_000;
/** The time in which the bank's teller has gone through the tree. */
const tellerMs = 70_000;
/** A session owns a handful of ephemeral nodes, whatever clients do. */
const transactionBytesMax = 16 * 1024;

/** Mailboxes that no world fills. */
export const largeMailboxes = { maxQueued: defaultOptions.maxQueued, mailboxFull: "end" } as const;

export function wideWorld(
  seed: number,
  // Brokers of format 1 lock out a new client id that two connections ask for at once.
  { log, older, mailboxes, areHasty = older === undefined && seed % 4 === 1, readsAtQoS1 }: WideOptions = {},
): { world: World; plan: Plan } {
  const drawn = planOf(seeded(seed ^ 0x5eed), { isMixed: older !== undefined });
  // Brokers of format 1 end no sessions.
  const mailbox = mailboxes ?? (older === undefined ? mailboxOf(seeded(seed ^ 0xf111)) : largeMailboxes);
  // Where publishes are refused wills are, too.
  const { isPoor, hasDevices, filters } = drawn.traits;
  const traits = {
    ...drawn.traits,
    hasDevices: hasDevices && mailbox.mailboxFull !== "refuse",
    // A poor bank cannot pay for what hundreds of filters make the store keep, and nobody else would get in.
    filters: isPoor ? 0 : filters,
    readsAtQoS1: readsAtQoS1 ?? drawn.traits.readsAtQoS1,
  };
  const plan = { ...drawn, traits };
  const world = new World(seed, {
    log,
    older,
    ensemble: { observers: traits.observers, sequenceStart: traits.sequenceStart, transactionBytesMax },
    bankCapital: traits.isPoor ? 5000 : defaultOptions.bankCapital,
    hasLarge: traits.hasLarge,
    // By a chance of its own, so that all else in these worlds is as it was.
    uneven: seed % 3 === 0 ? seeded(seed ^ 0x7a9e5) : undefined,
    haste: areHasty ? seeded(seed ^ 0x4a57e) : undefined,
    wireBytesMax: traits.wireBytesMax,
    mailDrop: traits.hasDrops ? ["sim/p1"] : [],
    brokerOptions: { drainTime: 1, ...mailbox },
  });
  return { world, plan };
}

export async function runWide(seed: number, options: WideOptions = {}): Promise<WideOutcome> {
  const { world, plan } = wideWorld(seed, options);
  const played: string[] = [];
  const history = new TimedHistory(() => world.now());
  const liveness = new Liveness(world);
  const nextSkew = skewsOf(seed, options);
  // Where publishes are refused, since the bank or a mailbox's numbers are short, they are sent again later.
  history.isOrdered = !plan.traits.isPoor && plan.traits.sequenceStart === 0 && !isRefusing(world);
  for (const id of ["a", "b", "c"]) {
    const node = world.node(id);
    node.wallSkew = nextSkew();
    if (options.older !== undefined && world.random.next() < 0.7) node.code = options.older;
    node.live();
    await world.pass(30_000, () => node.isUp);
    node.restartsAfter = 1000;
  }
  const isMixed = options.older !== undefined;
  const people = new People({ world, history, plan, areClocksWrong: options.skewMs !== undefined, isMixed });
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
  await upgradeAll(world);
  people.settle();
  const rests = (): boolean =>
    people.isAtRest && leftovers(world).length === 0 && [...world.nodes.values()].every(({ isUp }) => isUp);
  const healed = await world.pass(healMs, rests);
  // What is wrong now stays wrong, or would come too late.
  await world.pass(3000);
  const restless = healed ? [] : [`not at rest: ${people.states()}; left: ${leftovers(world).slice(0, 6).join(" ")}`];
  const isQuiet = healed && !isShortOfCredits(world);
  // What is done now and then may be under way just now; clients that cannot be paid for go on connecting, and the
  // CONNECT of a hasty one may have been lost, which is waited for.
  const hoarded = (): string[] => hoards(world, people.actors.length);
  if (isQuiet)
    await world.pass(connectDeadlineMs + 1000, () => unsettled(world).length === 0 && hoarded().length === 0);
  const state = isQuiet ? [...wrongAtRest(world, history), ...hoarded()] : [];
  state.push(...(await overdrawn(world)));
  if (options.older === undefined) state.push(...(await tooHeavy(world)), ...unpaidSlips(world));
  people.sendGuestsHome();
  // The teller has looked through everything, and what was not told has been found out.
  await world.pass(tellerMs);
  state.push(...(await overdrawn(world)));
  const lost = await creditsStillLost(world, isQuiet ? creditLooksMax : 0);
  if (isQuiet) state.push(...lost, ...idlePrepaid(world));
  // Nobody's parts are removed when it is sure that nobody will ever name them.
  await world.pass(orphanPartsBusyMs + 3 * sweepMs, () => orphanParts(world).length === 0);
  state.push(...orphanParts(world), ...emptyLevels(world));
  return end([...people.wrong(since), ...restless, ...state]);

  function end(found: readonly string[]): WideOutcome {
    const { ended, failedStarts, ensemble } = world;
    const destroyed = ensemble!.destroyed === undefined ? [] : [`the ensemble is lost: ${ensemble!.destroyed}`];
    const refused = failedStarts.filter((why) => !why.includes("cannot reach ZooKeeper"));
    const wrong = [...destroyed, ...ended, ...refused, ...liveness.end(), ...found];
    return { seed, sent: history.sent.length, transactions: ensemble!.log.length, played, wrong };
  }
}

/** Returns true if a full mailbox has publishes refused. */
function isRefusing({ brokerOptions }: World): boolean {
  return brokerOptions.mailboxFull === "refuse";
}

/** Finds what is not as it must be when nothing is under way. */
function wrongAtRest(world: World, history: TimedHistory): string[] {
  return [...wrongOwners(world), ...unsettled(world), ...unequalRetained(world, history), ...refusals(world)];
}

/** Returns by how much the next broker's clock is wrong, in ms. */
function skewsOf(seed: number, { skewMs = 0 }: WideOptions): () => number {
  const random = seeded(seed);
  return () => (2 * random.next() - 1) * skewMs;
}

/** In the end all brokers are of this version: what is judged is inside them, too. */
async function upgradeAll(world: World): Promise<void> {
  for (const node of world.nodes.values()) {
    await world.pass(30_000, () => node.isUp);
    if (!node.isForeign) continue;
    node.code = thisVersion;
    node.kill();
    node.live();
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
