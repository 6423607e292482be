/**
 * The rounds of the nemesis: misfortunes by chance under load, and after each round everything must heal, and is
 * judged; at the end, whether memory and store have stayed what they were.
 */
import { existsSync } from "node:fs";
import type { Random } from "../../src/base/random.ts";
import { residentBytes } from "../bench/process.ts";
import { eventually } from "../support/broker.ts";
import type { BrokerProcess } from "./broker-process.ts";
import { healMaxMs, Load } from "./load.ts";
import type { Misfortune } from "./misfortunes.ts";
import type { Starvation } from "./starvation.ts";

/** Memory may grow by this part and this much from the first third of a long run to its last. */
const memoryGrowthMax = 1.25;
const memoryGrowthMegabytes = 60;
/** The number of rounds that make a long run. */
const longRunRounds = 9;
/** How often, and how many times, it is looked whether the store has come to rest. */
const restLookMs = 500;
const restLooksMax = 60;
/** A wait for a processor that is named where something is wrong. */
const starvedMs = 200;

export interface NemesisOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly say: (line: string) => void;
  /** Only this misfortune, by its word in `misfortunes.ts`. */
  readonly only?: string | undefined;
}

/** Where it happens: brokers, their store, and what may befall them. */
export interface Stage {
  readonly seats: readonly BrokerProcess[];
  readonly starvation: Starvation;
  /** The length of each payload; as short as may be, if it is not given. */
  readonly payloadBytes?: number;
  /** Lets one or two misfortunes happen; resolves with them when all is made good. */
  suffer(): Promise<readonly Misfortune[]>;
  /** Returns everything that is wrong with the bank. */
  audit(): Promise<string[]>;
  /** Describes the mail that waits, where somebody misses something. */
  describeMail(): Promise<string[]>;
  /** Measures the store, at rest. */
  measure(): Promise<readonly Figure[]>;
  /** Everything that is wrong with how brokers have ended, and what they have said. */
  wrong(): string[];
  stop(): Promise<void>;
}

/** A measurement of the store at rest: it may be larger than after the first round, by no more than `growthMax`. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly growthMax: number;
  /** The most that it may ever be. */
  readonly most?: number;
}

/** Measurements at rest, after a round. */
export interface Rest {
  /** Resident memory of the brokers, in MB. */
  readonly megabytes: readonly number[];
  readonly figures: readonly Figure[];
}

/** Returns everything that is wrong; stops after the first round in which something is. Ends the stage. */
export async function play(stage: Stage, random: Random, { seed, minutes, say }: NemesisOptions): Promise<string[]> {
  const load = new Load(stage, random, stage.payloadBytes);
  const rests: Rest[] = [];
  let wrong: string[] = [];
  try {
    await load.begin();
    const endAt = performance.now() + minutes * 60_000;
    for (let round = 1; performance.now() < endAt && wrong.length === 0; round++) {
      stage.starvation.take(0);
      const before = load.history.sent.length;
      await eventually(() => load.history.sent.length > before, "the load goes on", healMaxMs);
      const suffered = await stage.suffer();
      const names = suffered.map(({ what }) => what).join(" and ");
      const startedAt = performance.now();
      load.pause();
      if (!(await load.heals())) wrong.push(...load.restless(), ...(await stage.describeMail()));
      const healed = Math.round(performance.now() - startedAt);
      wrong.push(...load.wrong(suffered.flatMap(({ cut }) => (cut === undefined ? [] : [cut]))));
      wrong.push(...stage.wrong(), ...(await stage.audit()));
      const rest = await measure(stage, rests[0]);
      rests.push(rest);
      wrong.push(...grown([rests[0]!, rest]));
      const sent = load.history.sent.length - before;
      const measured = rest.figures.map(({ name, value }) => `${value} ${name}`).join("; ");
      say(
        `round ${round}: ${names}: healed in ${healed} ms; ${sent} sent; ${rest.megabytes.join(" ")} MB; ${measured}`,
      );
      if (wrong.length > 0) wrong.push(...stage.starvation.take(starvedMs));
      wrong = wrong.map((what) => `seed ${seed}, round ${round} (${names}): ${what}`);
      load.goOn();
    }
    if (wrong.length === 0) wrong.push(...grown(rests));
  } finally {
    load.end();
    stage.starvation.stop();
    await stage.stop();
  }
  return wrong;
}

/** Measures at rest. What is acknowledged is removed a moment later, or two on a busy machine: that is waited for. */
async function measure(stage: Stage, first: Rest | undefined): Promise<Rest> {
  for (let looks = 1; ; looks++) {
    const rest = { megabytes: stage.seats.map(megabytesOf), figures: await stage.measure() };
    if (looks === restLooksMax || grown([first ?? rest, rest]).length === 0) return rest;
    await Bun.sleep(restLookMs);
  }
}

function megabytesOf({ pid }: BrokerProcess): number {
  // A broker that has ended by itself is told of elsewhere.
  return existsSync(`/proc/${pid}/status`) ? Math.round(residentBytes(pid) / 1024 / 1024) : 0;
}

/** Returns what has grown: in the store since the first round, in memory from the first third of rounds to the last. */
export function grown(rests: readonly Rest[]): string[] {
  const first = rests[0];
  if (first === undefined) return ["no round was played"];
  const wrong: string[] = [];
  const last = rests.at(-1)!;
  for (const [at, { name, value, growthMax }] of last.figures.entries()) {
    const was = first.figures[at]!.value;
    // What could not be measured is no number.
    if (!(value <= was + growthMax))
      wrong.push(`${was} ${name} at rest after the first round, ${value} after the last`);
  }
  for (const { figures } of rests)
    for (const { name, value, most = Infinity } of figures)
      if (!(value <= most)) wrong.push(`${value} ${name} at rest; ${most} may be there`);
  if (rests.length < longRunRounds) return wrong;
  const third = Math.floor(rests.length / 3);
  const largest = (some: readonly Rest[]): number => Math.max(...some.flatMap(({ megabytes }) => megabytes));
  const [before, after] = [largest(rests.slice(0, third)), largest(rests.slice(-third))];
  if (after > before * memoryGrowthMax + memoryGrowthMegabytes)
    wrong.push(`a broker had ${before} MB at most in the first third of the rounds, ${after} in the last`);
  return wrong;
}
