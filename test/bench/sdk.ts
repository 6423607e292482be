/**
 * `bun run bench:sdk`: our client library and MQTT.js at our broker, each in a process of its own that publishes and
 * receives, on Bun and on Node, in turn; the median of three rounds counts. `--mosquitto` takes that broker instead.
 */
import { join } from "node:path";
import { builtPackage } from "../support/package.ts";
import { type BrokerName, start } from "./brokers.ts";

const rounds = 3;
/** The factor that we mean to reach, against MQTT.js. */
const target = 3;
/** About a second of work for each. */
const messages = { ours: 1_000_000, theirs: 200_000 } as const;

interface Figures {
  readonly perSecond: number;
  readonly perCpuSecond: number;
}

async function measure(runtime: string, library: string, args: readonly string[]): Promise<Figures> {
  const command = [runtime, join(import.meta.dir, "sdk-worker.mjs"), library, ...args];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed`);
  return JSON.parse(text) as Figures;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const line = (cells: readonly (string | number)[]): void =>
  console.log(cells.map((cell, at) => (at === 0 ? String(cell).padEnd(26) : String(cell).padStart(14))).join(""));
const thousands = (value: number): string => Math.round(value).toLocaleString("en");

const name: BrokerName = process.argv.includes("--mosquitto") ? "mosquitto" : "mqttzoo";
const folder = builtPackage();
const broker = await start(name);
const url = `mqtt://127.0.0.1:${broker.port}`;
try {
  line([`messages/s at ${name}`, "mqttzoo", "MQTT.js", "ratio", "per CPU s", `target ${target}`]);
  for (const [runtime, program] of Object.entries({ bun: process.execPath, node: "node" })) {
    for (const version of ["5", "4"]) {
      for (const qos of ["0", "1", "2"]) {
        const ours: Figures[] = [];
        const theirs: Figures[] = [];
        for (let round = 0; round < rounds; round++) {
          const args = (count: number): string[] => [url, qos, String(count), version];
          ours.push(await measure(program, join(folder, runtime, "main.js"), args(messages.ours)));
          theirs.push(await measure(program, "mqtt", args(messages.theirs)));
        }
        const of = (figures: readonly Figures[], what: keyof Figures): number =>
          median(figures.map((one) => one[what]));
        const ratio = of(ours, "perSecond") / of(theirs, "perSecond");
        line([
          `${runtime}, MQTT ${version === "5" ? "5" : "3.1.1"}, QoS ${qos}`,
          thousands(of(ours, "perSecond")),
          thousands(of(theirs, "perSecond")),
          ratio.toFixed(1),
          (of(ours, "perCpuSecond") / of(theirs, "perCpuSecond")).toFixed(1),
          ratio >= target ? "reached" : "MISSED",
        ]);
      }
    }
  }
} finally {
  await broker.stop();
}
