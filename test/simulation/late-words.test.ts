/**
 * The last that a watcher of retained states has heard live is what is retained, once all is healed, also where links
 * were cut meanwhile (MQTTZOO_SEEDS: how many worlds).
 */
import { test } from "bun:test";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import type { Message } from "../../src/client/connection-options.ts";
import { History } from "../chaos/history.ts";
import { Actor } from "./actors.ts";
import { retainedTexts } from "./checkers.ts";
import { StatusActor, untruePresence } from "./presence.ts";
import { expectRight, seedsOf, simulationLog } from "./seeds.ts";
import { World } from "./world.ts";

const all = seedsOf("", 40);
const seeds = { ...all, count: Math.min(200, all.count) };
const topics = "status/#";

/** A watcher whose session ends with its connection. */
class Bystander extends Actor {
  readonly last = new Map<string, string>();

  protected override received({ topic, payload }: Message): void {
    this.last.set(topic, decodeUtf8(payload));
  }
}

/** Cuts a link for a while: neither broker hears the other one, or one of them does. */
async function cut(world: World): Promise<void> {
  const { random } = world;
  const nodes = [...world.nodes.values()].sort(() => random.next() - 0.5);
  const [node, other] = [nodes[0]!, nodes[1]!];
  const way = random.next() < 0.5 ? node.cutFrom : node.deafTo;
  way.add(other.id);
  await world.pass(random.next() * 8000);
  way.delete(other.id);
}

async function run(seed: number): Promise<string[]> {
  const world = new World(seed, { bankCapital: 10_000_000, log: simulationLog });
  const ids = ["a", "b", "c"];
  for (const id of ids) await world.node(id).startIn(world);
  const all = { world, history: new History() };
  const bystanders = ids.map((id) => new Bystander(`at-${id}`, { ...all, at: [id], isBrief: true, subscribe: topics }));
  const devices = [0, 0, 2].map(
    (willDelay, at) => new StatusActor(`d${at}`, { ...all, isBrief: seed % 2 === at % 2, willDelay }),
  );
  // Its session outlives its connection: what it waits for remains, where it is not.
  const keeper = new Bystander("keeper", { ...all, subscribe: topics });
  const actors = [...bystanders, keeper, ...devices];
  for (const actor of actors) actor.live();
  await world.pass(10_000, () => actors.every(({ isReady }) => isReady));
  let isRestless = true;
  const wander = (device: StatusActor): void => {
    if (!isRestless) return;
    if (world.random.next() < 0.3) device.roam();
    else device.hop();
    world.after(200 + world.random.next() * 5000, () => wander(device));
  };
  for (const device of devices) wander(device);
  for (let trouble = 0; trouble < 3; trouble++) {
    await world.pass(world.random.next() * 1000);
    await cut(world);
  }
  isRestless = false;
  const [first] = devices;
  await world.pass(10_000, () => first!.isSettled);
  first!.goForGood("without a word");
  const isTrue = (): boolean => untruePresence(world, devices, undefined).length === 0;
  await world.pass(40_000, () => devices.every(({ isSettled }) => isSettled) && isTrue());
  await world.pass(12_000);
  const unheard = devices.flatMap(({ name }) => {
    const topic = `status/${name}`;
    const retained = retainedTexts(world, topic).get("the store");
    return bystanders
      .filter(({ last }) => last.get(topic) !== retained)
      .map((one) => `${topic} is "${retained}", ${one.name} has heard "${one.last.get(topic)}" last`);
  });
  return [...world.ended, ...untruePresence(world, devices, undefined), ...unheard];
}

test(`${seeds.count} seeds in which links are cut`, () => expectRight(seeds, run), 900_000);
