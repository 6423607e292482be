/** Processes that measure, and what Linux says of those that are measured: their CPU time and memory. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Clock ticks per second, as `/proc` counts them on Linux. */
const ticksPerSecond = 100;

/** User and system time of a process, in seconds. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}

/** Runs a script of this folder in a process of its own, and reads what it prints as JSON. */
export async function inChild<Output>(script: string, args: readonly string[]): Promise<Output> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, script), ...args], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${script} failed`);
  return JSON.parse(text) as Output;
}
