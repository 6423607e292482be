/**
 * `bun run bench:cluster`: the fast path over one, two and three brokers, in one run. Publishers are at one broker,
 * subscribers at the others. What counts on a machine whose cores everybody shares is how much a second of the brokers'
 * CPU time delivers. And how many transactions ZooKeeper has for it.
 */
import { startBenchCluster } from "./cluster-brokers.ts";
import type { Result, Scenario } from "./load.ts";
import { inChild } from "./process.ts";

type Shape = Pick<Scenario, "qos" | "keepSessions">;

const rows: readonly { readonly name: string; readonly shape: Shape }[] = [
  { name: "QoS 0", shape: { qos: 0 } },
  { name: "QoS 1", shape: { qos: 1 } },
  { name: "QoS 1, acknowledge-through", shape: { qos: 1, keepSessions: true } },
];
const seconds = process.argv.includes("--quick") ? 2 : 5;
/** A broker of two, or three, must do this part of what one alone does in a second of CPU time. */
const target = 0.5;

const cluster = await startBenchCluster(3);
const pids = cluster.brokers.map(({ pid }) => pid);
const ports = cluster.brokers.map(({ port }) => port);

async function measure(brokers: number, shape: Shape): Promise<Result & { transactions: number }> {
  const before = await cluster.transactions();
  const scenario: Scenario = {
    ...shape,
    port: ports[0]!,
    subscriberPorts: brokers === 1 ? [ports[0]!] : ports.slice(1, brokers),
    brokerPids: pids,
    publishers: 10,
    subscribers: 10,
    topics: "pairs",
    payloadBytes: 64,
    seconds,
    rate: 0,
  };
  const result = await inChild<Result>("load.ts", [JSON.stringify(scenario)]);
  return { ...result, transactions: (await cluster.transactions()) - before };
}

function line(cells: readonly string[]): void {
  console.log(cells.map((cell, index) => (index === 0 ? cell.padEnd(30) : cell.padStart(18))).join(""));
}

line(["10 to 10, 64 bytes", "brokers", "deliveries/s", "per CPU second", "of one broker", "lost", "zk/1000 msg"]);
for (const { name, shape } of rows) {
  let alone = 0;
  for (const brokers of [1, 2, 3]) {
    const { perSecond, brokerCpu, lost, transactions, received } = await measure(brokers, shape);
    const perCpu = perSecond / brokerCpu;
    if (brokers === 1) alone = perCpu;
    const part = perCpu / alone;
    line([
      name,
      String(brokers),
      Math.round(perSecond).toLocaleString("en"),
      Math.round(perCpu).toLocaleString("en"),
      `${part.toFixed(2)} ${part >= target ? "" : "MISSED"}`,
      String(lost),
      ((1000 * transactions) / Math.max(1, received)).toFixed(3),
    ]);
  }
}
await cluster.stop();
