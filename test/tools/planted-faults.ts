/**
 * `bun run test:faults`: does the net catch fish? Plants one fault at a time in a copy of the tree, runs the
 * tests that must notice, and fails if any of them stays green, or is red without a fault. Some faults need many seeds
 * of the simulation: the whole takes some hours. `bun run test:faults WORD`: only those whose description holds the
 * word.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fault } from "./faults.ts";

const root = join(import.meta.dir, "../..");

/** How long the tests look for a fault; and, without one, whether they are green at all. */
const thorough = { MQTTZOO_KILLS: "30", MQTTZOO_SEEDS: "2500", MQTTZOO_STEPS: "6", MQTTZOO_NEMESIS_MINUTES: "3" };
const brief = { MQTTZOO_KILLS: "3", MQTTZOO_SEEDS: "3", MQTTZOO_STEPS: "1" };

function run(command: readonly string[], cwd: string, how: Record<string, string> = thorough): number {
  const env = { ...process.env, ...how };
  return Bun.spawnSync([...command], { cwd, env, stdin: "ignore", stdout: "ignore", stderr: "ignore" }).exitCode;
}

const testCommand = [process.execPath, "test", "--timeout", "60000", "--bail"];

/** A name that is not there ends whatever meets it: no test would have noticed the fault itself. */
function namesWhatIsNotThere(copy: string): boolean {
  const { stdout } = Bun.spawnSync(["bun", "x", "tsc", "--noEmit", "--pretty", "false"], { cwd: copy });
  return /error TS(2304|2339|2551|2552|2663):/.test(new TextDecoder().decode(stdout));
}

/** Tests that are red without a fault notice nothing. Each set of them is asked once. */
const green = new Map<string, boolean>();
function areGreen({ tests }: Fault): boolean {
  let are = green.get(tests);
  if (are === undefined) {
    are = run([...testCommand, ...tests.split(" ")], root, brief) === 0;
    green.set(tests, are);
  }
  return are;
}

function isCaught(fault: Fault): boolean {
  const copy = mkdtempSync(join(tmpdir(), "mqttzoo-fault-"));
  try {
    for (const part of ["src", "cli", "test", "package.json", "bunfig.toml", "tsconfig.json"])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    const path = join(copy, fault.file);
    const text = readFileSync(path, "utf8");
    if (!text.includes(fault.find)) throw new Error(`${fault.what}: ${fault.file} no longer has the place to plant it`);
    writeFileSync(path, text.replace(fault.find, fault.replace));
    if (namesWhatIsNotThere(copy)) throw new Error(`${fault.what}: names what is not there`);
    if (fault.needsBuild && run([process.execPath, "test/tools/build.ts"], copy) !== 0)
      throw new Error(`${fault.what}: does not build`);
    return run([...testCommand, ...fault.tests.split(" ")], copy) !== 0;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

let missed = 0;
const word = process.argv[2] ?? "";
/** Each part of the product has a list of its own beside this file. */
const lists = readdirSync(import.meta.dir).filter((name) => /^faults.*\.ts$/.test(name));
const all = await Promise.all(
  lists.sort().map(async (name) => ((await import(`./${name}`)) as { faults: readonly Fault[] }).faults),
);
const chosen = all.flat().filter(({ what }) => what.includes(word));
for (const fault of chosen) {
  const verdict = !areGreen(fault) ? "RED    " : isCaught(fault) ? "caught " : "MISSED ";
  if (verdict !== "caught ") missed++;
  console.log(`${verdict} ${fault.what}`);
}
console.log(`\n${chosen.length - missed} caught, ${missed} missed`);
process.exit(missed === 0 ? 0 : 1);
