/** The samples of a broker's last hour: at round times, of what was counted since the one before, for an hour. */
import { describe, expect, test } from "bun:test";
import type { SampleRow } from "../../src/api/broker-rows.ts";
import { historyMs, historyStepMs } from "../../src/base/api-limits.ts";
import { percentileOf, timeEnds } from "../../src/base/histogram.ts";
import { Metrics } from "../../src/broker/core/metrics.ts";
import { merge } from "../../src/dashboard/hour.ts";
import { History } from "../../src/server/history.ts";

const account = { bound: 7000, grant: 9000 };

function start(wall: number) {
  const metrics = new Metrics();
  const clock = { time: 500, now: () => clock.time, wall: () => wall + clock.time - 500 };
  const bankAccount = { account, capital: 50_000, vault: 41_000 };
  const history = new History({ metrics, bankAccount } as never, clock);
  const pass = (ms: number): void => {
    clock.time += ms;
    history.tick();
  };
  return { metrics, history, pass, clock };
}

describe("the history of a broker", () => {
  test("is sampled when the time of day is a multiple of ten seconds, and not before", () => {
    const { history, pass, clock } = start(1_000_003_000);
    expect(history.nextDeadline() - clock.time).toBe(7000);
    pass(6999);
    expect([...history.after(0)]).toEqual([]);
    pass(1);
    expect([...history.after(0)].map(({ at }) => Date.parse(at))).toEqual([1_000_010_000]);
    expect(history.nextDeadline() - clock.time).toBe(historyStepMs);
  });

  test("has rates since the sample before, and the bank in credits", () => {
    const { metrics, history, pass } = start(1_000_000_000);
    Object.assign(metrics, {
      publishesReceived: 50,
      publishesSent: 1000,
      connections: 3,
      droppedQueue: 20,
      refused: 5,
    });
    metrics.turnedAway.banned = 10;
    for (const path of ["live", "through", "stored"] as const) metrics.acking[path].observe(8, 33);
    pass(historyStepMs);
    pass(historyStepMs);
    const [first, second] = [...history.after(0)];
    expect(first).toMatchObject({ received: 5, sent: 100, dropped: 2, refused: 0.5, turned_away: 1, connections: 3 });
    expect(first!.settle_p50_ms).toBeCloseTo(7.5, 5);
    expect(first).toMatchObject({ bound: 7, granted: 9, vault: 41, capital: 50 });
    expect(second).toMatchObject({ received: 0, sent: 0, settle_p50_ms: null, settle_p99_ms: null });
    expect([...history.after(Date.parse(first!.at))]).toEqual([second!]);
  });

  test("is an hour, however long the broker runs", () => {
    const { history, pass } = start(1_000_000_000);
    for (let index = 0; index < 1000; index++) pass(historyStepMs);
    expect([...history.after(0)].length).toBe(historyMs / historyStepMs);
    expect(Date.parse([...history.after(0)].at(-1)!.at)).toBe(1_000_000_000 + 1000 * historyStepMs);
  });
});

test("a percentile lies in its bucket; what is beyond all ends is told as the last one", () => {
  const counts = timeEnds.map(() => 0);
  expect(percentileOf(timeEnds, [...counts, 0], 0.5)).toBeNull();
  expect(percentileOf(timeEnds, [10, ...counts], 0.5)).toBe(0.25);
  expect(percentileOf(timeEnds, [...counts, 4], 0.99)).toBe(timeEnds.at(-1)!);
  expect(percentileOf([1, 2], [98, 1, 1], 0.99)).toBe(2);
});

describe("the histories of several brokers", () => {
  const sample = (at: string, more: Partial<SampleRow>): SampleRow => ({
    at: `2026-01-31T12:00:${at}Z`,
    ...{ connections: 1, received: 2, sent: 3, dropped: 0, refused: 0.5, turned_away: 0 },
    ...{ settle_p50_ms: null, settle_p99_ms: null, bound: 5, granted: 10, vault: 100, capital: 130, ...more },
  });

  test("become one, in steps of ten seconds: rates are added up, of times the longest counts", () => {
    const a = [sample("10.004", {}), sample("20.001", { settle_p50_ms: 4, settle_p99_ms: 90 })];
    const b = [sample("20.003", { settle_p50_ms: 7, settle_p99_ms: 8, vault: 90 })];
    const { times, samples } = merge([a, b]);
    expect(times.map((time) => new Date(time * 1000).toISOString())).toEqual([
      "2026-01-31T12:00:10.000Z",
      "2026-01-31T12:00:20.000Z",
    ]);
    expect(samples[0]).toEqual(a[0]!);
    expect(samples[1]).toMatchObject({ connections: 2, received: 4, sent: 6, refused: 1, bound: 10, granted: 20 });
    expect(samples[1]).toMatchObject({ settle_p50_ms: 7, settle_p99_ms: 90, vault: 90, capital: 130 });
  });
});
