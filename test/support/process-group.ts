/** Programs whose process group ends with them: whatever they have started and left, brokers mostly. */
import type { SpawnOptions, Subprocess } from "bun";

const groups = new Set<number>();

/** Starts a program at the head of a group, none of which outlives it, nor this process. */
export function spawnGroup<
  const In extends SpawnOptions.Writable,
  const Out extends SpawnOptions.Readable,
  const Err extends SpawnOptions.Readable,
>(
  command: readonly string[],
  options: SpawnOptions.SpawnOptions<In, Out, Err> & { readonly cwd: string },
): Subprocess<In, Out, Err> {
  const child = Bun.spawn<In, Out, Err>([...command], { ...options, detached: true });
  groups.add(child.pid);
  void child.exited.then(() => end(child.pid));
  return child;
}

/** Resolves with the exit code of such a program; or with "hung", once its whole group was ended after so many ms. */
export async function exitedWithin({ pid, exited }: Subprocess, limitMs: number): Promise<number | "hung"> {
  const limit = Promise.withResolvers<"hung">();
  const timer = setTimeout(() => limit.resolve("hung"), limitMs);
  const outcome = await Promise.race([exited, limit.promise]);
  clearTimeout(timer);
  if (outcome === "hung") {
    end(pid);
    await exited;
  }
  return outcome;
}

function end(pid: number): void {
  groups.delete(pid);
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody of it is left.
  }
}

// They do not hear of ^C by themselves.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    for (const pid of groups) end(pid);
    process.exit(130);
  });
}
