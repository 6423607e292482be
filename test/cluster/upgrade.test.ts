/**
 * A cluster under load is upgraded from the executable of format 1 to this one, one broker at a time, and rolled back:
 * nothing that was acknowledged is lost, at no stage, and everybody hears everybody.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { audit } from "../../src/audit/audit.ts";
import { takeSnapshot } from "../../src/audit/snapshot.ts";
import { sweepMs } from "../../src/base/limits.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { PlainStore } from "../../src/zookeeper/plain-store.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { type BrokerSeat, type ClusterProcesses, startClusterProcesses } from "../chaos/cluster-processes.ts";
import { History } from "../chaos/history.ts";
import { Publisher, Worker } from "../chaos/workers.ts";
import { eventually } from "../support/broker.ts";
import { executableOf, lastOfFormat1 } from "../support/older.ts";
import { executable } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const patienceMs = 60_000;
const subscribers = ["home", "visitor", "away"] as const;

let cluster: ClusterProcesses;
let older: string;
const history = new History();
let workers: Worker[];
let publishers: Publisher[];
let isBusy = true;
let loading: Promise<void>;
/** Where nobody is to go now: a broker that is about to end. */
let avoided: BrokerSeat | undefined;
let stages = 0;

beforeAll(async () => {
  older = await executableOf(lastOfFormat1);
  cluster = await startClusterProcesses(["a", "b", "c"], {
    executable: older,
    // Those of format 1 would drop what is stored after a time by chance.
    arguments: ["--bank-ttl", "max"],
  });
  const where = (): number => {
    const seats = cluster.seats.filter((seat) => seat !== avoided);
    return seats[Math.floor(Math.random() * seats.length)]!.port;
  };
  publishers = [1, 2, 1, 2].map(
    (qos, index) => new Publisher(`p${index}`, { qos: qos as 1 | 2, prefix: "upgrade", history, where }),
  );
  const listeners = subscribers.map((name) => new Worker(name, { session: new ClientSession(), history, where }));
  workers = [...publishers, ...listeners];
  for (const worker of workers) await eventually(() => isUp(worker), `${worker.name} connects`, patienceMs);
  for (const listener of listeners) await listener.client!.subscribe(["upgrade/#"], { qos: 2 });
  loading = load();
}, 180_000);
afterAll(async () => {
  isBusy = false;
  await loading;
  await cluster.stop();
});

async function isUp(worker: Worker): Promise<boolean> {
  await worker.comeBack();
  return worker.up;
}

/** Keeps everybody busy; the visitor comes and goes, and who is away stays so until it is asked to come. */
async function load(): Promise<void> {
  const [visitor, away] = workers.slice(-2) as [Worker, Worker];
  let isVisiting = true;
  let movesAt = 0;
  away.client!.disconnect();
  while (isBusy) {
    for (const worker of workers)
      if (!worker.up && worker !== away && (isVisiting || worker !== visitor)) void worker.comeBack();
    for (const publisher of publishers) publisher.pump(1);
    if (performance.now() > movesAt) {
      movesAt = performance.now() + 300 + Math.random() * 500;
      isVisiting = !isVisiting;
      if (!isVisiting && visitor.up) visitor.client!.disconnect();
    }
    await Bun.sleep(25);
  }
}

const textOf = ({ payload }: AnyPacket): string => payload.toString();

/** A client whose session ends with its connection, and who hears what is published meanwhile. */
async function guest(seat: BrokerSeat): Promise<{ missed(): string[]; leave(): void }> {
  const client = await RawClient.connect(seat.port, { keepalive: 0 });
  await client.subscribe("upgrade/#", { qos: 0 });
  const from = history.sent.length;
  return {
    missed() {
      const heard = new Set(client.packets.filter(({ cmd }) => cmd === "publish").map(textOf));
      const sent = history.sent.slice(from).map(History.payload);
      return sent.filter((payload) => history.isAcknowledged(payload) && !heard.has(payload));
    },
    leave: () => client.disconnect(),
  };
}

/** From each broker to each: live messages at every QoS, retained ones, those of shared groups, and wills. */
async function everybodyHearsEverybody(): Promise<void> {
  const stage = ++stages;
  for (const there of cluster.seats) {
    const own = `stage/${stage}/${there.id}`;
    const listener = await RawClient.connect(there.port);
    await listener.subscribe(`${own}/#`, { qos: 2 });
    await listener.subscribe(`$share/g/shared/${own}`, { qos: 1 });
    for (const here of cluster.seats) {
      const teller = await RawClient.connect(here.port, {
        will: { topic: `${own}/will`, payload: here.id, qos: 1, retain: false },
      });
      const said: string[] = [];
      const say = async (topic: string, qos: 0 | 1 | 2, retain = false): Promise<void> => {
        const payload = `${here.id} ${qos} ${topic}`;
        said.push(payload);
        teller.publish(topic, payload, { qos, retain, messageId: qos + 1 });
        if (qos === 1) await teller.take("puback");
        if (qos === 2) await teller.take("pubrec");
        if (qos === 2) teller.send({ cmd: "pubrel", messageId: 3 });
        if (qos === 2) await teller.take("pubcomp");
      };
      for (const qos of [0, 1, 2] as const) await say(`${own}/live`, qos);
      await say(`${own}/kept`, 1, true);
      await say(`shared/${own}`, 1);
      const heard: string[] = [];
      while (heard.length < said.length) {
        const packet = await listener.take("publish");
        heard.push(textOf(packet));
        if (packet.qos === 1) listener.send({ cmd: "puback", messageId: packet.messageId });
        if (packet.qos === 2) listener.send({ cmd: "pubrec", messageId: packet.messageId });
      }
      expect(heard.sort()).toEqual(said.sort());
      teller.abort();
      const will = await listener.take("publish");
      expect([will.topic, textOf(will)]).toEqual([`${own}/will`, here.id]);
      listener.send({ cmd: "puback", messageId: will.messageId });
    }
    listener.disconnect();
  }
  // What was kept last of each is found at every broker.
  const last = cluster.seats.at(-1)!.id;
  for (const seat of cluster.seats) {
    const reader = await RawClient.connect(seat.port);
    await reader.subscribe(`stage/${stage}/+/kept`, { qos: 0 });
    const found = await reader.takeMany("publish", cluster.seats.length);
    expect(found.map(textOf).sort()).toEqual(cluster.seats.map(({ id }) => `${last} 1 stage/${stage}/${id}/kept`));
    reader.disconnect();
  }
}

const wrong = (): string[] => subscribers.flatMap((name) => history.judge(name));

async function bankIsRight(): Promise<string[]> {
  const zookeeper = await ZooKeeper.connect(`${cluster.ensemble.connect}/chaos`);
  // The tree changes while it is read: what is wrong must be wrong every time.
  let found: string[] | undefined;
  for (let look = 0; look < 5 && found?.length !== 0; look++) {
    const now = audit((await takeSnapshot(new PlainStore(zookeeper), Date.now()))!, { graceMs: 2 * sweepMs });
    found = found?.filter((what) => now.includes(what)) ?? now;
  }
  await zookeeper.close();
  return found!;
}

/** Ends one broker in order, starts another executable in its place, and looks at everything. */
async function replace(seat: BrokerSeat, program: string): Promise<void> {
  const guests = await Promise.all(cluster.seats.filter((other) => other !== seat).map(guest));
  const before = history.acknowledgedCount;
  avoided = seat;
  await seat.end("SIGTERM");
  await seat.start(program);
  avoided = undefined;
  await everybodyHearsEverybody();
  await eventually(() => history.acknowledgedCount > before + 50, "publishers go on", patienceMs);
  const missed = (): string[] => guests.flatMap((one) => one.missed());
  await eventually(() => missed().length === 0, "who stayed has heard all", patienceMs).catch((error) => {
    throw new Error(`${error.message}: ${missed().length} missed, ${missed().slice(0, 5).join("; ")}`);
  });
  for (const one of guests) one.leave();
  expect(cluster.wrong()).toEqual([]);
}

async function everythingIsRight(): Promise<void> {
  isBusy = false;
  await loading;
  const isSettled = async (): Promise<boolean> => {
    for (const worker of workers) if (!worker.up) void worker.comeBack();
    return workers.every(({ up }) => up) && publishers.every((one) => one.isSettled) && wrong().length === 0;
  };
  await eventually(isSettled, "everything is settled", patienceMs).catch((error) => {
    throw new Error(`${error.message}; ${wrong().length} wrong: ${wrong().slice(0, 10).join("; ")}`);
  });
  expect(wrong()).toEqual([]);
  expect(await bankIsRight()).toEqual([]);
  expect(cluster.wrong()).toEqual([]);
  console.log(`${history.sent.length} sent, ${history.acknowledgedCount} acknowledged, none lost`);
  isBusy = true;
  loading = load();
}

test("an upgrade from format 1, one broker at a time", async () => {
  await everybodyHearsEverybody();
  for (const seat of cluster.seats) await replace(seat, executable);
  await everythingIsRight();
}, 300_000);

test("... and back", async () => {
  for (const seat of cluster.seats) await replace(seat, older);
  await everythingIsRight();
}, 300_000);
