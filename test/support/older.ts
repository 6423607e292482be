/**
 * The source and the executable of an earlier commit, made from it once and kept among the machine's temporary files.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

/** The last commit whose brokers know format 1 alone. */
export const lastOfFormat1 = "b043979ba7930445c483fde6247f4c9d7cd0ee67";

/** The path of its executable. Rejects if neither this clone nor its origin has the commit, or it cannot be built. */
export async function executableOf(commit: string): Promise<string> {
  const path = join(tmpdir(), `mqttzoo-${commit.slice(0, 12)}`, "mqttzoo");
  if (existsSync(path)) return path;
  const folder = await unpacked(commit);
  try {
    await must([process.execPath, "test/tools/build.ts"], folder);
    mkdirSync(join(path, ".."), { recursive: true });
    // Two tests that build it at once must not see half of it.
    cpSync(join(folder, "dist/mqttzoo"), `${path}-${process.pid}`);
    renameSync(`${path}-${process.pid}`, path);
    return path;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The folder of its source, whose imports resolve. Rejects if neither this clone nor its origin has the commit. */
export async function sourceOf(commit: string): Promise<string> {
  const kept = join(tmpdir(), `mqttzoo-source-${commit.slice(0, 12)}`);
  // Where its packages were linked to may be gone.
  if (existsSync(join(kept, "node_modules"))) return kept;
  const folder = await unpacked(commit);
  rmSync(kept, { recursive: true, force: true });
  renameSync(folder, kept);
  return kept;
}

async function unpacked(commit: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-older-"));
  try {
    const clone = await cloneWith(commit, folder);
    await must(["sh", "-c", `git -C '${clone}' archive ${commit} | tar -x -C '${folder}'`], root);
    const areSame = readFileSync(join(folder, "bun.lock"), "utf8") === readFileSync(join(root, "bun.lock"), "utf8");
    // What it needs is here already, mostly.
    if (areSame) symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    else await must([process.execPath, "install", "--frozen-lockfile"], folder);
    return folder;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/**
 * The path of a clone that has a commit: this one, or a new one in `folder` that has nothing else, if this one is
 * shallow. Rejects, and says what to do, if its origin does not give the commit away.
 */
async function cloneWith(commit: string, folder: string): Promise<string> {
  if ((await run(["git", "cat-file", "-e", `${commit}^{commit}`], root)).code === 0) return root;
  const fetched = join(folder, ".commit.git");
  await must(["git", "init", "--quiet", "--bare", fetched], root);
  const origin = (await run(["git", "remote", "get-url", "origin"], root)).said.trim();
  const { code, said } = await run(["git", "-C", fetched, "fetch", "--quiet", "--depth=1", origin, commit], root);
  if (code === 0) return fetched;
  throw new Error(
    `commit ${commit} is not in this clone, a shallow one perhaps, and cannot be fetched: run git fetch --unshallow\n${said}`,
  );
}

async function run(command: readonly string[], cwd: string): Promise<{ code: number; said: string }> {
  const child = Bun.spawn([...command], { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, said: out + err };
}

async function must(command: readonly string[], cwd: string): Promise<void> {
  const { code, said } = await run(command, cwd);
  if (code !== 0) throw new Error(`${command.join(" ")} has failed:\n${said}`);
}
