/** Debian and RPM packages, made of the files that they install and of the scripts in `k8s/packages`. */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type InstalledFile, runToEnd } from "./installed-files.ts";

const sources = join(import.meta.dir, "../../k8s/packages");

/** Kinds of processors, as Bun, Debian and RPM call them. */
export const archs = {
  amd64: { target: "linux-x64", rpm: "x86_64" },
  arm64: { target: "linux-arm64", rpm: "aarch64" },
} as const;
export type Arch = keyof typeof archs;

export interface Packing {
  readonly version: string;
  readonly arch: Arch;
  readonly files: readonly InstalledFile[];
  /** The folder where the package is put. */
  readonly to: string;
}

/** Makes a Debian package; returns its path. Throws if dpkg-deb fails. */
export function packDeb({ version, arch, files, to }: Packing): string {
  const path = join(to, `mqttzoo_${version}_${arch}.deb`);
  within((folder) => {
    lay(folder, files);
    const kilobytes = Math.ceil(files.reduce((sum, { bytes }) => sum + bytes.length, 0) / 1024);
    mkdirSync(join(folder, "DEBIAN"));
    const write = (name: string, text: string): void => writeFileSync(join(folder, "DEBIAN", name), text);
    write("control", controlOf(version, arch, kilobytes));
    write("conffiles", linesOf(files.filter(({ isConfig }) => isConfig).map(({ place }) => place)));
    write("md5sums", linesOf(files.filter(({ isConfig }) => !isConfig).map(sumOf)));
    for (const script of ["postinst", "prerm", "postrm"]) {
      const place = join(folder, "DEBIAN", script);
      copyFileSync(join(sources, "deb", script), place);
      runToEnd(["chmod", "755", place]);
    }
    // gzip: older systems of Debian's kin do not know zstd, and xz takes minutes.
    runToEnd(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", folder, path]);
  });
  return path;
}

function controlOf(version: string, arch: Arch, kilobytes: number): string {
  return `Package: mqttzoo
Version: ${version}
Architecture: ${arch}
Maintainer: MQTTZoo contributors <mqttzoo@localhost>
Installed-Size: ${kilobytes}
Depends: libc6 (>= 2.17), passwd
Section: net
Priority: optional
Description: MQTT broker that never loses an acknowledged message
 An MQTT 3.1, 3.1.1 and 5.0 broker that acknowledges a message only when it is
 safe: alone on an embedded store, or as one of a cluster that Apache ZooKeeper
 coordinates. With clients, a doctor for brokers, and tools for operators.
`;
}

/** The sum that `dpkg --verify` compares. */
function sumOf({ place, bytes }: InstalledFile): string {
  return `${createHash("md5").update(bytes).digest("hex")}  ${place.slice(1)}`;
}

/** Makes an archive for any Linux with glibc, to be unpacked anywhere; returns its path. Throws if tar fails. */
export function packArchive({ version, arch, files, to }: Packing): string {
  const name = `mqttzoo-${version}-${archs[arch].target}`;
  const path = join(to, `${name}.tar.gz`);
  within((folder) => {
    lay(join(folder, name), files);
    const sorted = ["--sort=name", "--owner=root:0", "--group=root:0"];
    runToEnd(["tar", "--create", "--gzip", "--file", path, ...sorted, "--directory", folder, name]);
  });
  return path;
}

/** Makes an RPM package; returns its path. Throws if rpmbuild fails. */
export function packRpm({ version, arch, files, to }: Packing): string {
  let path = "";
  within((folder) => {
    const gathered = join(folder, "gathered");
    lay(gathered, files);
    const list = join(folder, "files");
    writeFileSync(list, linesOf(files.map(toRpmLine).concat("%dir %attr(0750, root, root) /etc/mqttzoo")));
    const top = join(folder, "top");
    const settings = {
      _topdir: top,
      packed_version: version,
      gathered,
      file_list: list,
      use_source_date_epoch_as_buildtime: "1",
    };
    const defines = Object.entries(settings).flatMap(([name, value]) => ["--define", `${name} ${value}`]);
    const { rpm } = archs[arch];
    runToEnd(["rpmbuild", "-bb", "--quiet", "--target", `${rpm}-linux`, ...defines, join(sources, "rpm/mqttzoo.spec")]);
    const [name] = readdirSync(join(top, "RPMS", rpm));
    path = join(to, name!);
    copyFileSync(join(top, "RPMS", rpm, name!), `${path}.new`);
    renameSync(`${path}.new`, path);
  });
  return path;
}

function toRpmLine({ place, mode, isConfig }: InstalledFile): string {
  const kind = isConfig ? "%config(noreplace) " : place.startsWith("/usr/share/doc/") ? "%doc " : "";
  return `${kind}%attr(0${mode.toString(8)}, root, root) ${place}`;
}

function linesOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

/** Writes files below a folder, as they are to lie below `/`. */
function lay(folder: string, files: readonly InstalledFile[]): void {
  for (const { place, bytes, mode } of files) {
    const path = join(folder, place);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    runToEnd(["chmod", mode.toString(8), path]);
  }
  // Whatever the mask of whoever builds is.
  runToEnd(["find", folder, "-type", "d", "-exec", "chmod", "755", "{}", "+"]);
}

function within(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-pack-"));
  try {
    use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
