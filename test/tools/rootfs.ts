/**
 * The root file system of an image, gathered from this machine: what is named, and the shared libraries that it needs.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = join(import.meta.dir, "../..");

/** Runs a program; ends this one, with one line, if it fails. */
export function run(command: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd: root, stdout: "pipe", stderr: "pipe" });
  if (exitCode === 0) return stdout.toString();
  return fail(`${command.join(" ")} failed: ${stderr.toString().trim().split("\n").at(-1)}`);
}

export function fail(why: string): never {
  console.error(why);
  process.exit(1);
}

/** Docker may be installed without anybody behind it. */
export function findBuilder(): string {
  const works = (name: string): boolean =>
    Bun.which(name) !== null && Bun.spawnSync([name, "info"], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
  if (process.platform !== "linux") fail("an image takes the shared libraries of this machine, which must be Linux");
  return (
    ["docker", "podman", "buildah"].find(works) ??
    fail("none of docker, podman and buildah works here; on Debian: apt install buildah")
  );
}

/** The libraries that the loader would load, and the loader itself. */
export function librariesOf(path: string): string[] {
  const { stdout } = Bun.spawnSync(["ldd", path], { stdout: "pipe", stderr: "ignore" });
  return [...stdout.toString().matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library!);
}

export class RootFs {
  readonly folder = mkdtempSync(join(tmpdir(), "mqttzoo-image-"));

  /** A file or a folder of this machine, at its place or another; links become what they lead to. */
  add(path: string, place = path): void {
    const target = join(this.folder, place);
    mkdirSync(dirname(target), { recursive: true });
    // Links that lead nowhere are left out.
    cpSync(path, target, { recursive: true, dereference: true, filter: existsSync });
  }

  write(place: string, text: string, mode = 0o644): void {
    const target = join(this.folder, place);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text, { mode });
  }

  /** Folders that anybody may write to. */
  makeOpen(...places: readonly string[]): void {
    for (const place of places) {
      mkdirSync(join(this.folder, place), { recursive: true });
      chmodSync(join(this.folder, place), 0o777);
    }
  }

  /** The shared libraries of everything that is in it; those that are in it already stay as they are. */
  addLibraries(): string[] {
    const files = readdirSync(this.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map(({ parentPath, name }) => join(parentPath, name));
    const binaries = paths.filter((path) => /\.so(\.\d+)*$/.test(path) || (statSync(path).mode & 0o111) !== 0);
    const libraries = [...new Set(binaries.flatMap(librariesOf))].filter((path) => !path.startsWith(this.folder));
    for (const library of libraries) this.add(library);
    return libraries;
  }

  get bytes(): number {
    const files = readdirSync(this.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
