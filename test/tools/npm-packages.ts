/** A release's packages for npm: the library with the command `mqttzoo`, and an executable for each kind of machine. */
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { runToEnd } from "./installed-files.ts";

const root = join(import.meta.dir, "../..");

/** Kinds of machines, as Node calls them. */
export const machines = { "linux-x64": "x64", "linux-arm64": "arm64" } as const;
export type Machine = keyof typeof machines;

/** Packs an executable for one kind of machine into a folder; returns the path. Throws if npm fails. */
export function packExecutable(machine: Machine, executable: string, to: string): string {
  return within((folder) => {
    mkdirSync(join(folder, "bin"));
    const place = join(folder, "bin/mqttzoo");
    copyFileSync(executable, place);
    chmodSync(place, 0o755);
    const { version, license } = manifest;
    const name = `mqttzoo-${machine}`;
    const description = `The executable of mqttzoo for ${machine}: install mqttzoo, which brings it`;
    const where = { os: ["linux"], cpu: [machines[machine]], libc: ["glibc"] };
    write(join(folder, "package.json"), { name, version, description, license, ...where });
    copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
    return pack(folder, to, `${name}-${version}.tgz`);
  });
}

/**
 * Packs the library, which `bun run package` has built, with the command; npm installs beside it the executable that
 * fits the machine. Returns the path. Throws if npm fails.
 */
export function packLibrary(built: string, to: string): string {
  return within((folder) => {
    cpSync(built, folder, { recursive: true });
    mkdirSync(join(folder, "bin"));
    copyFileSync(join(root, "k8s/packages/npm/mqttzoo.js"), join(folder, "bin/mqttzoo.js"));
    const path = join(folder, "package.json");
    const own = JSON.parse(readFileSync(path, "utf8"));
    const executables = Object.keys(machines).map((machine) => [`mqttzoo-${machine}`, manifest.version]);
    const optionalDependencies = Object.fromEntries(executables);
    write(path, { ...own, bin: { mqttzoo: "bin/mqttzoo.js" }, optionalDependencies });
    return pack(folder, to, `mqttzoo-${manifest.version}.tgz`);
  });
}

function pack(folder: string, to: string, name: string): string {
  runToEnd(["npm", "pack", "--silent", "--pack-destination", to, folder]);
  return join(to, name);
}

function write(path: string, value: object): void {
  writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

function within<Made>(make: (folder: string) => Made): Made {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-npm-"));
  try {
    return make(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
