/** Processes that a test has started: whatever becomes of it, none of them outlives the run. */
import type { Subprocess } from "bun";

const children = new Set<Subprocess>();

/** Kills those that have not ended. */
export function endChildren(): void {
  for (const child of children) child.kill("SIGKILL");
}

// For programs that are no tests: under `bun test` nobody is told of the end of the process.
process.on("exit", endChildren);

/** Returns the child, which is killed at the end of the run if it has not ended by then. */
export function killedAtExit<Child extends Subprocess>(child: Child): Child {
  children.add(child);
  void child.exited.then(() => children.delete(child));
  return child;
}
