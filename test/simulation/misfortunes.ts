/** Misfortunes of a wide world: how each begins, how long it may last, and how it ends. */
import type { Random } from "../../src/base/random.ts";
import { thisVersion } from "./broker-code.ts";
import type { BrokerNode } from "./broker-node.ts";
import type { KeeperServer } from "./ensemble/server.ts";
import type { World } from "./world.ts";

/** Begins a fault that lasts for so long, in ms, and returns what ends it. */
type Begin = (world: World, random: Random, forMs: number) => () => void;

/** `weight`: how often it is drawn, beside the others. `longest` in ms. */
export interface Misfortune {
  readonly name: string;
  readonly weight: number;
  readonly longest: number;
  /** True if brokers lose what is in their memory. */
  readonly endsBrokers?: boolean;
  /** Clients may be served by a broker that the others take for dead, or by nobody, and not notice. */
  readonly deceivesClients?: boolean;
  /** True if what a broker has for another one's clients may come after what others have said since. */
  readonly cutsLinks?: boolean;
  readonly begin: Begin;
}

const nothing = (): void => {};

export const misfortunes: readonly Misfortune[] = [
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
    deceivesClients: true,
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
    cutsLinks: true,
    deceivesClients: true,
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
    cutsLinks: true,
    deceivesClients: true,
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
    deceivesClients: true,
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
    deceivesClients: true,
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
    deceivesClients: true,
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
    deceivesClients: true,
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
    deceivesClients: true,
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
export const longSleep: Misfortune = {
  name: "a broker sleeps for minutes",
  deceivesClients: true,
  weight: 1,
  longest: 700_000,
  begin: (world, random) => {
    const node = pickNode(world, random);
    node.sleep();
    return () => node.wakeUp();
  },
};

/** One broker at a time is upgraded, or rolled back: in order, or not. */
export const changeOfVersion: Misfortune = {
  name: "a broker is restarted in the other version",
  weight: 12,
  longest: 1500,
  begin: (world, random) => {
    const node = pickNode(world, random);
    if (random.next() < 0.6) node.drain();
    else node.kill();
    node.code = node.code === thisVersion ? world.older! : thisVersion;
    return () => {
      node.kill();
      node.live();
    };
  },
};

export const jump: Misfortune = {
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

function pickNode(world: World, random: Random): BrokerNode {
  const nodes = [...world.nodes.values()];
  return nodes[Math.floor(random.next() * nodes.length)]!;
}

function pickServer(world: World, random: Random): KeeperServer {
  const { servers } = world.ensemble!;
  return servers[Math.floor(random.next() * servers.length)]!;
}
