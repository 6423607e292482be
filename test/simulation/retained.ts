/**
 * Worlds in which retained messages are set and cleared on topics that lie below each other, from several brokers at
 * once, while brokers die and lose contact. At rest every broker holds what the store holds, and that is what was
 * acknowledged last.
 */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { topicOfPath } from "../../src/coordinator/paths.ts";
import { decodeMessage } from "../../src/mail/records.ts";
import type { Publish } from "../../src/mqtt/publish.ts";
import { topicOf } from "../../src/mqtt/publish.ts";
import { History } from "../chaos/history.ts";
import { Actor } from "./actors.ts";
import { unsettled } from "./checkers.ts";
import { World } from "./world.ts";

/** "": cleared. */
interface Write {
  readonly topic: string;
  readonly text: string;
  isAcknowledged: boolean;
}

/** Levels above and below each other, and beside; the first level is the writer's own, or everybody's. */
const shapes = ["", "/b", "/b/c", "/b/c/d", "/b/e", "/", "//c", "/b/c/d/f"];

/** Publishes that are not acknowledged, at most. */
const window = 12;

class RetainedWorld extends World {
  /** Where all write now. */
  branch = 0;
}

class Writer extends Actor {
  declare readonly world: RetainedWorld;
  readonly writes: Write[];
  isBusy = true;

  constructor(name: string, world: RetainedWorld) {
    const writes: Write[] = [];
    const session = new ClientSession(({ publish }, reason) => {
      const [topic, text] = [topicOf(publish), textOf(publish)];
      const write = writes.find((one) => !one.isAcknowledged && one.topic === topic && one.text === text);
      if (write !== undefined && reason < 0x80) write.isAcknowledged = true;
    });
    super(name, { world, history: new History(), session });
    this.writes = writes;
  }

  /** Often several at once: a message below, and then the one above it. */
  work(): void {
    const { random } = this.world;
    for (let left = 1 + Math.floor(random.next() * 3); left > 0; left--) this.#write();
    if (this.isBusy) this.world.after(random.next() * random.next() * 80, () => this.work());
  }

  #write(): void {
    if (!this.isBusy || !this.up || this.session.outgoing.size >= window) return;
    const { random } = this.world;
    // Few are written on each branch of the tree, so what goes wrong with the first of them is not made good by later
    // ones.
    if (random.next() < 0.2) this.world.branch++;
    const owner = random.next() < 0.5 ? this.name : "all";
    const topic = `${owner}/${this.world.branch}${shapes[Math.floor(random.next() * shapes.length)]!}`;
    const text = random.next() < 0.45 ? "" : `${this.name} ${this.writes.length}`;
    this.writes.push({ topic, text, isAcknowledged: false });
    this.client!.publish(topic, text, { qos: 1, retain: true }).catch(() => {});
  }
}

function textOf({ payloadBytes, payloadStart, payloadEnd }: Publish): string {
  return decodeUtf8(payloadBytes, payloadStart, payloadEnd);
}

/** The messages that the store holds, by topic. */
function stored(world: World): Map<string, string> {
  const found = new Map<string, string>();
  for (const [path, { data }] of world.keeper.tree.nodes) {
    if (!path.startsWith("/retained/") || data.length === 0) continue;
    const topic = topicOfPath("/retained", path);
    found.set(topic, textOf(decodeMessage(topic, data)));
  }
  return found;
}

/** Brokers that hold something else than the store. */
function unlike(world: World): string[] {
  const due = stored(world);
  const wrong: string[] = [];
  for (const { id, broker } of world.nodes.values()) {
    const held = new Map(
      broker!.context.retained.match(["#"]).map(({ topic, publish }) => [topic, textOf(publish)] as const),
    );
    for (const topic of new Set([...held.keys(), ...due.keys()]))
      if (held.get(topic) !== due.get(topic))
        wrong.push(`${topic}: ${id} has ${held.get(topic)}, the store has ${due.get(topic)}`);
  }
  return wrong;
}

/** Topics whose message is older than what its publisher was told; also where others write, too. */
function outdated(world: World, writers: readonly Writer[]): string[] {
  const due = stored(world);
  const wrong: string[] = [];
  for (const { name, writes } of writers) {
    const topics = new Set(writes.map(({ topic }) => topic));
    for (const topic of topics) {
      const own = writes.filter((write) => write.topic === topic);
      const last = own.findLastIndex(({ isAcknowledged }) => isAcknowledged);
      const text = due.get(topic) ?? "";
      const isOwn = topic.split("/")[0] === name;
      const at = own.findLastIndex((write) => write.text === text);
      if (last === -1 || at >= last || (!isOwn && !text.startsWith(`${name} `))) continue;
      wrong.push(`${topic}: the store has "${text}", ${name} was acknowledged "${own[last]!.text}"`);
    }
  }
  return wrong;
}

/** Empty nodes below which there is nothing: nobody would ever remove them. */
function emptyLevels(world: World): string[] {
  return [...world.keeper.tree.nodes].flatMap(([path, { data, children }]) =>
    path.startsWith("/retained/") && data.length === 0 && children.size === 0 ? [`${path} is an empty level`] : [],
  );
}

export interface RetainedOptions {
  /** Brokers neither die nor lose contact. */
  readonly isCalm?: boolean;
}

/** Everything that is wrong at the end of one such world. */
export async function runRetained(seed: number, { isCalm = false }: RetainedOptions = {}): Promise<string[]> {
  const world = new RetainedWorld(seed, { bankCapital: 1_000_000 });
  const ids = ["a", "b", "c"];
  for (const id of ids) await world.node(id).startIn(world);
  const writers = ["w1", "w2", "w3"].map((name) => new Writer(name, world));
  for (const writer of writers) {
    writer.live();
    writer.work();
  }
  for (let trouble = 0; trouble < 4; trouble++) {
    await world.pass(200 + world.random.next() * 700);
    for (const writer of writers) if (world.random.next() < 0.4) writer.hop();
    if (!isCalm) await suffer(world);
  }
  for (const writer of writers) writer.isBusy = false;
  const isAtRest = (): boolean =>
    writers.every(({ up, session }) => up && session.outgoing.size === 0) && unsettled(world).length === 0;
  const rests = await world.pass(20_000, isAtRest);
  await world.pass(3000);
  const wrong = rests ? [] : ["not at rest"];
  wrong.push(...unlike(world), ...outdated(world, writers), ...(isCalm ? emptyLevels(world) : []));
  // Who comes back reads what the store holds, and nothing else.
  const node = world.node(ids[seed % 3]!);
  node.kill();
  await world.pass(3000);
  await node.startIn(world);
  await world.pass(500);
  return [...wrong, ...unlike(world)];
}

async function suffer(world: World): Promise<void> {
  const { random } = world;
  const nodes = [...world.nodes.values()];
  const node = nodes[Math.floor(random.next() * nodes.length)]!;
  const what = Math.floor(random.next() * 3);
  if (what === 0) {
    node.kill();
    await world.pass(random.next() < 0.5 ? random.next() * 300 : 2500);
    await node.startIn(world);
  } else if (what === 1) {
    const cut = random.next() < 0.5 ? [node] : nodes;
    for (const one of cut) one.cutKeeper();
    await world.pass(random.next() * (random.next() < 0.5 ? 300 : 4000));
    for (const one of cut) one.healKeeper();
  } else {
    node.loseNextAnswer(20 + random.next() * 800);
    await world.pass(1000);
  }
}
