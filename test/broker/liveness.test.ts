/** /livez: a broker that only another life can help says so; one that waits for the store does not. */
import { expect, test } from "bun:test";
import { livenessBeatMs, livenessBeatsMax, startBeatsMax } from "../../src/base/limits.ts";
import type { CoordinatorState, ReadDone } from "../../src/coordinator/coordinator.ts";
import { Health } from "../../src/server/health.ts";
import { Liveness } from "../../src/server/liveness.ts";

function stage() {
  let now = 0;
  let answers = true;
  const open: ReadDone[] = [];
  const coordinator = {
    state: "CONNECTED" as CoordinatorState,
    onState: () => {},
    read: (_: unknown, done: ReadDone) => void (answers ? done(undefined, []) : open.push(done)),
  };
  const journal = { oldestPending: undefined as number | undefined };
  const self = { isFenced: false };
  const health = new Health();
  const liveness = new Liveness(coordinator, { now: () => now });
  health.opened(liveness);
  return {
    coordinator,
    journal,
    self,
    start: () => health.started({ coordinator, journal, self } as never),
    hush: () => {
      answers = false;
    },
    speak: () => {
      answers = true;
      for (const done of open.splice(0)) done(undefined, []);
    },
    pass: (beats: number, between: () => void = () => {}) => {
      for (let beat = 0; beat < beats; beat++) {
        now += livenessBeatMs;
        liveness.tick();
        between();
      }
    },
    sleep: (ms: number) => {
      now += ms;
    },
    /** Lists the ills; empty: there are none. */
    ills: () => {
      const { status, body } = health.answer("/livez")!;
      const ills = (JSON.parse(String(body)) as { checks: { name: string; ok: boolean }[] }).checks.filter(
        ({ ok }) => !ok,
      );
      expect(status).toBe(ills.length === 0 ? 200 : 503);
      return ills.map(({ name }) => name);
    },
  };
}

test("a store that has contact and does not answer", () => {
  const { start, hush, speak, pass, ills } = stage();
  start();
  pass(100);
  hush();
  pass(livenessBeatsMax);
  expect(ills()).toEqual([]);
  pass(2);
  expect(ills()).toEqual(["store"]);
  speak();
  pass(1);
  expect(ills()).toEqual([]);
});

test("a commit that is never done, and sessions that are never served again", () => {
  const { start, journal, self, pass, ills } = stage();
  start();
  let number = 0;
  // Each beat another one is the oldest: they come forward.
  pass(3 * livenessBeatsMax, () => {
    journal.oldestPending = ++number;
  });
  expect(ills()).toEqual([]);
  self.isFenced = true;
  pass(livenessBeatsMax + 1);
  expect(ills()).toEqual(["commits", "sessions"]);
});

test("without contact nothing is wrong with the broker, however long it lasts; nor after it has slept", () => {
  const { start, coordinator, journal, self, hush, pass, sleep, ills } = stage();
  start();
  hush();
  coordinator.state = "SUSPENDED";
  journal.oldestPending = 7;
  self.isFenced = true;
  pass(10 * livenessBeatsMax);
  expect(ills()).toEqual([]);
  coordinator.state = "CONNECTED";
  pass(2);
  sleep(100 * livenessBeatMs);
  pass(2);
  expect(ills()).toEqual([]);
});

test("a start that does not end", () => {
  const { start, pass, ills } = stage();
  pass(startBeatsMax);
  expect(ills()).toEqual([]);
  pass(1);
  expect(ills()).toEqual(["start"]);
  start();
  pass(1);
  expect(ills()).toEqual([]);
});
