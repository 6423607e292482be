/**
 * `bun run bench`: mqttzoo, mosquitto and aedes in turn, in one run, on this machine. What counts are the
 * ratios: machines are shared and noisy. `bun run bench --quick` takes short runs, `--only NAME` one scenario.
 */
import { type BrokerName, brokerNames, type How, login, type Running, start } from "./brokers.ts";
import type { ConnectionsResult } from "./connections.ts";
import { deviceRows, type Shape, secondsOf } from "./device-rows.ts";
import type { Result, Scenario } from "./load.ts";
import { inChild, residentBytes } from "./process.ts";

interface Row {
  readonly name: string;
  readonly shape: Shape;
  readonly how?: How;
  /** The factor that we mean to reach, against mosquitto. */
  readonly target: number;
}

const base = { payloadBytes: 64, rate: 0 } as const;
const rows: readonly Row[] = [
  { name: "QoS 0, 1 to 1", shape: { ...base, publishers: 1, subscribers: 1, topics: "one", qos: 0 }, target: 8 },
  { name: "QoS 0, 10 to 10", shape: { ...base, publishers: 10, subscribers: 10, topics: "pairs", qos: 0 }, target: 8 },
  { name: "QoS 0, 1 to 100", shape: { ...base, publishers: 1, subscribers: 100, topics: "one", qos: 0 }, target: 8 },
  { name: "QoS 0, 100 to 1", shape: { ...base, publishers: 100, subscribers: 1, topics: "one", qos: 0 }, target: 8 },
  {
    name: "QoS 0, 10 to 10, 16 KB",
    shape: { ...base, payloadBytes: 16_384, publishers: 10, subscribers: 10, topics: "pairs", qos: 0 },
    target: 1,
  },
  { name: "QoS 1, 10 to 10", shape: { ...base, publishers: 10, subscribers: 10, topics: "pairs", qos: 1 }, target: 4 },
  { name: "QoS 2, 10 to 10", shape: { ...base, publishers: 10, subscribers: 10, topics: "pairs", qos: 2 }, target: 4 },
  ...([0, 1] as const).flatMap((qos): Row[] => {
    const shape: Shape = { ...base, publishers: 10, subscribers: 10, topics: "pairs", qos };
    return [
      { name: `QoS ${qos}, TLS`, shape, how: "tls", target: qos === 0 ? 8 : 4 },
      { name: `QoS ${qos}, access list`, shape, how: "guarded", target: qos === 0 ? 8 : 4 },
    ];
  }),
];
const latencyShape: Shape = { ...base, rate: 5000, publishers: 10, subscribers: 10, topics: "pairs", qos: 0 };

const quick = process.argv.includes("--quick");
const only = process.argv.includes("--only") ? process.argv[process.argv.indexOf("--only") + 1] : undefined;
const seconds = quick ? 2 : 5;
const latencyRounds = quick ? 1 : 5;
const idleConnections = quick ? 2000 : 10_000;
const brokers = process.argv.includes("--no-aedes") ? brokerNames.slice(0, 2) : brokerNames;

async function withBroker<Output>(
  name: BrokerName,
  use: (broker: Running) => Promise<Output>,
  how: How = "plain",
): Promise<Output> {
  const broker = await start(name, how);
  try {
    return await use(broker);
  } finally {
    await broker.stop();
  }
}

function measure(broker: Running, shape: Shape, how: How = "plain"): Promise<Result> {
  const more = { plain: {}, stored: {}, tls: { tls: true }, guarded: { login } }[how];
  const scenario: Scenario = {
    ...shape,
    ...more,
    port: broker.port,
    brokerPids: [broker.pid],
    seconds: secondsOf(shape, seconds),
  };
  return inChild<Result>("load.ts", [JSON.stringify(scenario)]);
}

function cell(text: string, width: number): string {
  return text.padStart(width);
}

function printLine(cells: readonly string[]): void {
  console.log(cells.map((text, index) => (index === 0 ? text.padEnd(24) : cell(text, 20))).join(""));
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString("en");
}

async function throughput(): Promise<void> {
  printLine(["deliveries/s", ...brokers, "ratio", "target"]);
  for (const { name, shape, target, how } of rows) {
    if (only !== undefined && !name.includes(only)) continue;
    const results: Result[] = [];
    // aedes has neither TLS nor an access list of its own.
    for (const broker of how === undefined ? brokers : brokers.slice(0, 2))
      results.push(await withBroker(broker, (running) => measure(running, shape, how), how));
    const ratio = results[0]!.perSecond / results[1]!.perSecond;
    printLine([
      name,
      ...results.map(({ perSecond }) => thousands(perSecond)),
      ratio.toFixed(1),
      `${target}  ${ratio >= target ? "reached" : "MISSED"}`,
    ]);
    printLine(["  lost", ...results.map(({ lost }) => thousands(lost))]);
    printLine([
      "  CPU: broker / load",
      ...results.map(({ brokerCpu, loadCpu }) => `${brokerCpu.toFixed(2)} / ${loadCpu.toFixed(2)}`),
    ]);
  }
}

/** Each broker is measured twice on end: the second time its code is compiled, where that is done while it runs. */
async function devices(): Promise<void> {
  printLine(["deliveries/CPU second", ...brokers, "ratio"]);
  for (const { name, shape } of deviceRows) {
    if (only !== undefined && only !== "devices" && !name.includes(only)) continue;
    const results: { first: Result; later: Result }[] = [];
    for (const broker of brokers) {
      results.push(
        await withBroker(broker, async (running) => ({
          first: await measure(running, { ...shape, warmUpSeconds: 0 }),
          later: await measure(running, shape),
        })),
      );
    }
    for (const when of ["first", "later"] as const) {
      const of = results.map((result) => result[when]);
      const ratio = of[0]!.perCpuSecond / of[1]!.perCpuSecond;
      printLine([
        when === "first" ? name : "  later",
        ...of.map(({ perCpuSecond }) => thousands(perCpuSecond)),
        ratio.toFixed(2),
      ]);
      printLine(["  lost", ...of.map(({ lost }) => thousands(lost))]);
      if (shape.rate > 0)
        printLine(["  ms: p50, p99", ...of.map(({ p50, p99 }) => `${p50.toFixed(2)}, ${p99.toFixed(2)}`)]);
      else printLine(["  deliveries/s", ...of.map(({ perSecond }) => thousands(perSecond))]);
    }
  }
}

/** Brokers take turns several times, and the median counts: one run says more of the machine than of the broker. */
async function latency(): Promise<void> {
  const runs = brokers.map((): Result[] => []);
  for (let round = 0; round < latencyRounds; round++) {
    for (const [index, broker] of brokers.entries()) {
      runs[index]!.push(await withBroker(broker, (running) => measure(running, latencyShape)));
    }
  }
  const median = (values: readonly number[]): number => values.toSorted((x, y) => x - y)[values.length >> 1]!;
  printLine(["ms at 5,000/s: p50", ...runs.map((results) => median(results.map(({ p50 }) => p50)).toFixed(3))]);
  printLine(["               p99", ...runs.map((results) => median(results.map(({ p99 }) => p99)).toFixed(3))]);
}

async function connections(): Promise<void> {
  const results: ConnectionsResult[] = [];
  for (const broker of brokers) {
    const args = (running: Running): string[] => [String(running.port), String(running.pid), String(idleConnections)];
    results.push(await withBroker(broker, (running) => inChild<ConnectionsResult>("connections.ts", args(running))));
  }
  printLine(["connects/s", ...results.map(({ perSecond }) => thousands(perSecond))]);
  printLine(["bytes/idle connection", ...results.map(({ bytesPerConnection }) => thousands(bytesPerConnection))]);
}

async function memory(): Promise<void> {
  const cells: string[] = [];
  for (const broker of brokers) {
    cells.push(
      await withBroker(broker, async (running) => {
        const before = residentBytes(running.pid);
        await measure(running, rows[4]!.shape);
        await measure(running, rows[2]!.shape);
        await Bun.sleep(20_000);
        return `${(before / 1e6).toFixed(0)} -> ${(residentBytes(running.pid) / 1e6).toFixed(0)}`;
      }),
    );
  }
  printLine(["MB before, after burst", ...cells]);
}

await throughput();
await devices();
if (only === undefined || only === "latency") await latency();
if (only === undefined) {
  await connections();
  await memory();
}
