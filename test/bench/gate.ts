/**
 * `bun run bench:gate`: the executables of two commits in pairs, in turn, on this machine, by what a second of the
 * broker's processor time delivers. Ends with exit code 1 if any row has become slower by more than a twentieth, and
 * that is more than the noise of the machine.
 */
import { executableOf } from "../support/older.ts";
import { executable } from "../support/process.ts";
import { start } from "./brokers.ts";
import { deviceRows, type Shape, secondsOf } from "./device-rows.ts";
import type { Result, Scenario } from "./load.ts";
import { type Comparison, compare } from "./paired.ts";
import { inChild } from "./process.ts";

const usage = `usage: bun run bench:gate -- BEFORE [AFTER] [--rounds N] [--only WORD]
BEFORE, AFTER: commits; without AFTER what this tree was built to
Example: bun run bench:gate -- HEAD~1
Example: bun run bench:gate -- main HEAD --only "QoS 1" --rounds 9`;

interface Arguments {
  readonly before: string;
  readonly after: string | undefined;
  readonly rounds: number;
  readonly only: string;
}

/** Ends the process, in words, if they are anything else. */
function readArguments(args: readonly string[]): Arguments {
  const named: Record<string, string> = { "--rounds": "6", "--only": "" };
  const commits: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === "--help" || arg === "-h") end(usage, 0);
    if (arg in named) named[arg] = args[++at] ?? end(`${arg} wants a value\n${usage}`, 2);
    else if (arg.startsWith("-")) end(`${arg} is not known\n${usage}`, 2);
    else commits.push(arg);
  }
  const rounds = Number(named["--rounds"]);
  if (!Number.isInteger(rounds) || rounds < 3 || rounds > 100)
    end("--rounds must be a whole number from 3 to 100: fewer pairs say nothing of the noise", 2);
  if (commits.length === 0 || commits.length > 2)
    end(`one commit or two are wanted, and there were ${commits.length}\n${usage}`, 2);
  return { before: commits[0]!, after: commits[1], rounds, only: named["--only"]! };
}

/** Returns the commit that a name such as `HEAD~1` means, since the name may mean another one tomorrow. */
function commitOf(name: string): string {
  const { exitCode, stdout } = Bun.spawnSync(["git", "rev-parse", "--verify", "--quiet", `${name}^{commit}`], {
    cwd: import.meta.dir,
  });
  return exitCode === 0 ? stdout.toString().trim() : end(`${name} is no commit of this clone`, 2);
}

function end(words: string, code: number): never {
  (code === 0 ? console.log : console.error)(words);
  process.exit(code);
}

const base = { payloadBytes: 64, rate: 0 } as const;
const pairs = { ...base, publishers: 10, subscribers: 10, topics: "pairs" } as const;
const streamRows: readonly { readonly name: string; readonly shape: Shape }[] = [
  { name: "QoS 0, 10 to 10", shape: { ...pairs, qos: 0 } },
  { name: "QoS 1, 10 to 10", shape: { ...pairs, qos: 1 } },
  { name: "QoS 2, 10 to 10", shape: { ...pairs, qos: 2 } },
  { name: "QoS 0, 1 to 100", shape: { ...base, publishers: 1, subscribers: 100, topics: "one", qos: 0 } },
  { name: "QoS 1, 10 to 10, 16 KB", shape: { ...pairs, payloadBytes: 16_384, qos: 1 } },
];
/** Below it a drop is noise to whoever maintains this. */
const toleratedDrop = 0.05;

async function perCpuSecond(path: string, shape: Shape): Promise<number> {
  const broker = await start("mqttzoo", "plain", { executable: path });
  try {
    const scenario: Scenario = { ...shape, port: broker.port, brokerPids: [broker.pid], seconds: secondsOf(shape, 2) };
    const result = await inChild<Result>("load.ts", [JSON.stringify(scenario)]);
    if (result.lost > 0) throw new Error(`${result.lost} of ${result.expected} messages were lost`);
    return result.perCpuSecond;
  } finally {
    await broker.stop();
  }
}

const unsure = "not told from noise: more rounds would tell";

function verdictOf({ ratio, low, high }: Comparison): string {
  if (high < 1 && ratio < 1 - toleratedDrop) return "SLOWER";
  if (low < 1 - toleratedDrop) return unsure;
  return low > 1 ? "faster" : "as fast";
}

const { before, after, rounds, only } = readArguments(process.argv.slice(2));
const commits = [before, ...(after === undefined ? [] : [after])].map(commitOf);
console.log(
  `building ${commits.map((commit) => commit.slice(0, 12)).join(" and ")}, where that was not done before ...`,
);
const built = [];
for (const commit of commits) built.push(await executableOf(commit));
const paths = [built[0]!, built[1] ?? executable] as const;
const count = { slower: 0, unsure: 0 };
for (const { name, shape } of [...streamRows, ...deviceRows]) {
  if (!name.includes(only)) continue;
  const measured: [number, number][] = [];
  for (let round = 0; round < rounds; round++) {
    // Whichever comes second finds the machine as the first one has left it.
    const order = round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const);
    const pair: [number, number] = [0, 0];
    for (const at of order) pair[at] = await perCpuSecond(paths[at], shape);
    measured.push(pair);
  }
  const comparison = compare(measured);
  const verdict = verdictOf(comparison);
  if (verdict === "SLOWER") count.slower++;
  if (verdict === unsure) count.unsure++;
  const { ratio, low, high } = comparison;
  console.log(
    `${name.padEnd(28)} after : before ${ratio.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})  ${verdict}`,
  );
}
console.log(`${count.slower} rows have become slower, of ${count.unsure} this cannot be told`);
process.exit(count.slower === 0 ? 0 : 1);
