/**
 * `bun run bench:churn-floor [SECONDS] [DEVICES]`: the floor of `bench:churn`. It does what the devices of that one
 * have the store do, in the same commits and with as many at the same time, and nothing else: there is no MQTT, no
 * socket of a device, no bank, and nothing is read. Less than that no broker on this store can cost.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Coordinator, WriteOperation } from "../../src/coordinator/coordinator.ts";
import {
  bankPath,
  branchPath,
  interestPath,
  isMailbox,
  levelMode,
  mailPath,
  messagePath,
  parentPath,
  retainedPath,
  rootPaths,
  sessionPath,
  subscriberPath,
  topicPath,
  willPath,
} from "../../src/coordinator/paths.ts";
import { EmbeddedCoordinator } from "../../src/embedded/embedded-coordinator.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { startEnsemble } from "../support/zookeeper.ts";
import { readCounts } from "./arguments.ts";
import { compilerSeconds, cpuSeconds } from "./process.ts";

const usage = `usage: bun run bench:churn-floor [SECONDS] [DEVICES]
  SECONDS  how long each store is measured, 15 if not given
  DEVICES  how many there are at the same time, 400 if not given`;

const [seconds, concurrent] = readCounts(usage, [15, 400]);
const warmSeconds = 5;
const id = "b1";
const guard: WriteOperation = { kind: "check", path: branchPath(id), version: 0 };
const bytesOf = (length: number): Uint8Array => new Uint8Array(length).fill(0x78);
/** Records as long as the broker writes them for the devices of `churn-load.ts`. */
const [session, will, subscription, interest, message, cleared, slip] = [142, 134, 110, 2, 238, 38, 79].map(bytesOf);
const nothing = new Uint8Array(0);

/** The commits of one device, in their order: each is what one packet, or the end of its session, has the store do. */
class DeviceCommits {
  readonly #store: Coordinator;
  /** The levels that were made for it. */
  readonly #made = new Set<string>();

  constructor(store: Coordinator) {
    this.#store = store;
  }

  of(number: number): (readonly WriteOperation[])[] {
    const clientId = `dbench-${number}`;
    const topic = `churn/${Math.floor(Math.random() * 1e9)}/${clientId}`;
    const isLasting = number % 2 === 0;
    const retained = topicPath(retainedPath, `${topic}/x`);
    const wanted = isLasting ? subscriberPath(`${topic}/#`, clientId) : interestPath(`${topic}/#`, id);
    // A broker alone announces no filters of clients that leave at once.
    const isAnnounced = isLasting || this.#store.isAlone !== true;
    const own = sessionPath(clientId);
    const check = (version: number): WriteOperation[] => (isLasting ? [{ kind: "check", path: own, version }] : []);
    const stored = (turn: number, data: Uint8Array): WriteOperation[] => [
      guard,
      ...this.#create(messagePath(`${topic}/x`, `${number}-${turn}`), data),
      ...this.#create(`${mailPath(clientId)}/`, slip!, "sequential"),
    ];
    const commits = [
      // CONNECT: the session and the will are there before CONNACK.
      [...(isLasting ? this.#create(own, session!) : []), ...this.#create(willPath(id, clientId), will!), guard],
      // SUBSCRIBE: the subscription is there before SUBACK.
      isAnnounced ? [...check(0), guard, ...this.#create(wanted, isLasting ? subscription! : interest!)] : [],
      // PUBLISH: the retained message is there before PUBACK, and gone before that of the one that clears it.
      [...check(0), guard, ...this.#create(retained, message!)],
      // The device does not acknowledge what it is sent: it is mail, where the session lasts.
      isLasting ? stored(1, message!) : [],
      [...check(0), remove(retained)],
      isLasting ? stored(2, cleared!) : [],
      // UNSUBSCRIBE; one that is announced is removed beside everything else.
      isAnnounced ? [...check(0), remove(wanted)] : [],
      // Its end: the session waits, and the will is gone, or published.
      [...(isLasting ? [setOf(own, session!)] : []), remove(willPath(id, clientId))],
      // The session has expired: mail, messages and record.
      isLasting ? [...check(1), ...this.#mail(clientId, topic, number), remove(mailPath(clientId)), remove(own)] : [],
      // The levels that have become empty; the embedded store removes them itself.
      [...this.#made]
        .filter((level) => !isMailbox(level))
        .toReversed()
        .map(remove),
    ];
    return commits.filter((operations) => operations.length > 0);
  }

  #mail(clientId: string, topic: string, number: number): WriteOperation[] {
    return [1, 2].flatMap((turn) => [
      remove(`${mailPath(clientId)}/${String(turn - 1).padStart(10, "0")}`),
      remove(messagePath(`${topic}/x`, `${number}-${turn}`)),
    ]);
  }

  /** Creates a node, with the levels above it that are this device's own where the store does not make them. */
  #create(path: string, data: Uint8Array, mode: "persistent" | "sequential" = "persistent"): WriteOperation[] {
    const node: WriteOperation = { kind: "create", path, data, mode, withLevels: true };
    if (this.#store.makesLevels === true) return [node];
    const missing: string[] = [];
    for (let level = parentPath(path); !isThere(level); level = parentPath(level)) missing.push(level);
    const levels = missing.reverse().filter((level) => !this.#made.has(level));
    for (const level of levels) this.#made.add(level);
    return [...levels.map((level): WriteOperation => createLevel(level)), node];
  }
}

/** Returns true for a level that all devices have in common, and for a session above its mailbox. */
function isThere(level: string): boolean {
  const depth = level.split("/").length - 1;
  return depth === 1 || level.endsWith("/churn") || (/^\/(sessions|wills|bank)\//.test(level) && !isMailbox(level));
}

function createLevel(path: string): WriteOperation {
  return { kind: "create", path, data: nothing, mode: levelMode(path) };
}

function remove(path: string): WriteOperation {
  return { kind: "delete", path, version: -1 };
}

function setOf(path: string, data: Uint8Array): WriteOperation {
  return { kind: "set", path, data, version: 0 };
}

function write(store: Coordinator, operations: readonly WriteOperation[]): Promise<void> {
  return new Promise((resolve, reject) => {
    store.write(operations, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

let devices = 0;

/** Plays devices for a while. Returns how many there were. */
async function play(store: Coordinator, ms: number): Promise<number> {
  const [before, endAt] = [devices, performance.now() + ms];
  const slot = async (): Promise<void> => {
    while (performance.now() < endAt)
      for (const operations of new DeviceCommits(store).of(devices++)) await write(store, operations);
  };
  await Promise.all(Array.from({ length: concurrent }, slot));
  return devices - before;
}

/** Makes what all devices have in common. */
async function prepare(store: Coordinator): Promise<void> {
  const shards = Array.from({ length: 256 }, (_, at) => `/sessions/${at.toString(16).padStart(2, "0")}`);
  const common = ["topics", "subscribers", "retained"].map((root) => `/${root}/churn`);
  const parents = [...rootPaths, bankPath, parentPath(branchPath(id)), branchPath(id), parentPath(willPath(id, "x"))];
  for (const path of [...parents, ...shards, ...common])
    await write(store, [{ kind: "create", path, data: nothing, mode: "persistent" }]);
}

async function measure(name: string, store: Coordinator, keeperPid?: number): Promise<void> {
  await prepare(store);
  const pids = keeperPid === undefined ? [process.pid] : [process.pid, keeperPid];
  await play(store, warmSeconds * 1000);
  const before = pids.map((pid) => ({ all: cpuSeconds(pid), compilers: compilerSeconds(pid) }));
  const startedAt = performance.now();
  const played = await play(store, seconds * 1000);
  const perSecond = Math.round(played / ((performance.now() - startedAt) / 1000));
  const costs = pids.map((pid, at) => {
    const all = cpuSeconds(pid) - before[at]!.all;
    const compilers = compilerSeconds(pid) - before[at]!.compilers;
    return `${((1000 * (all - compilers)) / played).toFixed(2)} (and ${((1000 * compilers) / played).toFixed(2)})`;
  });
  const shown = `${perSecond.toLocaleString("en").padStart(8)} devices/s  ${costs.join(" + ")} ms CPU each`;
  console.log(`${name.padEnd(32)}${shown}`);
}

console.log(
  `${" ".repeat(32)}CPU time without compilers, and theirs: this process, and ZooKeeper's where there is one`,
);
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bench-"));
const embedded = await EmbeddedCoordinator.open(folder);
await measure("embedded store", embedded);
await new Promise<void>((resolve) => embedded.close(resolve));
rmSync(folder, { recursive: true, force: true });

const ensemble = await startEnsemble(1, { properties: ["-XX:TieredStopAtLevel=4", "-Xmx1g"] });
const onFatal = (error: Error): void => {
  throw error;
};
const keeper = await ZooKeeperCoordinator.open({ connect: `${ensemble.connect}/floor`, id, onFatal });
await measure("one ZooKeeper", keeper, ensemble.servers[0]!.pid);
await new Promise<void>((resolve) => keeper.close(resolve));
await ensemble.stop();
process.exit(0);
