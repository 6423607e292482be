/** Misfortunes of a cluster of processes: each begins, lasts as long as the nemesis wants, and is made good. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../../src/base/random.ts";
import type { CutWays } from "../support/proxy.ts";
import type { ZooKeeperServer } from "../support/zookeeper.ts";
import type { BrokerProcess } from "./broker-process.ts";
import type { BrokerSeat, ClusterProcesses } from "./cluster-processes.ts";

export interface Victim {
  readonly cluster: ClusterProcesses;
  readonly random: Random;
  /** The folder of the files that say how wrong the brokers' clocks are. */
  readonly skews: string;
}

/** Under way; `end` makes it good. Things that cannot be done to one victim at once share a name in `holds`. */
export interface Misfortune {
  readonly what: string;
  readonly holds: readonly string[];
  readonly end: () => Promise<void>;
  /** The link that it cuts. */
  readonly cut?: Cut;
}

/** Two brokers whose link is cut. */
export type Cut = readonly [BrokerSeat, BrokerSeat];

type Begin = (victim: Victim) => Promise<Misfortune>;

const skewMsMax = 25_000;
/** A server that was killed is started once more if it does not serve after so long. */
const restartPatienceMs = 30_000;
const ways: readonly CutWays[] = ["both", "from dialler", "to dialler"];

function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[Math.floor(random.next() * items.length)]!;
}

/** A server of the ensemble, with its part in it. */
async function pickServer({ cluster, random }: Victim): Promise<{ server: ZooKeeperServer; name: string }> {
  const { ensemble } = cluster;
  const leader = random.next() < 0.5 ? await ensemble.leader().catch(() => undefined) : undefined;
  const server = leader ?? pick(random, ensemble.servers);
  const name = `ZooKeeper server ${ensemble.servers.indexOf(server) + 1}${server === leader ? " (leader)" : ""}`;
  return { server, name };
}

const onBroker =
  (begin: (seat: BrokerSeat, victim: Victim) => Promise<Omit<Misfortune, "holds">>): Begin =>
  async (victim) => {
    const seat = pick(victim.random, victim.cluster.seats);
    return { ...(await begin(seat, victim)), holds: [`broker ${seat.id}`] };
  };

const onServer =
  (begin: (server: ZooKeeperServer, name: string, victim: Victim) => Promise<Omit<Misfortune, "holds">>): Begin =>
  async (victim) => {
    const { server, name } = await pickServer(victim);
    return { ...(await begin(server, name, victim)), holds: [ensembleName] };
  };

/** The name that the misfortunes of ZooKeeper's servers share in `holds`. */
export const ensembleName = "ensemble";

/** The words of the misfortunes of ZooKeeper's servers. */
export const serverWords: readonly string[] = ["kill-server", "pause-server", "part-server"];

/** The misfortunes of any broker, by the word that chooses one of them. */
export const ofProcess: Readonly<
  Record<string, (broker: BrokerProcess, victim: Omit<Victim, "cluster">) => Promise<Omit<Misfortune, "holds">>>
> = {
  kill: async (broker) => {
    await broker.end("SIGKILL");
    return { what: `kill -9 of broker ${broker.id}`, end: () => broker.start() };
  },
  restart: async (broker) => {
    await broker.end("SIGTERM");
    return { what: `restart of broker ${broker.id}`, end: () => broker.start() };
  },
  pause: async (broker) => {
    broker.signal("SIGSTOP");
    return { what: `SIGSTOP of broker ${broker.id}`, end: async () => broker.signal("SIGCONT") };
  },
  skew: async (broker, { random, skews }) => {
    const skew = Math.round((2 * random.next() - 1) * skewMsMax);
    writeFileSync(join(skews, broker.id), String(skew));
    return {
      what: `clock of broker ${broker.id} wrong by ${skew} ms`,
      end: async () => writeFileSync(join(skews, broker.id), "0"),
    };
  },
};

/** The misfortunes of a cluster, by the word that chooses one of them. */
export const misfortunes: Readonly<Record<string, Begin>> = {
  kill: onBroker(ofProcess.kill!),
  restart: onBroker(ofProcess.restart!),
  pause: onBroker(ofProcess.pause!),
  "cut-link": onBroker(async (seat, { cluster, random }) => {
    const other = pick(
      random,
      cluster.seats.filter((one) => one !== seat),
    );
    const way = pick(random, ways);
    // Of two brokers the lower id dials.
    const [dialler, dialled] = [seat, other].sort((a, b) => (a.id < b.id ? -1 : 1)) as [BrokerSeat, BrokerSeat];
    dialled.linkProxy.cut(`"id":"${dialler.id}"`, way);
    return {
      what: `link from broker ${dialler.id} to ${dialled.id} cut (${way})`,
      cut: [dialler, dialled],
      end: async () => dialled.linkProxy.heal(),
    };
  }),
  "cut-keeper": onBroker(async (seat, { random }) => {
    const way = pick(random, ways);
    for (const proxy of seat.keeperProxies) proxy.cut("", way);
    return {
      what: `broker ${seat.id} cut off from ZooKeeper (${way})`,
      end: async () => {
        for (const proxy of seat.keeperProxies) proxy.heal();
      },
    };
  }),
  "reset-keeper": onBroker(async (seat) => {
    const resets = setInterval(() => {
      for (const proxy of seat.keeperProxies) proxy.reset();
    }, 700);
    return {
      what: `connection of broker ${seat.id} to ZooKeeper reset again and again`,
      end: async () => clearInterval(resets),
    };
  }),
  skew: onBroker(ofProcess.skew!),
  "kill-server": onServer(async (server, name, { cluster }) => {
    await server.kill();
    return {
      what: `kill -9 of ${name}`,
      end: async () => {
        server.start();
        const ready = cluster.ensemble.ready().then(
          () => true,
          () => false,
        );
        if (await Promise.race([ready, Bun.sleep(restartPatienceMs).then(() => false)])) return;
        // While it was away another connection of this machine may have come from its port: then it has ended at once.
        await server.kill();
        server.start();
        await cluster.ensemble.ready();
      },
    };
  }),
  "pause-server": onServer(async (server, name, { cluster }) => {
    server.signal("SIGSTOP");
    return {
      what: `SIGSTOP of ${name}`,
      end: async () => {
        server.signal("SIGCONT");
        await cluster.ensemble.ready();
      },
    };
  }),
  "part-server": onServer(async (server, name, { cluster }) => {
    cluster.ensemble.part(server);
    return {
      what: `${name} cut off from the other servers`,
      end: async () => {
        cluster.ensemble.rejoin();
        await cluster.ensemble.ready();
      },
    };
  }),
};
