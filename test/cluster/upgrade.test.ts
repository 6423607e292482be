/**
 * A cluster under load is upgraded from the executable of format 1 to this one, one broker at a time, and rolled back;
 * some of them do not end in order but die. Nothing that was acknowledged is lost, at no stage, large or small, and
 * everybody hears everybody.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { orphanPartsMs } from "../../src/base/limits.ts";
import { type BrokerSeat, type ClusterProcesses, startClusterProcesses } from "../chaos/cluster-processes.ts";
import { auditOf } from "../chaos/load.ts";
import { eventually } from "../support/broker.ts";
import { executableOf, lastOfFormat1 } from "../support/older.ts";
import { executable } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";
import { mailDrop, patienceMs, UpgradeLoad } from "./upgrade-load.ts";

let cluster: ClusterProcesses;
let older: string;
let load: UpgradeLoad;
let stages = 0;

beforeAll(async () => {
  older = await executableOf(lastOfFormat1);
  cluster = await startClusterProcesses(["a", "b", "c"], {
    executable: older,
    isDirect: true,
    // All that is stored lies in their memory, and the last commits twice.
    ensemble: {
      properties: ["-Xmx512m", "-Dzookeeper.commitLogCount=100"],
      // On a busy machine a server may not have its turn for seconds: the ensemble must not fall apart each time.
      config: ["tickTime=2000"],
    },
    arguments: (program) => [
      ...["--mail-drop", mailDrop],
      // Three servers on one disk take their time over large messages; and nothing of what is shown here is about
      // sessions with ZooKeeper that end while their broker lives.
      ...["--zk-session-timeout", "30"],
      // The default of format 1 drops what is stored for a session after a time by chance: some of it within this test.
      ...(program === older ? ["--bank-ttl", "max"] : []),
    ],
  });
  load = new UpgradeLoad(cluster);
  await load.begin();
}, 300_000);
afterAll(async () => {
  await load?.pause();
  await cluster?.stop();
});

/** Connects where packets may take their time. */
function dial({ port }: BrokerSeat, options: AnyPacket = {}): Promise<RawClient> {
  return RawClient.connect(port, { patience: patienceMs, ...options });
}

const textOf = ({ payload }: AnyPacket): string => payload.toString();

/** From each broker to one: live messages at every QoS, retained ones, those of shared groups, and wills. */
async function hearsEverybody(there: BrokerSeat, stage: number): Promise<void> {
  const own = `stage/${stage}/${there.id}`;
  const listener = await dial(there);
  await listener.subscribe(`${own}/#`, { qos: 2 });
  await listener.subscribe(`$share/g/shared/${own}`, { qos: 1 });
  for (const here of cluster.seats) {
    const teller = await dial(here, {
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

/** From each broker to each, to all at the same time. */
async function everybodyHearsEverybody(): Promise<void> {
  const stage = ++stages;
  await Promise.all(cluster.seats.map((there) => hearsEverybody(there, stage)));
  // What was kept last of each is found at every broker.
  const last = cluster.seats.at(-1)!.id;
  for (const seat of cluster.seats) {
    const reader = await dial(seat);
    await reader.subscribe(`stage/${stage}/+/kept`, { qos: 0 });
    const found = await reader.takeMany("publish", cluster.seats.length);
    expect(found.map(textOf).sort()).toEqual(cluster.seats.map(({ id }) => `${last} 1 stage/${stage}/${id}/kept`));
    reader.disconnect();
  }
}

interface Replacement {
  readonly program: string;
  /** How the broker ends that stands there. */
  readonly ended: "SIGTERM" | "SIGKILL";
}

/** Ends one broker, starts another executable in its place, and looks at everything. */
async function replace(seat: BrokerSeat, { program, ended }: Replacement): Promise<void> {
  const { history } = load;
  const others = cluster.seats.filter((other) => other !== seat);
  // At QoS 0 what is under way to another broker is lost when one dies.
  const guests = await Promise.all(others.map((other) => load.guest(other, ended === "SIGKILL" ? 1 : 0)));
  const before = history.acknowledgedCount;
  if (ended === "SIGTERM") load.avoided = seat;
  await seat.end(ended);
  await seat.start(program);
  load.avoided = undefined;
  await everybodyHearsEverybody();
  await Promise.all(cluster.seats.map((one) => load.mailDropIsWhole(one)));
  await eventually(() => history.acknowledgedCount > before + 50, "publishers go on", patienceMs);
  const missed = (): string[] => guests.flatMap((one) => one.missed());
  await eventually(() => missed().length === 0, "who stayed has heard all", patienceMs).catch((error) => {
    throw new Error(`${error.message}: ${missed().length} missed, ${missed().slice(0, 5).join("; ")}`);
  });
  for (const one of guests) one.leave();
  expect(cluster.wrong()).toEqual([]);
}

/**
 * How long the audit may find something when all is settled, in ms. A broker of this version has nothing wrong at any
 * time. One of format 1 has a message's credits free before it removes the payload's parts; and what its branch pays
 * for besides messages, that is sessions and the like, and parts that somebody who died has left of a payload, it does
 * not count: that must fit into what it keeps free, or go with its teller's next look at parts of the dead.
 */
const unbalancedMaxMs = { thisVersion: 0, format1: 2 * sweepMs + orphanPartsMs } as const;

async function everythingIsRight(brokers: keyof typeof unbalancedMaxMs): Promise<void> {
  await load.pause();
  expect(await load.settle()).toEqual([]);
  let wrong: readonly string[] = [];
  const isBalanced = async (): Promise<boolean> => {
    wrong = await auditOf(cluster);
    return wrong.length === 0;
  };
  const settledAt = performance.now();
  await eventually(isBalanced, "the bank is right", unbalancedMaxMs[brokers]).catch((error) => {
    throw new Error(`${error.message}: ${wrong.join("; ")}`);
  });
  console.log(`the audit balances after ${Math.round(performance.now() - settledAt)} ms`);
  expect(cluster.wrong()).toEqual([]);
  console.log(`${load.figures}, none lost`);
  load.goOn();
}

test("an upgrade from format 1, one broker at a time, of which one dies", async () => {
  await everybodyHearsEverybody();
  const [a, b, c] = cluster.seats as [BrokerSeat, BrokerSeat, BrokerSeat];
  await replace(a, { program: executable, ended: "SIGTERM" });
  // Of format 1, while the others are of both.
  await replace(b, { program: executable, ended: "SIGKILL" });
  await replace(c, { program: executable, ended: "SIGTERM" });
  await everythingIsRight("thisVersion");
}, 1_200_000);

test("... and back, and another one dies", async () => {
  const [a, b, c] = cluster.seats as [BrokerSeat, BrokerSeat, BrokerSeat];
  // Of format 2, whose sessions go to brokers of format 1.
  await replace(a, { program: older, ended: "SIGKILL" });
  await replace(b, { program: older, ended: "SIGTERM" });
  await replace(c, { program: older, ended: "SIGKILL" });
  await everythingIsRight("format1");
}, 1_200_000);
