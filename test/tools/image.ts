/**
 * `bun run image [TAG]`: builds the container image for this machine's kind of processor, with whichever of docker, podman and
 * buildah is there, and prints its size. The executable and the shared libraries that it names are all that is in it.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = join(import.meta.dir, "../..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const tag = process.argv[2] ?? `localhost/mqttzoo:${version}`;
const executable = join(root, "dist/mqttzoo");

function run(command: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd: root, stdout: "pipe", stderr: "pipe" });
  if (exitCode === 0) return stdout.toString();
  console.error(`${command.join(" ")} failed: ${stderr.toString().trim().split("\n").at(-1)}`);
  process.exit(1);
}

/** What the loader would load, and the loader itself. */
function librariesOf(path: string): string[] {
  const found = run(["ldd", path]).matchAll(/(?:=> )?(\/\S+) \(0x/g);
  return [...new Set([...found].map(([, library]) => library!))];
}

/** The root file system, in a folder. */
function gather(): string {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-image-"));
  cpSync(executable, join(folder, "mqttzoo"));
  for (const library of librariesOf(executable)) {
    const place = join(folder, library);
    mkdirSync(dirname(place), { recursive: true });
    cpSync(library, place, { dereference: true });
  }
  mkdirSync(join(folder, "etc"));
  writeFileSync(join(folder, "etc/passwd"), "mqttzoo:x:65532:65532::/tmp:/none\n");
  writeFileSync(join(folder, "etc/group"), "mqttzoo:x:65532:\n");
  for (const name of ["data", "tmp"]) {
    mkdirSync(join(folder, name));
    chmodSync(join(folder, name), 0o777);
  }
  return folder;
}

if (process.platform !== "linux") {
  console.error("the image takes the shared libraries of this machine, which must be Linux with glibc");
  process.exit(2);
}
/** Docker may be installed without anybody behind it. */
const works = (name: string): boolean =>
  Bun.which(name) !== null && Bun.spawnSync([name, "info"], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
const builder = ["docker", "podman", "buildah"].find(works);
if (builder === undefined) {
  console.error("none of docker, podman and buildah works here; on Debian: apt install buildah");
  process.exit(2);
}
const folder = gather();
try {
  const libraries = librariesOf(executable);
  run([builder, "build", "--tag", tag, "--file", join(root, "k8s/Dockerfile"), folder]);
  const bytes = [executable, ...libraries].reduce((sum, path) => sum + statSync(path).size, 0);
  const packed = Bun.gzipSync(readFileSync(executable)).length;
  const inMegabytes = (size: number): string => `${(size / 1e6).toFixed(0)} MB`;
  console.log(`${tag}  ${inMegabytes(bytes)}, about ${inMegabytes(packed)} compressed; built by ${builder}`);
  console.log(`mqttzoo and ${libraries.map((library) => library.slice(library.lastIndexOf("/") + 1)).join(", ")}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
