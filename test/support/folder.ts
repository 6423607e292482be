/** Folders that tests make, and remove again. */
import { existsSync, rmSync } from "node:fs";

/**
 * Removes a folder and everything in it. A store's worker that is just ending removes files of its own meanwhile, and
 * `rmSync` with `force` gives up without a word at the first file that is not there any more. Throws if the folder is
 * still there after two seconds.
 */
export function removeFolder(folder: string): void {
  for (let left = 200; existsSync(folder); left--) {
    if (left === 0) throw new Error(`${folder} cannot be removed: something is still written there`);
    rmSync(folder, { recursive: true, force: true });
    if (existsSync(folder)) Bun.sleepSync(10);
  }
}
