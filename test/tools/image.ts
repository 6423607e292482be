/**
 * `bun run image [TAG]`: builds the container image for this machine's kind of processor, with whichever of docker, podman and
 * buildah works, and prints its size. The executable and the shared libraries that it names are all that is in it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { findBuilder, RootFs, run } from "./rootfs.ts";

const root = join(import.meta.dir, "../..");
const tag = process.argv[2] ?? `localhost/mqttzoo:${manifest.version}`;
const executable = join(root, "dist/mqttzoo");

const builder = findBuilder();
const files = new RootFs();
try {
  files.add(executable, "/mqttzoo");
  const libraries = files.addLibraries();
  files.write("/etc/passwd", "mqttzoo:x:65532:65532::/tmp:/none\n");
  files.write("/etc/group", "mqttzoo:x:65532:\n");
  files.makeOpen("/data", "/tmp");
  run([builder, "build", "--tag", tag, "--file", join(root, "k8s/Dockerfile"), files.folder]);
  const packed = Bun.gzipSync(readFileSync(executable)).length;
  const inMegabytes = (size: number): string => `${(size / 1e6).toFixed(0)} MB`;
  console.log(`${tag}  ${inMegabytes(files.bytes)}, about ${inMegabytes(packed)} compressed; built by ${builder}`);
  console.log(`mqttzoo and ${libraries.map((library) => library.slice(library.lastIndexOf("/") + 1)).join(", ")}`);
} finally {
  files.remove();
}
