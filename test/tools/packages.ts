/**
 * `bun run packages [--arch amd64|arm64]`: makes a Debian and an RPM package of `dist/mqttzoo` in `dist/packages`, for
 * this machine's kind of processor or another.
 */
import { mkdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { installedFiles, runToEnd } from "./installed-files.ts";
import { type Arch, archs, packDeb, packRpm } from "./pack.ts";
import { fail } from "./rootfs.ts";

const root = join(import.meta.dir, "../..");
const own: Arch = process.arch === "arm64" ? "arm64" : "amd64";
const words = process.argv.slice(2);
const asked = words[0] === "--arch" ? words[1] : own;
if (asked === undefined || !(asked in archs))
  fail(`no packages for ${asked}; there are ${Object.keys(archs).join(", ")}`);
const arch = asked as Arch;
for (const [program, debian] of [
  ["dpkg-deb", "dpkg"],
  ["rpmbuild", "rpm"],
] as const)
  if (Bun.which(program) === null) fail(`${program} is missing: on Debian, apt install ${debian}`);

const speaker = join(root, "dist/mqttzoo");
const { target } = archs[arch];
const executable = arch === own ? speaker : join(root, `dist/mqttzoo-${target}`);
if (arch !== own) runToEnd([process.execPath, join(import.meta.dir, "build.ts"), target]);
const to = join(root, "dist/packages");
mkdirSync(to, { recursive: true });
for (const [kind, pack] of [
  ["deb", packDeb],
  ["rpm", packRpm],
] as const) {
  const path = pack({ version: manifest.version, arch, files: installedFiles(kind, executable, speaker), to });
  console.log(`${relative(root, path)}  ${(statSync(path).size / 1e6).toFixed(0)} MB`);
}
