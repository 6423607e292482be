/**
 * `bun run bench:keeper`: creates of 256 bytes per second on one ZooKeeper server, in one run: the C client (the npm
 * package `zookeeper`, under Node) and ours, one by one and pipelined; and ours in multis. The clients take turns.
 */
import { join } from "node:path";
import type { WriteRequest } from "../../src/zookeeper/records.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { startEnsemble } from "../support/zookeeper.ts";
import { readCounts } from "./arguments.ts";

const [creates] = readCounts("usage: bun run bench:keeper [CREATES], 20000 if not given", [20_000]);
const rounds = 5;
const multiSizes = [64, 256];
const data = new Uint8Array(256).fill(0x78);

// The server compiles as a server does; the tests' one starts faster instead.
const ensemble = await startEnsemble(1, { properties: ["-XX:TieredStopAtLevel=4", "-Xmx1g"] });
const zookeeper = await ZooKeeper.connect(ensemble.connect);
let roots = 0;

async function newRoot(): Promise<string> {
  const root = `/bench-${++roots}`;
  await zookeeper.create(root);
  return root;
}

async function throughAddon(): Promise<number> {
  const script = join(import.meta.dir, "keeper-addon.mjs");
  const child = Bun.spawn(["node", script, ensemble.connect, await newRoot(), String(creates)], { stderr: "inherit" });
  return creates / Number(await new Response(child.stdout).text());
}

async function throughOurs(multi: number): Promise<number> {
  const root = await newRoot();
  const startedAt = performance.now();
  const answers: Promise<unknown>[] = [];
  for (let at = 0; at < creates; at += multi) {
    const group: WriteRequest[] = [];
    for (let index = at; index < Math.min(creates, at + multi); index++)
      group.push({ kind: "create", path: `${root}/n${index}`, data, mode: "persistent" });
    answers.push(zookeeper.multi(group));
  }
  await Promise.all(answers);
  return creates / ((performance.now() - startedAt) / 1000);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const kinds: readonly [string, () => Promise<number>][] = [
  ["the C client, one by one", throughAddon],
  ["ours, one by one", () => throughOurs(1)],
  ...multiSizes.map((size): [string, () => Promise<number>] => [`ours, ${size} in a multi`, () => throughOurs(size)]),
];
// Once without counting: the server's code is compiled while it runs.
for (const [, run] of kinds) await run();
const results = kinds.map((): number[] => []);
for (let round = 0; round < rounds; round++)
  for (const [index, [, run]] of kinds.entries()) results[index]!.push(await run());
const [addon, single, ...multis] = results.map(median) as [number, number, ...number[]];
kinds.forEach(([name], index) => {
  console.log(`${name.padEnd(28)}${Math.round(median(results[index]!)).toLocaleString("en").padStart(12)} creates/s`);
});
const checks: readonly [string, number, number][] = [
  ["one by one : the C client", single / addon, 1],
  ["in multis : the C client", Math.max(...multis) / addon, 10],
];
for (const [what, ratio, target] of checks)
  console.log(
    `${what.padEnd(28)}${ratio.toFixed(1).padStart(12)}  target ${target}  ${ratio >= target ? "reached" : "MISSED"}`,
  );
await zookeeper.close();
await ensemble.stop();
