/**
 * `bun run image [--arch amd64|arm64] [TAG]`: builds the container image with whichever of docker, podman and buildah
 * works, and prints its size. The executable and the shared libraries that it needs are all that is in it. For another
 * kind of processor than this machine's the libraries come out of Debian's package, which apt fetches without
 * installing it.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { readMaterials, toCycloneDx, toNotices } from "./bill-of-materials.ts";
import { fail, findBuilder, RootFs, run } from "./rootfs.ts";

const root = join(import.meta.dir, "../..");
const kinds = {
  amd64: { target: "linux-x64", loader: "/lib64/ld-linux-x86-64.so.2", folder: "/lib/x86_64-linux-gnu" },
  arm64: { target: "linux-arm64", loader: "/lib/ld-linux-aarch64.so.1", folder: "/lib/aarch64-linux-gnu" },
} as const;
type Arch = keyof typeof kinds;
/** The libraries that the executable names. */
const libraries = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2"];

const words = process.argv.slice(2);
const own: Arch = process.arch === "arm64" ? "arm64" : "amd64";
const asked = words.includes("--arch") ? words.splice(words.indexOf("--arch"), 2)[1] : own;
if (asked !== "amd64" && asked !== "arm64") fail(`no image for ${asked}; there are amd64 and arm64`);
const arch = asked as Arch;
const tag = words[0] ?? `localhost/mqttzoo:${manifest.version}`;

/** Debian's C library for another processor, unpacked in a folder; apt's own state stays as it is. */
function fetchLibraries(folder: string): string {
  for (const part of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, part), { recursive: true });
  const settings = {
    "Dir::State": join(folder, "state"),
    "Dir::Cache": join(folder, "cache"),
    "APT::Architecture": arch,
    "APT::Architectures": arch,
  };
  const apt = ["apt-get", "-qq", ...Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`])];
  run([...apt, "update"]);
  run(["sh", "-c", `cd '${folder}' && ${apt.join(" ")} download libc6`]);
  const archive = readdirSync(folder).find((name) => name.endsWith(".deb")) ?? fail("apt has fetched no package");
  run(["dpkg-deb", "-x", join(folder, archive), join(folder, "libc")]);
  return join(folder, "libc");
}

const builder = findBuilder();
const { target, loader, folder } = kinds[arch];
const executable = join(root, arch === own ? "dist/mqttzoo" : `dist/mqttzoo-${target}`);
if (arch !== own) run([process.execPath, join(import.meta.dir, "build.ts"), target]);
const files = new RootFs();
const fetched = mkdtempSync(join(tmpdir(), "mqttzoo-libc-"));
try {
  files.add(executable, "/mqttzoo");
  const from = arch === own ? "" : fetchLibraries(fetched);
  for (const path of [loader, ...libraries.map((name) => `${folder}/${name}`)]) files.add(`${from}${path}`, path);
  const materials = readMaterials(root);
  files.write("/usr/share/doc/mqttzoo/sbom.cdx.json", JSON.stringify(toCycloneDx(materials)));
  files.write("/usr/share/doc/mqttzoo/THIRD-PARTY-NOTICES.txt", toNotices(materials));
  files.write("/etc/passwd", "mqttzoo:x:65532:65532::/tmp:/none\n");
  files.write("/etc/group", "mqttzoo:x:65532:\n");
  files.makeOpen("/data", "/tmp");
  const dockerfile = join(root, "k8s/Dockerfile");
  run([builder, "build", "--platform", `linux/${arch}`, "--tag", tag, "--file", dockerfile, files.folder]);
  const packed = Bun.gzipSync(readFileSync(executable)).length;
  const inMegabytes = (size: number): string => `${(size / 1e6).toFixed(0)} MB`;
  const sizes = `${inMegabytes(files.bytes)}, about ${inMegabytes(packed)} compressed`;
  console.log(`${tag}  ${arch}, ${sizes}; built by ${builder}`);
} finally {
  files.remove();
  rmSync(fetched, { recursive: true, force: true });
}
