/** A release: all of it is there, its sums are right, and npx runs the executable that npm installs. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { freePort, untilListening } from "../bench/brokers.ts";
import { killedAtExit } from "../support/children.ts";
import { builtPackage } from "../support/package.ts";
import { runToEnd } from "../tools/installed-files.ts";

const root = join(import.meta.dir, "../..");
const release = join(root, "dist/release");
const { version } = manifest;
const arch = process.arch === "arm64" ? "arm64" : "amd64";
const machine = arch === "arm64" ? "linux-arm64" : "linux-x64";
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-release-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(release, { recursive: true, force: true });
});

test("a release for this machine has all its parts, and their sums", () => {
  builtPackage();
  runToEnd([process.execPath, join(root, "test/tools/release.ts"), arch]);
  const names = readdirSync(release);
  expect(names.sort()).toEqual(
    [
      `mqttzoo_${version}_${arch}.deb`,
      `mqttzoo-${version}-1.${arch === "arm64" ? "aarch64" : "x86_64"}.rpm`,
      `mqttzoo-${version}-${machine}.tar.gz`,
      `mqttzoo-${version}.tgz`,
      `mqttzoo-${machine}-${version}.tgz`,
      `mqttzoo-chart-${version}.tgz`,
      "LICENSE",
      "SHA256SUMS",
      "THIRD-PARTY-NOTICES.txt",
      "sbom.cdx.json",
    ].sort(),
  );
  const checked = Bun.spawnSync(["sha256sum", "--check", "--strict", "SHA256SUMS"], { cwd: release });
  expect(checked.stdout.toString().match(/: OK$/gm)?.length).toBe(names.length - 1);
  expect(checked.exitCode).toBe(0);
  const inChart = runToEnd(["tar", "--list", "--file", join(release, `mqttzoo-chart-${version}.tgz`)]).split("\n");
  expect(inChart).toContain("mqttzoo/Chart.yaml");
  expect(inChart.filter((path) => path.startsWith("mqttzoo/ci"))).toEqual([]);
  const archive = `mqttzoo-${version}-${machine}`;
  const inArchive = runToEnd(["tar", "--list", "--file", join(release, `${archive}.tar.gz`)]).split("\n");
  for (const place of ["usr/bin/mqttzoo", "usr/share/man/man1/mqttzoo.1.gz", "usr/lib/systemd/system/mqttzoo.service"])
    expect(inArchive).toContain(`${archive}/${place}`);
}, 600_000);

test("npx runs the executable, hands on signals and its exit code; without one it says so", async () => {
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "user", private: true }));
  const library = join(release, `mqttzoo-${version}.tgz`);
  const unpacked = JSON.parse(runToEnd(["tar", "--extract", "--to-stdout", "--file", library, "package/package.json"]));
  expect(unpacked.optionalDependencies).toEqual({ "mqttzoo-linux-x64": version, "mqttzoo-linux-arm64": version });
  const install = async (...what: readonly string[]): Promise<void> => {
    const words = ["--no-audit", "--no-fund", "--omit=optional"];
    const child = Bun.spawn(["npm", "install", ...words, ...what], { cwd: folder, stdout: "ignore", stderr: "pipe" });
    expect([await new Response(child.stderr).text(), await child.exited]).toEqual([expect.any(String), 0]);
  };
  const npx = (...words: readonly string[]) =>
    Bun.spawnSync(["npx", "--no-install", "mqttzoo", ...words], { cwd: folder });
  // As npm does where it finds none for the machine.
  await install(library);
  const without = npx("--version");
  expect([without.exitCode, without.stderr.toString()]).toEqual([
    1,
    `mqttzoo: the package mqttzoo-${machine} is missing: npm leaves it out with --omit=optional\n`,
  ]);
  await install(library, join(release, `mqttzoo-${machine}-${version}.tgz`));
  expect(npx("--version").stdout.toString()).toBe(`${version}\n`);
  expect(npx("brew").exitCode).toBe(2);
  const port = await freePort();
  const command = [
    join(folder, "node_modules/.bin/mqttzoo"),
    "broker",
    "--port",
    `${port}`,
    "--data",
    join(folder, "data"),
  ];
  const broker = killedAtExit(Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" }));
  await untilListening(port);
  broker.kill("SIGTERM");
  expect(await broker.exited).toBe(0);
  // It was a copy: what npm installs is what was packed.
  expect(readFileSync(join(folder, "node_modules/mqttzoo/LICENSE"), "utf8")).toContain("MIT");
}, 600_000);
