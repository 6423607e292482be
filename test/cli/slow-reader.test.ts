/**
 * `mqttzoo sub` whose output nobody reads: the broker has to wait, our memory does not grow, and it goes on where it
 * was.
 */
import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { residentBytes } from "../bench/process.ts";
import { eventually, startBroker } from "../support/broker.ts";
import { executable, runExecutable } from "../support/process.ts";

test("a reader that sleeps through 150 MB", async () => {
  const broker = await startBroker();
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-slow-"));
  const pipe = join(folder, "pipe");
  expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
  // Open, so that the writer finds a reader; but nobody reads.
  const open = openSync(pipe, "r+");
  const where = ["-h", "127.0.0.1", "-p", String(broker.port)];
  const child = Bun.spawn([executable, "sub", ...where, "-t", "flood"], { stdout: open });
  try {
    const { metrics, router } = broker.server.broker.context;
    await eventually(() => router.subscriptions === 1, "the subscription");
    const before = residentBytes(child.pid);
    const load = ["-c", "1", "-t", "flood", "-I", "0", "-L", "150000", "-s", "1000"];
    expect((await runExecutable(["bench", "pub", ...where, ...load])).code).toBe(0);
    // Before it drops QoS 0 for a subscriber that does not read, the broker keeps 16 MB for it.
    await eventually(() => metrics.droppedOutput > 0, "the broker to drop");
    expect(residentBytes(child.pid) - before).toBeLessThan(60_000_000);
    const wanted = 10_000_000;
    const reader = Bun.spawn(["sh", "-c", `head -c ${wanted} ${pipe} | wc -c`], { stdout: "pipe" });
    expect((await new Response(reader.stdout).text()).trim()).toBe(String(wanted));
  } finally {
    child.kill();
    closeSync(open);
    rmSync(folder, { recursive: true });
    await broker.stop();
  }
}, 120_000);
