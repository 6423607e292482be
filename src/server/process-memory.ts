/** The memory of this process: how much it has, and how much its control group (a container, say) lets it have. */
import { readFileSync } from "node:fs";
import { groupLimitPart, queueMemoryPartMax } from "../base/memory-limits.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { ProcessMemory } from "../broker/core/process-memory.ts";

/** The folder in which the kernel shows control groups. */
const groupFolder = "/sys/fs/cgroup";
/** A larger limit is none: the kernel says so in version 1, and no machine has as much. */
const limitBytesMax = 2 ** 50;

/**
 * Returns the memory of this process, held to `maxMemory` bytes; auto: to what its control group has, less some room.
 * Undefined: there is no limit.
 */
export function processMemory(maxMemory: BrokerOptions["maxMemory"]): ProcessMemory | undefined {
  if (maxMemory === "none") return undefined;
  const limitBytes = maxMemory === "auto" ? Math.floor((groupLimitOf(readText) ?? 0) * groupLimitPart) : maxMemory;
  if (limitBytes === 0) return undefined;
  return {
    limitBytes,
    residentBytes: () => process.memoryUsage.rss(),
    collect: (when) => void Bun.gc(when === "now"),
  };
}

/** Returns the options with what waits for slow clients bounded by a part of that memory. */
export function withinMemory(options: BrokerOptions, memory: ProcessMemory | undefined): BrokerOptions {
  const most = Math.floor((memory?.limitBytes ?? Infinity) * queueMemoryPartMax);
  return { ...options, maxQueueMemory: Math.min(options.maxQueueMemory, most) };
}

/**
 * Returns the limit of this process' control group, in bytes; undefined: there is none. The least of all groups above
 * it counts. `read`: returns a file's text; undefined: there is no such file.
 */
export function groupLimitOf(read: (path: string) => string | undefined): number | undefined {
  const limits: number[] = [];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === "") limits.push(...limitsAbove(groupFolder, path!, "memory.max", read));
    if (controllers?.split(",").includes("memory"))
      limits.push(...limitsAbove(`${groupFolder}/memory`, path!, "memory.limit_in_bytes", read));
  }
  const least = Math.min(...limits);
  return least < limitBytesMax ? least : undefined;
}

/** Returns the limits of a group and of those above it; in a container they may all be shown as the topmost. */
function limitsAbove(root: string, path: string, file: string, read: (path: string) => string | undefined): number[] {
  const names = path.split("/").filter((name) => name !== "" && name !== "..");
  const folders = [root, ...names.map((_, at) => `${root}/${names.slice(0, at + 1).join("/")}`)];
  return folders
    .map((folder) => read(`${folder}/${file}`)?.trim() ?? "")
    .filter(isNumber)
    .map(Number);
}

/** Returns false for "max", and where there is no such file. */
function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
