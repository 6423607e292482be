/** The words to systemd: a broker lives as /livez means it, and who is silent is started again. */
import { expect, test } from "bun:test";
import { livenessBeatMs, serviceLifeMs, shutdownWaitMs } from "../../src/base/limits.ts";
import { silentLog } from "../../src/base/log.ts";
import { openUnixDatagrams } from "../../src/net/unix-datagram.ts";
import { ServiceManager } from "../../src/server/service-manager.ts";

function stage(watchdogMs: number | undefined) {
  let now = 0;
  let told: string[] = [];
  const checks = [{ name: "store", ok: true, why: "it answers" }];
  const manager = new ServiceManager({
    datagrams: { send: (text) => told.push(text) > 0, monotonicUs: () => 42n },
    served: { live: checks },
    clock: { now: () => now },
    log: silentLog,
    watchdogMs,
  });
  const said = (): readonly string[] => {
    const words = told;
    told = [];
    return words;
  };
  return {
    manager,
    checks,
    said,
    /** Lets time pass to its next deadline; returns what it says then. */
    beat(): readonly string[] {
      now = manager.nextDeadline();
      manager.tick();
      return said();
    },
    now: () => now,
  };
}

const alive = "WATCHDOG=1";
const longer = `EXTEND_TIMEOUT_USEC=${serviceLifeMs * 1000}`;

test("it is said twice in the time that a broker lives; while it starts, that it needs longer", () => {
  const { manager, beat, said, now } = stage(6000);
  expect(beat()).toEqual([longer, alive]);
  const before = now();
  expect(beat()).toEqual([longer, alive]);
  expect(now() - before).toBe(3000);
  manager.tick();
  expect(said()).toEqual([]);
  manager.ready("well");
  expect([said(), beat(), beat()]).toEqual([["READY=1\nSTATUS=well"], [alive], [alive]]);
  manager.stopping(20_000);
  const restUs = (20_000 + shutdownWaitMs + serviceLifeMs) * 1000;
  expect(said()).toEqual([`STOPPING=1\nSTATUS=sending clients away\nEXTEND_TIMEOUT_USEC=${restUs}`]);
});

test("a broker that only another life can help is silent, and says why once", () => {
  const { manager, checks, beat, said } = stage(6000);
  manager.ready("well");
  said();
  checks[0] = { name: "store", ok: false, why: "it does not answer" };
  expect([beat(), beat(), beat()]).toEqual([["STATUS=store: it does not answer"], [], []]);
  checks[0] = { name: "store", ok: true, why: "it answers" };
  expect([beat(), beat()]).toEqual([["STATUS=it lives again", alive], [alive]]);
});

test("a start that stands still is not given longer", () => {
  const { checks, beat, said } = stage(undefined);
  expect(beat()).toEqual([longer]);
  checks[0] = { name: "start", ok: false, why: "it does not end" };
  said();
  expect([beat(), beat()]).toEqual([["STATUS=start: it does not end"], []]);
});

test("nothing is said of a life that nobody asks about", () => {
  const { manager, beat, said, now } = stage(undefined);
  beat();
  manager.ready("well");
  said();
  const before = now();
  expect(beat()).toEqual([]);
  expect(now() - before).toBe(livenessBeatMs);
});

test("files are being read again from the first word to the second", async () => {
  const { manager, said } = stage(undefined);
  manager.ready("well");
  said();
  const { promise, resolve } = Promise.withResolvers<void>();
  const reloading = manager.reloading(promise);
  expect(said()).toEqual(["RELOADING=1\nMONOTONIC_USEC=42"]);
  resolve();
  await reloading;
  expect(said()).toEqual(["READY=1"]);
});

test("addresses that are none of a Unix socket are refused", async () => {
  for (const path of ["vsock:2:1234", "relative/path", `/${"a".repeat(107)}`])
    await expect(openUnixDatagrams(path)).rejects.toThrow("is no address of a Unix socket");
  const { send } = await openUnixDatagrams(`/${"a".repeat(106)}`);
  expect(send("nobody is there")).toBe(false);
});
