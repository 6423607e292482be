/** The broker as a service of systemd: the unit, and what systemd is told. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { executable } from "../support/process.ts";
import { FakeServiceManager } from "../support/service-manager.ts";

const root = join(import.meta.dir, "../..");
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-systemd-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function startService(name: string, env: Record<string, string>) {
  const port = await freePort();
  const users = join(folder, `${name}-users`);
  writeFileSync(users, "");
  const err = join(folder, `${name}.log`);
  const args = brokerArguments(port, join(folder, name));
  const child = killedAtExit(
    Bun.spawn([executable, ...args, "--password-file", users], {
      stdout: "ignore",
      stderr: Bun.file(err),
      env: { ...process.env, ...env },
    }),
  );
  return { child, port, said: () => readFileSync(err, "utf8") };
}

/** The two kinds of addresses that there are. */
const addresses = [join(folder, "notify"), `@mqttzoo-${process.pid}`];

test.each(addresses)("at %s systemd is told of a whole life", async (address) => {
  const manager = await FakeServiceManager.listen(address);
  const { child, port } = await startService(address.startsWith("@") ? "abstract" : "file", {
    NOTIFY_SOCKET: address,
    WATCHDOG_USEC: "400000",
  });
  await manager.untilTold("READY=1");
  // Whoever is told that it is ready may connect at once.
  await untilListening(port);
  const before = manager.told.length;
  await eventually(
    () => manager.told.slice(before).filter(({ lines }) => lines.includes("WATCHDOG=1")).length >= 3,
    "it is told three times that the broker lives",
  );
  child.kill("SIGHUP");
  const { at, lines } = await manager.untilTold("RELOADING=1");
  const us = Number(lines.find((line) => line.startsWith("MONOTONIC_USEC="))?.split("=")[1]);
  expect(us).toBeGreaterThan(at - 60_000_000);
  expect(us).toBeLessThanOrEqual(at);
  await manager.untilTold(
    "READY=1",
    manager.told.findIndex((told) => told.lines.includes("RELOADING=1")),
  );
  child.kill("SIGTERM");
  await manager.untilTold("STOPPING=1");
  expect(await child.exited).toBe(0);
  await manager.close();
});

test("a watchdog that is another process's hears nothing", async () => {
  const address = join(folder, "other");
  const manager = await FakeServiceManager.listen(address);
  const env = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "1000", WATCHDOG_PID: "1" };
  const { child } = await startService("not-watched", env);
  await manager.untilTold("READY=1");
  child.kill("SIGTERM");
  await manager.untilTold("STOPPING=1");
  await child.exited;
  expect(manager.told.filter(({ lines }) => lines.includes("WATCHDOG=1"))).toEqual([]);
  await manager.close();
});

test("a broker serves also where nobody can be told so", async () => {
  for (const [name, address, why] of [
    ["nobody", join(folder, "nobody-listens"), "the service manager takes no word: see NOTIFY_SOCKET"],
    ["vsock", "vsock:2:1234", "vsock:2:1234 is no address of a Unix socket; have it use Type=exec"],
  ] as const) {
    const { child, port, said } = await startService(name, { NOTIFY_SOCKET: address });
    await untilListening(port);
    await eventually(() => said().includes("broker is ready"), "it is ready");
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    expect(said().split(why).length).toBe(2);
  }
});

/** Writes the unit as it is when our executable is installed; systemd looks whether it is there. */
function writeUnit(): string {
  const unit = readFileSync(join(root, "k8s/systemd/mqttzoo.service"), "utf8");
  const path = join(folder, "mqttzoo.service");
  writeFileSync(path, unit.replace("/usr/bin/mqttzoo", executable));
  return path;
}

test("the unit is right, and leaves the broker what it needs alone", () => {
  const path = writeUnit();
  const run = (...args: readonly string[]): string => {
    const { exitCode, stdout, stderr } = Bun.spawnSync(["systemd-analyze", "--no-pager", ...args, path]);
    return exitCode === 0 ? stderr.toString() : `${stdout}${stderr}`;
  };
  expect(run("verify", "--man=no")).toBe("");
  // Of 10; a service that nothing is taken from has 9.6.
  expect(run("security", "--offline=true", "--threshold=20")).toBe("");
  writeFileSync(path, readFileSync(path, "utf8").replace("NoNewPrivileges", "NoNewPrivilege"));
  expect(run("verify", "--man=no")).toContain("NoNewPrivilege");
});
