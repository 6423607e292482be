/**
 * `bun run test:faults`: does the net catch fish? Plants one fault at a time in a copy of the tree, runs the
 * tests that must notice, and fails if any of them stays green, or is red without a fault. Some faults need many seeds
 * of the simulation: the whole takes some hours. `bun run test:faults WORD`: only those whose description holds the
 * word. A fault whose tests never end is "caught (hung)"; tests that never end without one are RED.
 * MQTTZOO_FAULT_JOBS: how many are tried at the same time, half of the processor's cores if it is not set.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { exitedWithin, spawnGroup } from "../support/process-group.ts";
import type { Fault } from "./faults.ts";

const root = join(import.meta.dir, "../..");
const jobs = Number(process.env.MQTTZOO_FAULT_JOBS ?? Math.max(1, Math.floor(availableParallelism() / 2)));

/** How long the tests look for a fault; and, without one, whether they are green at all. */
const seeds = (count: string) => ({ MQTTZOO_SEEDS: count, MQTTZOO_GROUP_SEEDS: count, MQTTZOO_WILL_SEEDS: count });
/** How long seeds are tried. Tests that take longer by far, as `rowMinutesMax` says, do not search but hang. */
const seedMinutes = 8;
const rowMinutesMax = 20;
const thorough = {
  ...seeds("2500"),
  MQTTZOO_SEED_MINUTES: String(seedMinutes),
  MQTTZOO_KILLS: "30",
  MQTTZOO_STEPS: "6",
  MQTTZOO_NEMESIS_MINUTES: "3",
};
const brief = { ...seeds("3"), MQTTZOO_KILLS: "3", MQTTZOO_STEPS: "1" };

type Verdict = "caught" | "caught (hung)" | "MISSED" | "RED";

/**
 * Runs a command that prints nothing; resolves with its exit code, or "hung" if it had to be ended. None of the
 * brokers that it has started outlives it: a test run that ends at the first failure ends nothing itself.
 */
function run(command: readonly string[], cwd: string, how: Record<string, string> = thorough) {
  const env = { ...process.env, ...how };
  const child = spawnGroup(command, { cwd, env, stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  return exitedWithin(child, rowMinutesMax * 60_000);
}

const testCommand = [process.execPath, "test", "--timeout", "60000", "--bail"];
const compiler = join(root, "node_modules/typescript/bin/tsc");

/**
 * Checks the types of a tree; resolves with what the compiler says. What it finds out about each file it keeps in
 * `known`, where it looks first.
 */
async function typesOf(tree: string, known: string): Promise<string> {
  const how = ["--noEmit", "--pretty", "false", "--incremental", "--tsBuildInfoFile", join(tree, known)];
  const compile = Bun.spawn([process.execPath, compiler, ...how], { cwd: tree, stdin: "ignore", stdout: "pipe" });
  return new Response(compile.stdout).text();
}

/** Tests that are red without a fault notice nothing. Each set of them is asked once, in a tree like the fault's. */
const green = new Map<string, Promise<boolean>>();
function areGreen({ tests, needsBuild }: Fault): Promise<boolean> {
  const tree = needsBuild ? builtTree() : sound;
  const key = `${tree === sound} ${tests}`;
  let are = green.get(key);
  if (are === undefined) {
    are = Promise.resolve(tree)
      .then((cwd) => run([...testCommand, ...tests.split(" ")], cwd, brief))
      .then((code) => code === 0);
    green.set(key, are);
  }
  return are;
}

async function build(tree: string): Promise<boolean> {
  return (await run([process.execPath, "test/tools/build.ts"], tree)) === 0;
}

/** A tree without a fault, and with the executable; made when it is needed first. */
let built: Promise<string> | undefined;
function builtTree(): Promise<string> {
  built ??= (async () => {
    const tree = copyOfTree();
    if (!(await build(tree))) throw new Error("the tree does not build without a fault");
    return tree;
  })();
  return built;
}

/** Made in a tree, or too large to copy. */
const notCopied = new Set([".git", "node_modules", "dist", "mqttzoo-data"]);

function copyOfTree(): string {
  const copy = mkdtempSync(join(tmpdir(), "mqttzoo-fault-"));
  for (const part of readdirSync(root))
    if (!notCopied.has(part)) cpSync(join(root, part), join(copy, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return copy;
}

async function tried(fault: Fault): Promise<Verdict> {
  const copy = copyOfTree();
  try {
    const path = join(copy, fault.file);
    const text = readFileSync(path, "utf8");
    if (!text.includes(fault.find)) throw new Error(`${fault.what}: ${fault.file} no longer has the place to plant it`);
    writeFileSync(path, text.replace(fault.find, fault.replace));
    cpSync(knownTypes, join(copy, "types.json"));
    // A name that is not there ends whatever meets it: no test would have noticed the fault itself.
    if (/error TS(2304|2339|2551|2552|2663):/.test(await typesOf(copy, "types.json")))
      throw new Error(`${fault.what}: names what is not there`);
    if (fault.needsBuild && !(await build(copy))) throw new Error(`${fault.what}: does not build`);
    const outcome = await run([...testCommand, ...fault.tests.split(" ")], copy);
    return outcome === "hung" ? "caught (hung)" : outcome === 0 ? "MISSED" : "caught";
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

const word = process.argv[2] ?? "";
/** Each part of the product has a list of its own beside this file. */
const lists = readdirSync(import.meta.dir).filter((name) => /^faults.*\.ts$/.test(name));
const all = await Promise.all(
  lists.sort().map(async (name) => ((await import(`./${name}`)) as { faults: readonly Fault[] }).faults),
);
const chosen = all.flat().filter(({ what }) => what.includes(word));

/** A tree without a fault, and what the compiler knows of it, from which it goes on with each copy. */
const sound = copyOfTree();
await typesOf(sound, "types.json");
const knownTypes = join(sound, "types.json");

let missed = 0;
const waiting = [...chosen];
async function work(): Promise<void> {
  for (let fault = waiting.shift(); fault !== undefined; fault = waiting.shift()) {
    const startedAt = performance.now();
    const verdict: Verdict = (await areGreen(fault)) ? await tried(fault) : "RED";
    if (!verdict.startsWith("caught")) missed++;
    const seconds = Math.ceil((performance.now() - startedAt) / 1000);
    console.log(`${verdict.padEnd(7)}${`${seconds} s`.padStart(7)}  ${fault.what}`);
  }
}
await Promise.all(Array.from({ length: jobs }, work));
for (const tree of [sound, ...(built === undefined ? [] : [await built])])
  rmSync(tree, { recursive: true, force: true });
console.log(`\n${chosen.length - missed} caught, ${missed} missed`);
process.exit(missed === 0 ? 0 : 1);
