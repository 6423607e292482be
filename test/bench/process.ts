/** Processes that measure, and what Linux says of those that are measured: their CPU time and memory. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Clock ticks per second, as `/proc` counts them on Linux. */
const ticksPerSecond = 100;

/** The threads that compile while a program runs, by the beginnings of their names: JavaScriptCore's and Java's. */
const compilers = ["JITWorker", "C1 Compiler", "C2 Compiler"];

/** User and system time of a process, in seconds. */
export function cpuSeconds(pid: number): number {
  return cpuOf(`/proc/${pid}/stat`).seconds;
}

/** Time that those threads of a process have taken that compile, in seconds. */
export function compilerSeconds(pid: number): number {
  let seconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const { name, seconds: spent } = cpuOf(`/proc/${pid}/task/${thread}/stat`);
      if (compilers.some((beginning) => name.startsWith(beginning))) seconds += spent;
    } catch (error) {
      // It has ended meanwhile.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" && (error as NodeJS.ErrnoException).code !== "ESRCH")
        throw error;
    }
  }
  return seconds;
}

function cpuOf(path: string): { name: string; seconds: number } {
  const text = readFileSync(path, "utf8");
  const fields = text.slice(text.lastIndexOf(") ") + 2).split(" ");
  const name = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
  return { name, seconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond };
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
