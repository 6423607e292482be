/**
 * The plan of a wide world, drawn from its seed before it begins: its traits, and its faults, of which two may happen
 * at once. A plan can be played without some of its faults, to find out which of them matter.
 */
import { slipNumberMax } from "../../src/base/limits.ts";
import type { Random } from "../../src/base/random.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import { changeOfVersion, jump, longSleep, type Misfortune, misfortunes } from "./misfortunes.ts";
import { seeded, type World } from "./world.ts";

export interface Fault {
  readonly name: string;
  /** When it begins, and how long it lasts, in ms. */
  readonly at: number;
  readonly forMs: number;
  readonly deceivesClients: boolean;
  readonly cutsLinks: boolean;
  readonly begin: (world: World) => () => void;
}

export interface Traits {
  readonly isPoor: boolean;
  readonly hasLarge: boolean;
  readonly hasJumps: boolean;
  readonly hasDrops: boolean;
  readonly isLong: boolean;
  readonly observers: number;
  readonly sequenceStart: number;
  readonly wireBytesMax: number;
  /**
   * A member of the shared group has a session that ends with its connection; what its broker has confirmed dies with
   * it.
   */
  readonly hasBriefMember: boolean;
  /** Clients besides publishers and readers: a shared group; devices with a status; clients with habits. */
  readonly hasGroup: boolean;
  readonly hasDevices: boolean;
  readonly hasHabits: boolean;
  /** Filters that one client subscribes to, and topics that are published on: more than one transaction may name. */
  readonly filters: number;
  /** A client retains messages on topics of its own, and clears each again: nothing is left of them. */
  readonly hasTidy: boolean;
  /** Some readers subscribe at QoS 1 to what is published at QoS 2: none of that may be lost to them, either. */
  readonly readsAtQoS1: boolean;
}

export interface Plan {
  readonly traits: Traits;
  readonly faults: readonly Fault[];
  /** From the first fault's beginning to the last one's end, in ms. */
  readonly totalMs: number;
}

/** How many messages mailboxes take, and what becomes of sessions whose mailboxes are full. */
export interface MailboxTraits {
  readonly maxQueued: number;
  readonly mailboxFull: "end" | "refuse";
}

/** In a fifth of the worlds mailboxes are small; in a few of these publishes are refused for that. */
export function mailboxOf(random: Random): MailboxTraits {
  if (random.next() > 0.2) return { maxQueued: defaultOptions.maxQueued, mailboxFull: "end" };
  return {
    maxQueued: 4 + Math.floor(random.next() * 30),
    mailboxFull: random.next() < 0.2 ? "refuse" : "end",
  };
}

/** Traits of a world with brokers of format 1, which are not asked for what they cannot do. */
const ofFormat1: Partial<Traits> = {
  ...{ isPoor: false, hasLarge: false, hasDevices: false, hasBriefMember: false },
  ...{ isLong: false, filters: 0, sequenceStart: 0, hasTidy: false, readsAtQoS1: false },
};

/**
 * `isMixed`: brokers are upgraded and rolled back meanwhile; who relies on what those of format 1 do not hold stays
 * away.
 */
export function planOf(random: Random, { isMixed = false } = {}): Plan {
  const chance = (part: number): boolean => random.next() < part;
  const drawnTraits: Omit<Traits, "hasTidy" | "readsAtQoS1"> = {
    isPoor: chance(0.2),
    hasLarge: chance(0.12),
    hasJumps: chance(0.2),
    hasDrops: chance(0.15),
    isLong: chance(0.06),
    observers: chance(0.3) ? 1 + Math.floor(random.next() * 2) : 0,
    // Sequential names are numbered in 32 bits: before their end mailboxes must be made anew.
    sequenceStart: chance(0.1) ? slipNumberMax - Math.floor(random.next() * 60) : 0,
    hasGroup: chance(0.5),
    hasDevices: chance(0.5),
    hasHabits: chance(0.5),
    filters: chance(0.1) ? 300 + Math.floor(random.next() * 300) : 0,
    wireBytesMax: chance(0.3) ? 2048 + Math.floor(random.next() * 64 * 1024) : Infinity,
    hasBriefMember: chance(0.4),
  };
  const fixed = isMixed ? ofFormat1 : {};
  const { hasBriefMember, hasJumps, isLong } = { ...drawnTraits, ...fixed };
  const possible = hasBriefMember ? misfortunes.filter(({ endsBrokers }) => endsBrokers !== true) : misfortunes;
  const choice = [...possible, ...(hasJumps ? [jump] : []), ...(isMixed ? [changeOfVersion] : [])];
  const count = 2 + Math.floor(random.next() * 5);
  const faults: Fault[] = isLong ? [drawFault(random, longSleep, 1000)] : [];
  let at = 300;
  for (let number = 0; number < count; number++) {
    // Two may happen at once.
    at += random.next() < 0.35 ? random.next() * 400 : 500 + random.next() * 3000;
    faults.push(drawFault(random, drawn(random, choice), at));
  }
  // Drawn last, so that the seeds that have found something play what they played.
  const traits = { ...drawnTraits, hasTidy: chance(0.5), readsAtQoS1: chance(0.3), ...fixed };
  return { traits, faults, totalMs: Math.max(...faults.map(({ at, forMs }) => at + forMs)) };
}

function drawn(random: Random, choice: readonly Misfortune[]): Misfortune {
  let left = random.next() * choice.reduce((sum, { weight }) => sum + weight, 0);
  for (const misfortune of choice) {
    left -= misfortune.weight;
    if (left <= 0) return misfortune;
  }
  return choice[0]!;
}

function drawFault(random: Random, misfortune: Misfortune, at: number): Fault {
  const { name, longest, deceivesClients = false, cutsLinks = false, begin } = misfortune;
  // What is drawn while it is played is its own, so that it is the same without the others.
  const own = Math.floor(random.next() * 2 ** 32);
  const forMs = longest > 60_000 ? 60_000 + random.next() * (longest - 60_000) : random.next() * longest;
  return { name, at, forMs, deceivesClients, cutsLinks, begin: (world) => begin(world, seeded(own), forMs) };
}

/** Everything works again: what is still to come from faults does no harm any more. */
export function healAll(world: World): void {
  for (const node of world.nodes.values()) {
    node.cutFrom.clear();
    node.deafTo.clear();
    node.wallOffset = 0;
    node.wakeUp();
    node.healKeeper();
    node.healClients();
    node.live();
  }
  for (const server of world.ensemble!.servers) {
    server.lagMs = 0;
    if (server.isCutOff) server.rejoin();
    if (server.isDown) server.restart();
  }
}
