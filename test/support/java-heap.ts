/** The heap of a Java process, as the tools of a JDK tell it. */

/** Returns the bytes that are used in it now; NaN if the process, or `jcmd`, is not there. */
export function heapBytes(pid: number): number {
  return usedIn(ask(pid, "GC.heap_info"));
}

/** Returns the bytes that live in it, once all that does not has been collected; NaN as `heapBytes`. */
export function liveHeapBytes(pid: number): number {
  ask(pid, "GC.run");
  return heapBytes(pid);
}

function ask(pid: number, words: string): string {
  try {
    return Bun.spawnSync(["jcmd", String(pid), words], { timeout: 60_000 }).stdout.toString();
  } catch {
    return "";
  }
}

/** Adds up the generations that the answer names: "def new generation total 9792K, used 531K [...)". */
function usedIn(answer: string): number {
  const parts = [...answer.matchAll(/(?:generation|heap)\s+total \d+K, used (\d+)K/g)];
  if (parts.length === 0) return Number.NaN;
  return parts.reduce((sum, [, used]) => sum + Number(used) * 1024, 0);
}
