/**
 * A client that may do everything that packets allow, for as long as is wanted, against one broker on a ZooKeeper
 * server of 512 MB. What it does is drawn by a seed: a dozen attacks, three at a time. Every ten seconds a line says
 * how a bystander fares (on a topic that no wildcard matches: else he would wait for the attackers' mail), and what
 * broker and ZooKeeper take; at the end all of it is judged, and the bank audited.
 *
 *     bun run test:hostile -- --minutes 10 --seed 7
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePort, untilListening } from "../bench/brokers.ts";
import { residentBytes } from "../bench/process.ts";
import { seeded } from "../simulation/world.ts";
import { startBystander } from "../support/bystander.ts";
import { heapBytes, liveHeapBytes } from "../support/java-heap.ts";
import { executable, runExecutable } from "../support/process.ts";
import { startEnsemble } from "../support/zookeeper.ts";
import { attacks, Battlefield } from "./hostilities.ts";

const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" } } });
const minutes = Number(values.minutes ?? 10);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error("--minutes takes a number above 0, --seed a whole number");
  process.exit(2);
}

const heapMegabytes = 512;
const attacksAtOnce = 3;
/** One attack is cut off, with its connections, after this. */
const attackMs = 20_000;
const lookMs = 10_000;
/** The bounds on which it is judged. */
const brokerBytesMax = 1024 ** 3;
/** Turns of the event loop that may have taken more than 100 ms of processor time, in each minute. */
const longTurnsMax = 1;
/** The bystander's waits, 99 of 100, in ms, on a machine that does nothing else. */
const waitMs = 50;

const ensemble = await startEnsemble(1, { properties: [`-Xmx${heapMegabytes}m`] });
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-hostile-"));
const [port, httpPort, linkPort] = [await freePort(), await freePort(), await freePort()];
const tree = `${ensemble.connect}/hostile`;
const flags = {
  host: "127.0.0.1",
  port,
  "http-port": httpPort,
  "link-host": "127.0.0.1",
  "link-port": linkPort,
  zk: tree,
};
const broker = Bun.spawn(
  [executable, "broker", ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])],
  { stdout: "ignore", stderr: Bun.file(join(folder, "log")), cwd: folder },
);
await untilListening(port);
const bystander = await startBystander(port, "$bystander");
const faults = new Set<string>();
const random = seeded(seed);
const counts = new Map<string, number>();
let isOver = false;

/** Draws attacks one after the other, and makes them. */
async function rage(field: Battlefield): Promise<void> {
  while (!isOver) {
    const [name, attack] = field.pick(Object.entries(attacks));
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const cut = Bun.sleep(attackMs);
    // Being refused, closed or left without an answer is what it is to expect.
    await Promise.race([attack(field).catch(() => {}), cut]);
    field.retreat();
  }
}

async function longTurns(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  const upTo = (end: string): number =>
    Number(new RegExp(`mqttzoo_turn_seconds_bucket\\{le="${end.replace("+", "\\+")}"\\} (\\d+)`).exec(text)![1]);
  return upTo("+Inf") - upTo("0.1");
}

const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`;

async function look(startedAt: number): Promise<void> {
  const memory = residentBytes(broker.pid);
  const { p99, worst, stretch, late } = await bystander.waits();
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(
    `${seconds} s: the bystander waits ${Math.round(p99)} ms (p99; machine: x${stretch.toFixed(1)}, ${Math.round(late)} ms late), ` +
      `at worst ${Math.round(worst)}; broker ${megabytes(memory)}; ZooKeeper's heap ${megabytes(heapBytes(ensemble.servers[0]!.pid))}; ` +
      `turns above 100 ms: ${await longTurns()}`,
  );
  if (memory > brokerBytesMax) faults.add(`the broker has taken ${megabytes(memory)}`);
  if (p99 > waitMs * stretch + late) faults.add(`the bystander has waited ${Math.round(p99)} ms (p99)`);
}

console.log(`seed ${seed}, ${minutes} minutes`);
void broker.exited.then((code) => {
  if (!isOver) faults.add(`the broker has ended with ${code}`);
});
const startedAt = performance.now();
const fields = Array.from({ length: attacksAtOnce }, () => new Battlefield(port, random));
const raging = fields.map(rage);
while (performance.now() - startedAt < minutes * 60_000 && broker.exitCode === null) {
  await Bun.sleep(lookMs);
  await look(startedAt).catch((error) => faults.add(String(error)));
}
isOver = true;
for (const field of fields) field.retreat();
await Promise.race([Promise.all(raging), Bun.sleep(2 * attackMs)]);

const long = await longTurns().catch(() => Number.NaN);
if (!(long <= longTurnsMax * Math.ceil(minutes))) faults.add(`${long} turns have taken more than 100 ms`);
const live = liveHeapBytes(ensemble.servers[0]!.pid);
console.log(
  `${megabytes(live)} live in ZooKeeper's heap of ${heapMegabytes} MB; ${JSON.stringify(Object.fromEntries(counts))}`,
);
const audit = await runExecutable(["bank", "audit", "--zk", tree]);
console.log(audit.out.trim());
if (audit.code !== 0) faults.add(`the audit says: ${audit.err || audit.out}`);
const held = (await Bun.file(join(folder, "log")).text()).split("\n").filter((line) => line.includes("was held"));
for (const line of held.slice(-10)) console.log(line.slice(0, 240));
for (const fault of faults) console.error(fault);
bystander.stop();
broker.kill("SIGKILL");
await broker.exited;
await ensemble.stop();
if (faults.size === 0) rmSync(folder, { recursive: true, force: true });
else console.error(`seed ${seed}; the broker's log is in ${folder}`);
process.exit(faults.size === 0 ? 0 : 1);
