/**
 * `bun run bench:scale`: how many subscriptions a second a cluster of three takes, how soon a broker joins it, and what
 * a subscription costs one broker that holds a million of them.
 */
import { RawClient } from "../support/raw-client.ts";
import { start } from "./brokers.ts";
import { startBenchCluster } from "./cluster-brokers.ts";
import { residentBytes } from "./process.ts";
import { subscribeStorm } from "./storm.ts";

const storm = 100_000;
const many = 1_000_000;
/** A session holds no more than 100,000. */
const holders = 10;

async function inCluster(): Promise<void> {
  const cluster = await startBenchCluster(3);
  const clients = await Promise.all(cluster.brokers.map(({ port }) => RawClient.connect(port)));
  const perSecond = await subscribeStorm(clients, storm);
  const verdict = perSecond >= 10_000 ? "reached" : "MISSED";
  console.log(
    `three brokers: ${Math.round(perSecond).toLocaleString("en")} subscriptions/s (target 10,000: ${verdict})`,
  );
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

await inCluster();
await alone();
process.exit(0);
