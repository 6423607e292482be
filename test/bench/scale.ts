/**
 * `bun run bench:scale`: how many subscriptions a second one broker takes on ZooKeeper whose filters have no level in
 * common, and a cluster of three; how soon a broker joins it; and what a subscription costs one broker that holds a
 * million of them.
 */
import { RawClient } from "../support/raw-client.ts";
import { start } from "./brokers.ts";
import { type ClusterBroker, startBenchCluster } from "./cluster-brokers.ts";
import { compilerSeconds, cpuSeconds, residentBytes } from "./process.ts";
import { subscribeStorm } from "./storm.ts";

/** A million filters cost some 100 credits each. */
const rich = ["--bank-capital", "1000000000"];
const storm = 100_000;
const cold = 50_000;
const targetPerSecond = 10_000;
const many = 1_000_000;
/** A session holds no more than 100,000. */
const holders = 10;

/** Filters of which each needs levels of its own: first at processes that have just started, then once more. */
async function withoutLevels(): Promise<void> {
  const cluster = await startBenchCluster(1, 1, rich);
  const [{ port, pid }] = cluster.brokers as [ClusterBroker];
  const pids = [pid, cluster.ensemble.servers[0]!.pid];
  for (const lap of ["just started", "once more"]) {
    const before = pids.map((each) => cpuSeconds(each) - compilerSeconds(each));
    const client = await RawClient.connect(port);
    const perSecond = await subscribeStorm([client], cold, (number) => `${lap}-${number}/commands`);
    const costs = pids.map((each, at) => ((cpuSeconds(each) - compilerSeconds(each) - before[at]!) * 1e6) / cold);
    const cpu = `${costs.map(Math.round).join(" + ")} us of CPU each, the broker's and ZooKeeper's, compilers not counted`;
    console.log(`one broker on ZooKeeper, ${lap}: ${verdictOf(perSecond)}; ${cpu}`);
  }
  await cluster.stop();
}

function verdictOf(perSecond: number): string {
  const target = targetPerSecond.toLocaleString("en");
  const verdict = perSecond >= targetPerSecond ? "reached" : "MISSED";
  return `${Math.round(perSecond).toLocaleString("en")} subscriptions/s (target ${target}: ${verdict})`;
}

async function inCluster(): Promise<void> {
  const cluster = await startBenchCluster(3, 1, rich);
  const clients = await Promise.all(cluster.brokers.map(({ port }) => RawClient.connect(port)));
  const perSecond = await subscribeStorm(clients, storm);
  console.log(`three brokers: ${verdictOf(perSecond)}`);
  const startedAt = performance.now();
  await cluster.add();
  console.log(`a fourth one joins them in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  await cluster.stop();
}

async function alone(): Promise<void> {
  const broker = await start("mqttzoo");
  const clients = await Promise.all(Array.from({ length: holders }, () => RawClient.connect(broker.port)));
  const before = residentBytes(broker.pid);
  const perSecond = await subscribeStorm(clients, many);
  await Bun.sleep(20_000);
  const bytes = Math.round((residentBytes(broker.pid) - before) / many);
  console.log(
    `one broker alone: ${many.toLocaleString("en")} subscriptions, ${bytes} bytes each, ${Math.round(perSecond).toLocaleString("en")}/s`,
  );
  await broker.stop();
}

await withoutLevels();
await inCluster();
await alone();
process.exit(0);
