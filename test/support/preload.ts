/** Small libraries in C that are loaded before the C library, so that a process meets a world that is not there. */
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Compiles `test/support/NAME.c`, and returns the library's path, for LD_PRELOAD. */
export function compilePreload(name: string): string {
  const library = join(tmpdir(), `mqttzoo-${name}-${process.pid}.so`);
  const source = join(import.meta.dir, `${name}.c`);
  const { exitCode, stderr } = Bun.spawnSync(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"]);
  if (exitCode !== 0) throw new Error(`cannot compile ${source}: ${stderr}`);
  return library;
}
