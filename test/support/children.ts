/** Processes that a test has started: whatever becomes of it, none of them outlives the run. */
import type { Subprocess } from "bun";

const children = new Set<Subprocess>();

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Returns the child, which is killed when this process ends if it has not ended by then. */
export function killedAtExit<Child extends Subprocess>(child: Child): Child {
  children.add(child);
  void child.exited.then(() => children.delete(child));
  return child;
}
