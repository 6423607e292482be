/** The client library as it is packed: built once for all tests of a run. */
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
let folder: string | undefined;

/** Path of the folder that is packed. */
export function builtPackage(): string {
  if (folder !== undefined) return folder;
  const built = Bun.spawnSync([process.execPath, "test/tools/package.ts"], { cwd: root, stderr: "pipe" });
  folder = join(root, "dist/package");
  if (built.exitCode !== 0 || !existsSync(join(folder, "node/main.js")))
    throw new Error(`the package cannot be built: ${built.stderr}`);
  return folder;
}
