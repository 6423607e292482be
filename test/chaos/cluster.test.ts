/**
 * A cluster under load while things die: brokers, ZooKeeper servers, links. Persistent publishers and subscribers move
 * between brokers as they must; the whole history is judged after each fault, and how long healing took.
 * MQTTZOO_OUTAGE_SECONDS sets how long the whole ensemble is away.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { audit } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import { connect } from "../../src/client/dial.ts";
import { PlainStore } from "../../src/zookeeper/plain-store.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { eventually } from "../support/broker.ts";
import { type BrokerSeat, type ClusterProcesses, sessionTimeout, startClusterProcesses } from "./cluster-processes.ts";
import { History } from "./history.ts";
import { untilHealed } from "./liveness.ts";
import { auditOf } from "./load.ts";
import { Publisher, Worker } from "./workers.ts";

/** After a fault's end nothing may stand still for so long, and everything must have healed in so long. */
const stallMs = 10_000;
const healMaxMs = 60_000;
const outageMs = Number(process.env.MQTTZOO_OUTAGE_SECONDS ?? 60) * 1000;
const longerThanSessionMs = sessionTimeout * 1000 * 2.5;

let cluster: ClusterProcesses;
let seats: readonly BrokerSeat[];
const history = new History();
let workers: Worker[] = [];
let publishers: Publisher[] = [];
const subscribers = ["home-1", "home-2", "visitor"] as const;
let busy = true;
/** True while the client that is looked at must not come back. */
let away = false;

beforeAll(async () => {
  cluster = await startClusterProcesses(["a", "b", "c"]);
  seats = cluster.seats;
  const where = (): number => seats[Math.floor(Math.random() * seats.length)]!.port;
  const publisher = (name: string, qos: 1 | 2): Publisher =>
    new Publisher(name, { qos, prefix: "chaos", history, where });
  publishers = [publisher("p1", 1), publisher("p2", 2), publisher("p3", 1), publisher("p4", 2)];
  const listeners = subscribers.map((name) => new Worker(name, { session: new ClientSession(), history, where }));
  workers = [...publishers, ...listeners];
  // As any client: whoever is not taken in at once, while the brokers are still finding each other, tries again.
  for (const worker of workers) {
    const isUp = async (): Promise<boolean> => {
      await worker.comeBack();
      return worker.up;
    };
    await eventually(isUp, `${worker.name} connects`);
  }
  for (const listener of listeners) await listener.client!.subscribe(["chaos/#"], { qos: 2 });
}, 150_000);
afterAll(() => cluster.stop());

/** Keeps everybody busy until told otherwise. */
async function load(): Promise<void> {
  const visitor = workers.at(-1)!;
  let visitorMovesAt = performance.now() + 500;
  while (busy) {
    for (const worker of workers) if (!worker.up && !(worker === visitor && away)) void worker.comeBack();
    // Healing is looked for, not how fast a backlog drains: a thousand messages a second are load enough for two cores.
    for (const publisher of publishers) publisher.pump(2);
    if (performance.now() > visitorMovesAt) {
      visitorMovesAt = performance.now() + 300 + Math.random() * 500;
      away = !away;
      if (away && visitor.up) visitor.client!.disconnect();
    }
    await Bun.sleep(8);
  }
}

async function everybodyIsBackAndSettled(): Promise<boolean> {
  for (const worker of workers) if (!worker.up) void worker.comeBack();
  return workers.every(({ up }) => up) && publishers.every(({ isSettled }) => isSettled) && wrong().length === 0;
}

/** Grows with what is acknowledged and received. */
function moved(): number {
  return subscribers.reduce((sum, name) => sum + history.receivedCount(name), history.acknowledgedCount);
}

function wrong(): string[] {
  return subscribers.flatMap((name) => history.judge(name));
}

/** A client that ends with its connection, on a broker that nothing happens to. */
async function bystander({ port }: BrokerSeat) {
  let closed: string | undefined;
  let heard = 0;
  let longestMs = 0;
  /** The longest that this process itself was held up. */
  let lateMs = 0;
  const client: MqttConnection = await connect({
    host: "127.0.0.1",
    port,
    keepAlive: 5,
    onMessage: () => void heard++,
    onClose: (why) => {
      closed ??= why;
    },
  });
  await client.subscribe(["bystander"], { qos: 1 });
  let going = true;
  const loop = (async () => {
    while (going && closed === undefined) {
      const startedAt = performance.now();
      await client.publish("bystander", "x", { qos: 1 }).catch(() => {});
      const answeredAt = performance.now();
      longestMs = Math.max(longestMs, answeredAt - startedAt);
      await Bun.sleep(20);
      lateMs = Math.max(lateMs, performance.now() - answeredAt - 20);
    }
  })();
  return async () => {
    going = false;
    await loop;
    const seen = { closed, heard: heard > 10, longestMs, lateMs };
    client.disconnect();
    return seen;
  };
}

interface Fault {
  /** Does it, and resolves when the fault is over. */
  readonly happen: () => Promise<void>;
  /** A broker that must not notice. */
  readonly healthy?: BrokerSeat;
  /** Puts back what has died, after healing. */
  readonly repair?: () => Promise<void>;
}

async function suffer(name: string, { happen, healthy, repair }: Fault): Promise<void> {
  busy = true;
  const loading = load();
  await Bun.sleep(700);
  const look = healthy && (await bystander(healthy));
  const sentBefore = history.sent.length;
  await happen();
  const overAt = performance.now();
  // Some faults are over in a moment, and windows may be full.
  await eventually(() => history.sent.length > sentBefore, `${name}: somebody publishes`, healMaxMs);
  busy = false;
  await loading;
  const patience = { progress: moved, stallMs, mostMs: healMaxMs };
  await untilHealed(everybodyIsBackAndSettled, `${name}: everything heals`, patience).catch((error) => {
    const states = workers.map(
      (worker) => `${worker.name}:${worker.up ? "up" : "down"}@${worker.port}:${worker.session.outgoing.size}`,
    );
    const faults = wrong();
    throw new Error(`${error.message}; ${states.join(" ")}; ${faults.length} wrong: ${faults.slice(0, 10).join("; ")}`);
  });
  const healedMs = Math.round(performance.now() - overAt);
  const seen = await look?.();
  console.log(
    `${name}: healed in ${healedMs} ms; ${history.sent.length - sentBefore} sent meanwhile${seen === undefined ? "" : `; a bystander waited ${Math.round(seen.longestMs)} ms at most`}`,
  );
  if (seen !== undefined) expect(seen).toMatchObject({ closed: undefined, heard: true });
  if (seen !== undefined) expect(seen.longestMs).toBeLessThan(2500 + 2 * seen.lateMs);
  expect(wrong()).toEqual([]);
  expect(await auditOf(cluster)).toEqual([]);
  expect(cluster.wrong()).toEqual([]);
  expect(history.sent.length).toBeGreaterThan(sentBefore);
  await repair?.();
}

const [first, second, third] = [0, 1, 2];

test("kill -9 of a broker under load", async () => {
  await suffer("kill -9 of a broker", {
    happen: async () => {
      await seats[first]!.end("SIGKILL");
      await Bun.sleep(3000);
    },
    healthy: seats[second]!,
    repair: () => seats[first]!.start(),
  });
}, 120_000);

test("kill -9 of a broker that comes back at once", async () => {
  await suffer("kill -9 and restart", {
    happen: async () => {
      await seats[second]!.end("SIGKILL");
      await seats[second]!.start();
    },
    healthy: seats[third]!,
  });
}, 120_000);

test("kill -9 of the ZooKeeper leader", async () => {
  const leader = await cluster.ensemble.leader();
  await suffer("kill -9 of the ZooKeeper leader", {
    happen: () => leader.kill(),
    healthy: seats[first]!,
    repair: async () => {
      leader.start();
      await cluster.ensemble.ready();
    },
  });
}, 120_000);

test("SIGSTOP of a broker for longer than its keeper session", async () => {
  await suffer("SIGSTOP of a broker", {
    happen: async () => {
      seats[third]!.signal("SIGSTOP");
      await Bun.sleep(longerThanSessionMs);
      seats[third]!.signal("SIGCONT");
    },
    healthy: seats[first]!,
  });
}, 120_000);

test("a cut link between two brokers that both see ZooKeeper", async () => {
  await suffer("a cut link", {
    happen: async () => {
      seats[second]!.linkProxy.cut('"id":"a"');
      await Bun.sleep(8000);
      seats[second]!.linkProxy.heal();
    },
    healthy: seats[third]!,
  });
}, 120_000);

test("a broker cut off from ZooKeeper only", async () => {
  await suffer("no ZooKeeper for one broker", {
    happen: async () => {
      for (const proxy of seats[first]!.keeperProxies) proxy.cut("");
      await Bun.sleep(longerThanSessionMs + 1000);
      for (const proxy of seats[first]!.keeperProxies) proxy.heal();
    },
    healthy: seats[second]!,
  });
}, 120_000);

test(`the whole ensemble is away for ${outageMs / 1000} s`, async () => {
  await suffer("no ZooKeeper for anybody", {
    happen: async () => {
      await Promise.all(cluster.ensemble.servers.map((server) => server.kill()));
      await Bun.sleep(outageMs);
      for (const server of cluster.ensemble.servers) server.start();
      await cluster.ensemble.ready();
    },
    healthy: seats[second]!,
  });
}, 180_000);

test("rolling restart of all brokers", async () => {
  await suffer("rolling restart", {
    happen: async () => {
      for (const seat of seats) {
        await seat.end("SIGTERM");
        await seat.start();
        await Bun.sleep(500);
      }
    },
  });
}, 150_000);

test("restart of everything at once", async () => {
  await suffer("restart of everything", {
    happen: async () => {
      const ends = [
        ...seats.map((seat) => seat.end("SIGKILL")),
        ...cluster.ensemble.servers.map((server) => server.kill()),
      ];
      await Promise.all(ends);
      for (const server of cluster.ensemble.servers) server.start();
      await cluster.ensemble.ready();
      await Promise.all(seats.map((seat) => seat.start()));
    },
  });
}, 120_000);

test("nothing is left over: no mail without a recipient, every session with one keeper", async () => {
  const zookeeper = await ZooKeeper.connect(`${cluster.ensemble.connect}/chaos`);
  const below = async (path: string): Promise<string[]> => {
    const { children } = await zookeeper.children(path).catch(() => ({ children: [] as string[] }));
    const paths = children.map((name) => `${path === "/" ? "" : path}/${name}`);
    return [...paths, ...(await Promise.all(paths.map(below))).flat()];
  };
  let left: string[] = [];
  const isEmpty = async (): Promise<boolean> => {
    left = (await below("/topics")).filter((path) => /\/=[^/]*$/.test(path));
    // What a session has paid for slips stays while it may need it; 0 is no packet id.
    left.push(...(await below("/sessions")).filter((path) => /\/mail\/|\/in\/[1-9]/.test(path)));
    return left.length === 0;
  };
  const patience = { progress: () => left.length, stallMs, mostMs: healMaxMs };
  await untilHealed(isEmpty, "mailboxes and messages are gone", patience).catch(() => {});
  expect(left).toEqual([]);
  const records = await Promise.all(
    (await below("/sessions"))
      .filter((path) => /^\/sessions\/..\/[^/]+$/.test(path))
      .map(async (path) => JSON.parse(Buffer.from((await zookeeper.get(path)).data).toString())),
  );
  const brokers = (await zookeeper.children("/brokers")).children;
  const snapshot = await takeWeighed(new PlainStore(zookeeper), Date.now());
  expect(audit(snapshot!, { graceMs: 2 * sweepMs })).toEqual([]);
  expect(records.length).toBe(workers.length);
  for (const { owner, connected } of records) {
    expect(brokers).toContain(owner);
    expect(connected).toBe(true);
  }
  await zookeeper.close();
}, 120_000);
