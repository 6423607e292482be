/**
 * ZooKeeper's disks are slow, fail, are damaged, or forget what was not synced, all at once: what was acknowledged
 * stays, or is refused, and nobody is served anything else.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seeded } from "../simulation/world.ts";
import { eventually } from "../support/broker.ts";
import { FaultyDisk } from "../support/faulty-disk.ts";
import { type ClusterProcesses, startClusterProcesses } from "./cluster-processes.ts";
import { auditOf, describeMail, healMaxMs, Load } from "./load.ts";

const seed = Number(process.env.MQTTZOO_SEED ?? Math.floor(Math.random() * 1_000_000) + 1);
const random = seeded(seed);
const losses = 3;
const folders: string[] = [];
const disks: FaultyDisk[] = [];
let cluster: ClusterProcesses;
let load: Load;

beforeAll(async () => {
  console.log(`MQTTZOO_SEED=${seed}`);
  const within = (at: number, folder: string): readonly string[] => {
    folders[at] = folder;
    disks[at] ??= new FaultyDisk(folder, { remembers: true, keepsNames: true });
    return disks[at].within;
  };
  cluster = await startClusterProcesses(["a", "b", "c"], { ensemble: { within } });
  // ZooKeeper does not sync its first snapshot, and does not start without any: the disk has it by now.
  for (const disk of disks) disk.writeBack();
  load = new Load(cluster, random);
  await load.begin();
}, 120_000);
afterAll(async () => {
  load?.end();
  await cluster?.stop();
  for (const disk of disks) disk.remove();
});

/** Some messages have been acknowledged since. */
function goesOn(since: number): Promise<void> {
  return eventually(() => load.history.acknowledgedCount > since + 20, "messages are acknowledged", healMaxMs);
}

async function judge(): Promise<void> {
  load.pause();
  if (!(await load.heals())) expect([...load.restless(), ...(await describeMail(cluster))]).toEqual([]);
  expect([...load.wrong(), ...cluster.wrong(), ...(await auditOf(cluster))]).toEqual([]);
  load.goOn();
}

async function startAll(): Promise<void> {
  for (const server of cluster.ensemble.servers) server.start();
  await cluster.ensemble.ready();
  await Promise.all(cluster.seats.map((seat) => seat.start()));
}

test(`${losses} losses of power on all machines at once lose nothing that was acknowledged`, async () => {
  for (let loss = 1; loss <= losses; loss++) {
    await goesOn(load.history.acknowledgedCount);
    await Promise.all([
      ...cluster.seats.map((seat) => seat.end("SIGKILL")),
      ...cluster.ensemble.servers.map((server) => server.kill()),
    ]);
    // All that was not synced is gone, or some of it has come to disk.
    const share = loss % 2 === 0 ? random.next() : 0;
    for (const disk of disks) disk.losePower(() => random.next() < share);
    await startAll();
    await judge();
  }
}, 300_000);

test("syncs that take long, and then do not, lose nothing and end nobody", async () => {
  for (const disk of disks) disk.set("sync-ms=120");
  const before = load.history.acknowledgedCount;
  await goesOn(before);
  await Bun.sleep(3000);
  for (const disk of disks) disk.set("");
  await judge();
}, 200_000);

test("a ZooKeeper server whose disk fails ends, and the others go on", async () => {
  const leader = cluster.ensemble.servers.indexOf(await cluster.ensemble.leader());
  disks[leader]!.set("eio=sync");
  await goesOn(load.history.acknowledgedCount);
  disks[leader]!.set("");
  await cluster.ensemble.servers[leader]!.kill();
  cluster.ensemble.servers[leader]!.start();
  await cluster.ensemble.ready();
  await judge();
}, 200_000);

test("a flipped bit in a server's log is noticed, or mended from the other servers, and never served", async () => {
  const at = Math.floor(random.next() * folders.length);
  const server = cluster.ensemble.servers[at]!;
  await goesOn(load.history.acknowledgedCount);
  await server.kill();
  const folder = join(folders[at]!, "version-2");
  const log = readdirSync(folder)
    .filter((name) => name.startsWith("log."))
    .sort((a, b) => Number.parseInt(a.slice(4), 16) - Number.parseInt(b.slice(4), 16))
    .at(-1)!;
  const bytes = readFileSync(join(folder, log));
  // Behind the last record the file is filled with zeros.
  const used = bytes.findLastIndex((byte) => byte !== 0);
  const flipped = Math.floor(used * (0.2 + 0.6 * random.next()));
  bytes[flipped]! ^= 1 << Math.floor(random.next() * 8);
  writeFileSync(join(folder, log), bytes);
  console.log(`bit flipped in byte ${flipped} of ${used} of ${log} of server ${at + 1}`);
  server.start();
  await goesOn(load.history.acknowledgedCount);
  await judge();
  // What an operator does with a damaged server: it gets everything anew from the others.
  await server.kill();
  rmSync(folder, { recursive: true, force: true });
  server.start();
  await cluster.ensemble.ready();
  await judge();
}, 300_000);
