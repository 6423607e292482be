/** The memory that is in use in this process, whatever garbage earlier tests have left in it. */
import { heapStats } from "bun:jsc";

/**
 * Returns the bytes of all objects that can be reached, and of the buffers that they hold. The memory that the process
 * has says less: how long garbage stays depends on what has run before.
 */
export function liveBytes(): number {
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}
