/**
 * `bun run bench:churn [SECONDS] [DEVICES]`: devices that come and go (`churn-load.ts`), so many at the same time, at
 * ours on the embedded store, at ours on one ZooKeeper server, and at mosquitto with persistence: how many were served
 * in a second, what CPU time each cost the broker, ZooKeeper and the devices themselves, how the memory grew, what
 * became of those that were not served, and how soon afterwards the broker was at rest.
 */
import { readCounts } from "./arguments.ts";
import { type BrokerName, freePort, start } from "./brokers.ts";
import type { ChurnResult } from "./churn-load.ts";
import { type ClusterBroker, startBenchCluster } from "./cluster-brokers.ts";
import { compilerSeconds, cpuSeconds, inChild, residentBytes } from "./process.ts";

const usage = `usage: bun run bench:churn [SECONDS] [DEVICES]
  SECONDS  how long each broker is measured, 15 if not given
  DEVICES  how many there are at the same time, 400 if not given`;

const [seconds, concurrent] = readCounts(usage, [15, 400]);
/**
 * Devices are played for so long before anything is measured, again and again until the compilers take little. Java's
 * needs ten seconds of a processor for ZooKeeper: while it works, it is the compiler that is measured.
 */
const warmSeconds = 5;
const warmRoundsMax = 12;
const compilingPartMax = 0.1;
/** Sessions of three seconds end, and what they leave is removed. */
const restSeconds = 30;

interface Subject {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  /** ZooKeeper's process. */
  readonly keeperPid?: number;
  /** How many connections, sessions and commits there are; undefined: it does not say. */
  readonly pending: (() => Promise<number>) | undefined;
}

function play(port: number, ms: number): Promise<ChurnResult> {
  return inChild<ChurnResult>("churn-load.ts", [String(port), String(concurrent), String(ms)]);
}

async function measure({ name, pid, port, keeperPid, pending }: Subject): Promise<number> {
  const pids = keeperPid === undefined ? [pid] : [pid, keeperPid];
  const compiling = await warmUp(port, pids);
  const before = { cpu: pids.map(cpuSeconds), bytes: residentBytes(pid) };
  const result = await play(port, seconds * 1000);
  const endedAt = performance.now();
  let left = pending === undefined ? 0 : Infinity;
  while (left > 0 && performance.now() - endedAt < restSeconds * 1000) {
    left = await pending!();
    if (left > 0) await Bun.sleep(100);
  }
  const took = ((performance.now() - endedAt) / 1000).toFixed(1);
  const rest = pending === undefined ? "" : left === 0 ? `at rest after ${took} s` : `NOT at rest after ${took} s`;
  const spent = pids.map((each, at) => cpuSeconds(each) - before.cpu[at]!);
  const costs = [...spent, result.cpuSeconds].map((cpu) => ((cpu / result.devices) * 1000).toFixed(2));
  // What is served when no new ones come any more, at a load that falls, says nothing of the rate.
  const perSecond = result.inTime / seconds;
  const megabytes = [before.bytes, residentBytes(pid)].map((bytes) => Math.round(bytes / 1024 / 1024)).join(" → ");
  const shown = `${Math.round(perSecond).toLocaleString("en").padStart(8)} devices/s  ${costs.join(" + ")} ms CPU each`;
  console.log(`${name.padEnd(32)}${shown}  ${megabytes} MB  ${result.failed} failed  ${rest}`);
  if (compiling > compilingPartMax) console.log(`${" ".repeat(32)}compilers still took ${percent(compiling)} of it`);
  for (const [failure, count] of Object.entries(result.failures)) console.log(`${" ".repeat(32)}${count} ${failure}`);
  return perSecond;
}

/** Plays devices until what runs often is compiled. Returns the compilers' part of the last round's CPU time. */
async function warmUp(port: number, pids: readonly number[]): Promise<number> {
  const sum = (of: (pid: number) => number): number => pids.reduce((total, pid) => total + of(pid), 0);
  let part = 1;
  for (let round = 0; round < warmRoundsMax && part > compilingPartMax; round++) {
    const before = { all: sum(cpuSeconds), compilers: sum(compilerSeconds) };
    await play(port, warmSeconds * 1000);
    part = (sum(compilerSeconds) - before.compilers) / (sum(cpuSeconds) - before.all);
  }
  return part;
}

function percent(part: number): string {
  return `${Math.round(100 * part)} %`;
}

/** Reads a figure that a broker of ours tells of itself. */
async function pendingAt(httpPort: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  const of = (name: string): number => Number(new RegExp(`^mqttzoo_${name} (\\d+)`, "m").exec(text)?.[1] ?? 0);
  return of("connections") + of("sessions") + of("store_pending_commits");
}

async function alone(name: BrokerName): Promise<number> {
  const httpPort = name === "mqttzoo" ? await freePort() : 0;
  const running = await start(name, "stored", httpPort === 0 ? {} : { flags: ["--http-port", String(httpPort)] });
  const pending = httpPort === 0 ? undefined : () => pendingAt(httpPort);
  const what = name === "mqttzoo" ? "mqttzoo, embedded store" : `${name}, saving each second`;
  const result = await measure({ name: what, pid: running.pid, port: running.port, pending });
  await running.stop();
  return result;
}

async function onZooKeeper(): Promise<number> {
  const httpPort = await freePort();
  const cluster = await startBenchCluster(1, 1, ["--http-port", String(httpPort)]);
  const [{ pid, port }] = cluster.brokers as [ClusterBroker];
  const keeperPid = cluster.ensemble.servers[0]!.pid;
  const pending = (): Promise<number> => pendingAt(httpPort);
  const result = await measure({ name: "mqttzoo, one ZooKeeper", pid, port, keeperPid, pending });
  await cluster.stop();
  return result;
}

console.log(`${" ".repeat(32)}CPU time: the broker's, ZooKeeper's where there is one, the devices'`);
const mosquitto = await alone("mosquitto");
const embedded = await alone("mqttzoo");
const zookeeper = await onZooKeeper();
const checks: readonly [string, number, number][] = [
  ["embedded, devices/s", embedded, 2000],
  ["one ZooKeeper, devices/s", zookeeper, 1000],
];
for (const [what, value, target] of checks)
  console.log(
    `${what.padEnd(32)}${Math.round(value).toString().padStart(8)}  target ${target}  ${value >= target ? "reached" : "MISSED"}`,
  );
console.log(`embedded : mosquitto            ${(embedded / mosquitto).toFixed(2).padStart(8)}`);
process.exit(0);
