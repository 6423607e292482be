/** The files and connections that this process has open, and may have, where the kernel tells of them. */
import { readFileSync, statSync } from "node:fs";

/** Returns how many are open; undefined: the kernel is older than Linux 6.2, which counts them without a list. */
export function openFiles(): number | undefined {
  return orNothing(() => statSync("/proc/self/fd").size) || undefined;
}

/** Returns how many may be open at once; undefined: there is no limit, or it is not known. */
export function openFilesMax(): number | undefined {
  const limits = orNothing(() => readFileSync("/proc/self/limits", "utf8"));
  const soft = /^Max open files +(\d+)/m.exec(limits ?? "")?.[1];
  return soft === undefined ? undefined : Number(soft);
}

function orNothing<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
