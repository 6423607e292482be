/**
 * `bun run release [KIND...]`: makes all that a release publishes, but for the images, in `dist/release`, for the kinds
 * of processors amd64 and arm64 or those that are named: archives, packages for Debian, RPM and npm, the chart, the
 * bill of materials, and the sums of all of it.
 */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { readMaterials, toCycloneDx, toNotices } from "./bill-of-materials.ts";
import { installedFiles, runToEnd } from "./installed-files.ts";
import { type Machine, packExecutable, packLibrary } from "./npm-packages.ts";
import { type Arch, archs, packArchive, packDeb, packRpm } from "./pack.ts";
import { fail } from "./rootfs.ts";

const root = join(import.meta.dir, "../..");
const to = join(root, "dist/release");
const { version } = manifest;
const own: Arch = process.arch === "arm64" ? "arm64" : "amd64";
const words = process.argv.slice(2);
for (const word of words)
  if (!(word in archs)) fail(`no release for ${word}; there are ${Object.keys(archs).join(", ")}`);
const wanted = (words.length > 0 ? words : Object.keys(archs)) as Arch[];

function releaseFor(arch: Arch): void {
  const { target } = archs[arch];
  const speaker = join(root, "dist/mqttzoo");
  const executable = arch === own ? speaker : join(root, `dist/mqttzoo-${target}`);
  if (arch !== own) runToEnd([process.execPath, join(import.meta.dir, "build.ts"), target]);
  const forDebian = { version, arch, files: installedFiles("deb", executable, speaker), to };
  packDeb(forDebian);
  packArchive(forDebian);
  packRpm({ ...forDebian, files: installedFiles("rpm", executable, speaker) });
  packExecutable(target as Machine, executable, to);
}

/** A chart as `helm push` and `helm install` take it. */
function packChart(): void {
  const rename = "--transform=s,^chart,mqttzoo,";
  const sorted = ["--sort=name", "--owner=root:0", "--group=root:0", "--exclude=chart/ci"];
  const archive = join(to, `mqttzoo-chart-${version}.tgz`);
  runToEnd([
    "tar",
    "--create",
    "--gzip",
    "--file",
    archive,
    ...sorted,
    rename,
    "--directory",
    join(root, "k8s"),
    "chart",
  ]);
}

function writeSums(): void {
  const names = readdirSync(to).toSorted();
  const sumOf = (name: string): string =>
    createHash("sha256")
      .update(readFileSync(join(to, name)))
      .digest("hex");
  writeFileSync(join(to, "SHA256SUMS"), names.map((name) => `${sumOf(name)}  ${name}\n`).join(""));
}

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
for (const arch of wanted) releaseFor(arch);
packLibrary(join(root, "dist/package"), to);
packChart();
const materials = readMaterials(root);
writeFileSync(join(to, "sbom.cdx.json"), `${JSON.stringify(toCycloneDx(materials), null, 2)}\n`);
writeFileSync(join(to, "THIRD-PARTY-NOTICES.txt"), toNotices(materials));
copyFileSync(join(root, "LICENSE"), join(to, "LICENSE"));
writeSums();
for (const name of readdirSync(to))
  console.log(`dist/release/${name}  ${(statSync(join(to, name)).size / 1e6).toFixed(1)} MB`);
console.log("not in it: images (bun run image --arch ...), which go to a registry");
