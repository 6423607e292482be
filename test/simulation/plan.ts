/**
 * What happens to a wide world, drawn from its seed before it begins: its traits, and its faults, of which two may
 * happen at once. A plan can be played without some of its faults, to find out which of them matter.
 */
import type { Random } from "../../src/base/random.ts";
import type { BrokerNode } from "./broker-node.ts";
import type { KeeperServer } from "./ensemble/server.ts";
import { seeded, type World } from "./world.ts";

/** Begins a fault that lasts for so long, in ms, and returns what ends it. */
type Begin = (world: World, random: Random, forMs: number) => () => void;

export interface Fault {
  readonly name: string;
  /** When it begins, and how long it lasts, in ms. */
  readonly at: number;
  readonly forMs: number;
  readonly feignsDeath: boolean;
  readonly begin: (world: World) => () => void;
}

/** `weight`: how often it is drawn, beside the others. `longest` in ms. */
interface Misfortune {
  readonly name: string;
  readonly weight: number;
  readonly longest: number;
  /** What is in a broker's memory is lost. */
  readonly endsBrokers?: boolean;
  /** The others may take a broker for dead that lives, with clients that do not notice. */
  readonly feignsDeath?: boolean;
  readonly begin: Begin;
}

const nothing = (): void => {};

const misfortunes: readonly Misfortune[] = [
  {
    name: "a broker is killed, and starts again",
    endsBrokers: true,
    weight: 4,
    longest: 5000,
    begin: (world, random) => {
      const node = pickNode(world, random);
      node.kill();
      return () => node.live();
    },
  },
  {
    name: "a broker is killed, and starts again at once",
    endsBrokers: true,
    weight: 2,
    longest: 200,
    begin: (world, random) => {
      const node = pickNode(world, random);
      node.kill();
      return () => node.live();
    },
  },
  {
    name: "a broker leaves in order, and comes back",
    weight: 2,
    longest: 6000,
    begin: (world, random) => {
      const node = pickNode(world, random);
      node.drain();
      return () => {
        node.kill();
        node.live();
      };
    },
  },
  {
    name: "all brokers are restarted, one after the other",
    endsBrokers: true,
    weight: 2,
    longest: 9000,
    begin: (world, random, forMs) => {
      const each = forMs / world.nodes.size;
      const isOrderly = random.next() < 0.5;
      [...world.nodes.values()].forEach((node, turn) => {
        world.after(turn * each, () => {
          if (isOrderly) node.drain();
          else node.kill();
        });
        world.after(turn * each + each * 0.8, () => {
          node.kill();
          node.live();
        });
      });
      return nothing;
    },
  },
  {
    name: "a broker sleeps",
    feignsDeath: true,
    weight: 3,
    longest: 6000,
    begin: (world, random) => {
      const node = pickNode(world, random);
      node.sleep();
      return () => node.wakeUp();
    },
  },
  {
    name: "brokers cannot reach each other",
    feignsDeath: true,
    weight: 2,
    longest: 6000,
    begin: (world, random) => {
      const [node, other] = [pickNode(world, random), pickNode(world, random)];
      if (node !== other) node.cutFrom.add(other.id);
      return () => void node.cutFrom.delete(other.id);
    },
  },
  {
    name: "a broker does not hear another one, which hears it",
    feignsDeath: true,
    weight: 2,
    longest: 6000,
    begin: (world, random) => {
      const [node, other] = [pickNode(world, random), pickNode(world, random)];
      if (node !== other) node.deafTo.add(other.id);
      return () => void node.deafTo.delete(other.id);
    },
  },
  {
    name: "a broker has no contact with the keeper",
    feignsDeath: true,
    weight: 3,
    longest: 6000,
    begin: (world, random) => {
      const node = pickNode(world, random);
      const chance = random.next();
      node.cutKeeper(chance < 0.4 ? "both" : chance < 0.7 ? "to the keeper" : "from the keeper");
      return () => node.healKeeper();
    },
  },
  {
    name: "no broker has contact with the keeper",
    feignsDeath: true,
    weight: 1,
    longest: 5000,
    begin: (world) => {
      for (const node of world.nodes.values()) node.cutKeeper();
      return () => {
        for (const node of world.nodes.values()) node.healKeeper();
      };
    },
  },
  {
    name: "a broker's connection to the keeper breaks",
    weight: 3,
    longest: 1000,
    begin: (world, random) => {
      pickNode(world, random).resetKeeper();
      return nothing;
    },
  },
  {
    name: "a commit is proposed, and the connection breaks",
    weight: 3,
    longest: 2000,
    begin: (world, random) => {
      pickNode(world, random).loseNextAnswer(random.next() < 0.5 ? 0 : random.next() * 1500);
      return nothing;
    },
  },
  {
    name: "the connections of a broker's clients are half-open",
    weight: 2,
    longest: 4000,
    begin: (world, random) => {
      const node = pickNode(world, random);
      node.cutClients();
      return () => node.healClients();
    },
  },
  {
    name: "a keeper server crashes, and starts again",
    weight: 2,
    longest: 4000,
    begin: (world, random) => {
      const server = pickServer(world, random);
      server.crash();
      return () => server.restart();
    },
  },
  {
    name: "a keeper server is cut off from the others",
    feignsDeath: true,
    weight: 2,
    longest: 5000,
    begin: (world, random) => {
      const server = pickServer(world, random);
      server.cutOff();
      return () => server.rejoin();
    },
  },
  {
    name: "the keeper's leader is cut off",
    feignsDeath: true,
    weight: 2,
    longest: 5000,
    begin: (world) => {
      const server = world.ensemble!.leader;
      server?.cutOff();
      return () => server?.rejoin();
    },
  },
  {
    name: "the keeper's leader crashes",
    weight: 2,
    longest: 2000,
    begin: (world) => {
      const server = world.ensemble!.leader;
      server?.crash();
      return () => server?.restart();
    },
  },
  {
    name: "a keeper server lags behind",
    weight: 3,
    longest: 6000,
    begin: (world, random) => {
      const server = pickServer(world, random);
      server.lagMs = 20 + random.next() * 1500;
      return () => {
        server.lagMs = 0;
      };
    },
  },
  {
    name: "the keeper removes empty containers",
    weight: 1,
    longest: 100,
    begin: (world) => {
      world.ensemble!.sweepContainers();
      return nothing;
    },
  },
];

/** A broker sleeps for longer than anything that is swept now and then. */
const longSleep: Misfortune = {
  name: "a broker sleeps for minutes",
  feignsDeath: true,
  weight: 1,
  longest: 700_000,
  begin: (world, random) => {
    const node = pickNode(world, random);
    node.sleep();
    return () => node.wakeUp();
  },
};

const jump: Misfortune = {
  name: "a broker's wall clock is wrong",
  weight: 4,
  longest: 5000,
  begin: (world, random) => {
    const node = pickNode(world, random);
    node.wallOffset = (2 * random.next() - 1) * 3 * 3_600_000;
    return () => {
      node.wallOffset = 0;
    };
  },
};

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
  /** Who is there besides publishers and readers: a shared group; devices with a status; clients with habits. */
  readonly hasGroup: boolean;
  readonly hasDevices: boolean;
  readonly hasHabits: boolean;
  /** So many does one client subscribe to, and so many topics are published on: more than one transaction may name. */
  readonly filters: number;
}

export interface Plan {
  readonly traits: Traits;
  readonly faults: readonly Fault[];
  /** From the first fault's beginning to the last one's end, in ms. */
  readonly totalMs: number;
}

export function planOf(random: Random): Plan {
  const chance = (part: number): boolean => random.next() < part;
  const traits: Traits = {
    isPoor: chance(0.2),
    hasLarge: chance(0.12),
    hasJumps: chance(0.2),
    hasDrops: chance(0.15),
    isLong: chance(0.06),
    observers: chance(0.3) ? 1 + Math.floor(random.next() * 2) : 0,
    // Sequential names are numbered in 32 bits.
    sequenceStart: chance(0.1) ? 2 ** 31 - 1 - Math.floor(random.next() * 60) : 0,
    hasGroup: chance(0.5),
    hasDevices: chance(0.5),
    hasHabits: chance(0.5),
    filters: chance(0.1) ? 300 + Math.floor(random.next() * 300) : 0,
    wireBytesMax: chance(0.3) ? 2048 + Math.floor(random.next() * 64 * 1024) : Infinity,
    hasBriefMember: chance(0.4),
  };
  const possible = traits.hasBriefMember ? misfortunes.filter(({ endsBrokers }) => endsBrokers !== true) : misfortunes;
  const choice = traits.hasJumps ? [...possible, jump] : possible;
  const count = 2 + Math.floor(random.next() * 5);
  const faults: Fault[] = traits.isLong ? [drawFault(random, longSleep, 1000)] : [];
  let at = 300;
  for (let number = 0; number < count; number++) {
    // Two may happen at once.
    at += random.next() < 0.35 ? random.next() * 400 : 500 + random.next() * 3000;
    faults.push(drawFault(random, drawn(random, choice), at));
  }
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
  const { name, longest, feignsDeath = false, begin } = misfortune;
  // What is drawn while it is played is its own, so that it is the same without the others.
  const own = Math.floor(random.next() * 2 ** 32);
  const forMs = longest > 60_000 ? 60_000 + random.next() * (longest - 60_000) : random.next() * longest;
  return { name, at, forMs, feignsDeath, begin: (world) => begin(world, seeded(own), forMs) };
}

function pickNode(world: World, random: Random): BrokerNode {
  const nodes = [...world.nodes.values()];
  return nodes[Math.floor(random.next() * nodes.length)]!;
}

function pickServer(world: World, random: Random): KeeperServer {
  const { servers } = world.ensemble!;
  return servers[Math.floor(random.next() * servers.length)]!;
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
