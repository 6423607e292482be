/**
 * A Node that has SQLite, for the tests of the client library's store: that of the machine where it is new enough,
 * else the oldest one that the pages promise, from npm. It is no dependency of package.json, whose executables would
 * hide the machine's own Node from all other tests.
 */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

const version = "22.13.1";
/** Hashes of the packages' archives, as npm's registry names them. */
const integrity: Readonly<Record<string, string>> = {
  x64: "sha512-lNYJVOFccMJbP4/pZHUMi4nBVdeP3MzaPuVSNhMbsdpZ1VCmWm8bti4s9hMPMCr7NMXvv2Pg0QCiWrttXLg4uQ==",
  arm64: "sha512-HmhDj+W9hpVsDffCv0W1hglW7oS0L9UN+mDbzrbew9UJVtFQTErR0PeyQ/JwJmexXDbiLJv5FFzTb3Qa6rwqtg==",
};
const cache = join(import.meta.dir, "../../node_modules/.cache");
const installed = join(cache, `node-${version}`);

/** Path of its executable; the first time it is fetched, about 47 MB. Throws when that fails. */
export function nodeWithSqlite(): string {
  const own = Bun.which("node");
  if (own !== null && hasSqlite(own)) return own;
  if (!existsSync(installed)) install();
  return installed;
}

function hasSqlite(node: string): boolean {
  return Bun.spawnSync([node, "--no-warnings", "-e", 'require("node:sqlite")']).exitCode === 0;
}

function install(): void {
  const name = `node-linux-${process.arch}`;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "fetched-"));
  try {
    run(["npm", "pack", "--silent", `${name}@${version}`, "--pack-destination", folder]);
    const archive = join(folder, `${name}-${version}.tgz`);
    const found = run(["openssl", "dgst", "-sha512", "-binary", archive]).toString("base64");
    if (`sha512-${found}` !== integrity[process.arch]) throw new Error(`${name}@${version} is not what it was`);
    run(["tar", "-xzf", archive, "-C", folder, "package/bin/node"]);
    // Whole or not at all: tests of other processes look for it, too.
    renameSync(join(folder, "package/bin/node"), installed);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(command: readonly string[]): Buffer {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { stdout: "pipe", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`a Node that has SQLite cannot be had from npm: ${stderr}`);
  return stdout;
}
