/**
 * One run of a world with devices of MQTT-SN, 1.2 and 2.0, over a network that loses, doubles and reorders datagrams;
 * with strangers that forge addresses, and brokers that die, sleep and are cut off. Then it heals, and everything that
 * is wrong at its end is found.
 */
import type { Log } from "../../src/base/log.ts";
import { encodeMessage } from "../../src/mqttsn/messages.ts";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { creditLooksMax, creditsStillLost, leftovers, overdrawn, unsettled, wrongOwners } from "./checkers.ts";
import { Liveness } from "./liveness.ts";
import { SnDevice } from "./sn-device.ts";
import { SnNetwork, underWayMs } from "./sn-network.ts";
import { SnNode } from "./sn-node.ts";
import { World } from "./world.ts";

export interface SnOutcome {
  readonly sent: number;
  readonly wakings: number;
  readonly datagrams: number;
  readonly wrong: readonly string[];
}

/** Simulated time in which everything must come to rest after the last fault. */
const healMs = 60_000;
const retryMs = 300;
/** The time in which a silent client of the strangers' is given up: half more than what they say. */
const strangersSeconds = 3;
/** The time in which whoever is silent is given up, those that owe their wills, too. */
const givenUpMs = 40_000;
const strangers = 6;

interface Cast {
  readonly world: World;
  readonly network: SnNetwork;
  readonly nodes: readonly SnNode[];
  readonly devices: readonly SnDevice[];
  readonly actors: readonly Actor[];
  readonly publishers: readonly PublishingActor[];
}

export async function runSn(seed: number, log?: Log): Promise<SnOutcome> {
  const world = new World(seed, { log, bankCapital: 10_000_000, brokerOptions: { snRetry: retryMs, sn2: true } });
  const history = new History();
  const liveness = new Liveness(world);
  const network = new SnNetwork(world);
  const nodes = ["a", "b", "c"].map((id) => new SnNode(world, world.node(id), network));
  for (const node of world.nodes.values()) await node.startIn(world);
  const publishers = [1, 2].map(
    (qos) => new PublishingActor(`p${qos}`, { world, history, pace: 600, qos: qos as 1 | 2 }),
  );
  const actors = [...publishers, new Actor("s1", { world, history, subscribe: "sim/#" })];
  const device = (name: string, version: 1 | 2, subscribe?: string): SnDevice =>
    new SnDevice(name, { world, network, history, version, ...(subscribe !== undefined && { subscribe }) });
  const devices = [
    ...[device("one", 1, "sim/#"), device("two", 2, "sim/#"), device("silent", 1, "sim/#")],
    ...[device("teller1", 1), device("teller2", 2)],
  ];
  const cast = { world, network, nodes, devices, actors, publishers };
  for (const actor of actors) actor.live();
  for (const one of devices) one.start();
  const isReady = (): boolean => actors.every((actor) => actor.isReady) && devices.every((one) => one.isReady);
  const wrong: string[] = [];
  if (await world.pass(30_000, isReady)) {
    await suffer(cast);
    wrong.push(...(await heal(cast)));
    wrong.push(...["s1", "one", "two", "silent"].flatMap((name) => history.judge(name)));
  } else wrong.push("not everybody could connect at the start");
  wrong.push(...network.wrong, ...(await overdrawn(world)), ...liveness.end());
  const wakings = devices.reduce((sum, one) => sum + one.wakings, 0);
  return { sent: history.sent.length, wakings, datagrams: network.passed, wrong };
}

/** Lets them work while whatever may happen does. */
async function suffer(cast: Cast): Promise<void> {
  const { world, devices, publishers } = cast;
  for (const publisher of publishers) {
    publisher.isBusy = true;
    publisher.work();
  }
  for (const one of devices) one.isBusy = one.name.startsWith("teller");
  let goesOn = true;
  forge(cast, () => goesOn);
  for (let fault = 3 + Math.floor(world.random.next() * 3); fault > 0; fault--) {
    await world.pass(500 + world.random.next() * 2500);
    const choice = misfortunes[Math.floor(world.random.next() * misfortunes.length)]!;
    await choice(world);
  }
  await world.pass(2000);
  goesOn = false;
  for (const who of [...publishers, ...devices]) who.isBusy = false;
}

/** Has everything come to rest, and everybody leave. Returns what does not. */
async function heal({ world, network, nodes, devices, actors, publishers }: Cast): Promise<string[]> {
  for (const one of devices) one.isCalm = true;
  // A stranger's session outlives its broker for a day.
  const left = (): string[] => leftovers(world).filter((path) => /^\/sessions\/..\/(?!stranger)/.test(path));
  const rests = (): boolean =>
    actors.every(({ up }) => up) &&
    [...publishers, ...devices].every(({ isSettled }) => isSettled) &&
    left().length === 0;
  network.isKind = true;
  if (!(await world.pass(healMs, rests))) {
    const states = devices.map(({ name, state, isSettled }) => `${name}:${state}:${isSettled}`);
    return [`not at rest: ${states.join(" ")}; left: ${left().slice(0, 6).join(" ")}`];
  }
  for (const one of devices) one.isLeaving = true;
  const hasLeft = (): boolean => devices.every(({ state }) => state === "away");
  if (!(await world.pass(healMs, hasLeft))) return ["not every device could leave"];
  // Nobody is remembered who has gone, nor what strangers have begun.
  const isEmpty = (): boolean => nodes.every(({ gateway }) => gateway?.clients === 0);
  await world.pass(givenUpMs, isEmpty);
  const hoards = nodes.map(({ id, gateway }) => `${id} has ${gateway?.clients} clients of MQTT-SN; there are none`);
  if (!isEmpty()) return hoards;
  await world.pass(1000, () => unsettled(world).length === 0);
  return [...wrongOwners(world), ...unsettled(world), ...(await creditsStillLost(world, creditLooksMax))];
}

/** Strangers send what they like from addresses at which nobody hears: in their own names, and for sleepers. */
function forge(cast: Cast, goesOn: () => boolean): void {
  const { world, network, devices, nodes } = cast;
  const { random } = world;
  world.after(random.next() * 400, () => {
    if (!goesOn()) return;
    const number = Math.floor(random.next() * strangers);
    const messageId = 1 + Math.floor(random.next() * 0xffff);
    const id = `stranger${number}`;
    const { name } = devices[Math.floor(random.next() * devices.length)]!;
    const connect = { will: false, clean: true, protocolId: 1, duration: strangersSeconds, clientId: id } as const;
    const messages = [
      encodeMessage({ kind: "connect", ...connect }),
      encodeMessage({ kind: "connect", ...connect, will: true }),
      encodeMessage({ kind: "subscribe", dup: false, qos: 2, messageId, topicKind: 0, topic: "sim/#" }),
      encodeMessage({ kind: "pingreq", clientId: name }),
      encodeMessage({ kind: "searchgw", radius: 0 }),
      encodeMessage({ kind: "disconnect", duration: strangersSeconds }),
      encodeMessage({ kind: "regack", topicId: messageId, messageId, code: 0 }),
      Uint8Array.from({ length: 2 + Math.floor(random.next() * 20) }, () => Math.floor(random.next() * 256)),
    ];
    const bytes = messages[Math.floor(random.next() * messages.length)]!;
    const node = nodes[Math.floor(random.next() * nodes.length)]!;
    network.forge(`forged:${number + 1}`, node.id, bytes);
    forge(cast, goesOn);
  });
}

type Misfortune = (world: World) => Promise<void>;

const misfortunes: readonly Misfortune[] = [
  // A broker dies, and is back before its session has ended, or after; nothing is under way to it any more.
  async (world) => {
    const node = pick(world);
    node.kill();
    await world.pass(underWayMs + world.random.next() * (world.random.next() < 0.5 ? 200 : 5000));
    await node.startIn(world);
  },
  async (world) => {
    const node = pick(world);
    node.sleep();
    await world.pass(world.random.next() * 4500);
    node.wakeUp();
  },
  async (world) => {
    const [node, other] = [pick(world), pick(world)];
    if (node !== other) node.cutFrom.add(other.id);
    await world.pass(world.random.next() * 4000);
    node.cutFrom.delete(other.id);
  },
  async (world) => {
    const node = pick(world);
    node.cutKeeper();
    await world.pass(world.random.next() * 4000);
    node.healKeeper();
  },
  async (world) => {
    pick(world).loseNextAnswer(20 + world.random.next() * 1500);
    await world.pass(1500);
  },
  // None.
  (world) => world.pass(3000).then(() => {}),
];

function pick(world: World) {
  const nodes = [...world.nodes.values()];
  return nodes[Math.floor(world.random.next() * nodes.length)]!;
}
