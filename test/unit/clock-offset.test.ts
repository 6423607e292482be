/** How far apart two clocks are, told by pings that are slow, late, doubled by nobody, and of every content. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { clockSampleMs, clocksApartMs } from "../../src/base/api-limits.ts";
import { clockReportMs } from "../../src/base/limits.ts";
import { ClockWatch } from "../../src/broker/peers/clock-watch.ts";
import { ClockOffset, pingBodyBytes } from "../../src/link/clock-offset.ts";

/** Two machines whose monotonic clocks mean nothing to each other, and whose wall clocks differ. */
function pair(skewMs: number) {
  const machine = (origin: number, skew: () => number) => ({
    offset: new ClockOffset(),
    moment: () => ({ now: time - origin, wall: 1_800_000_000_000 + time + skew() }),
  });
  let time = 0;
  let skew = skewMs;
  const [a, b] = [machine(-7_000, () => 0), machine(90_000, () => skew)];
  type Machine = typeof a;
  /** A ping leaves, and comes after a while. */
  const ping = (from: Machine, to: Machine, ms: number): void => {
    const body = new DataView(new ArrayBuffer(pingBodyBytes));
    from.offset.write(body, from.moment());
    time += ms;
    to.offset.read(body, to.moment());
  };
  const wait = (ms: number): void => {
    time += ms;
  };
  const set = (ms: number): void => {
    skew = ms;
  };
  return { a, b, ping, wait, set };
}

test("the difference is told within half of the time that pings were under way, whatever that is", () => {
  const ms = (max: number) => fc.integer({ min: 0, max });
  const rounds = fc.array(fc.tuple(ms(400), ms(2000), ms(400), ms(2000)), { minLength: 2, maxLength: 12 });
  fc.assert(
    fc.property(fc.integer({ min: -4_000_000, max: 4_000_000 }), rounds, (skew, all) => {
      const { a, b, ping, wait } = pair(skew);
      for (const [there, held, back, pause] of all) {
        ping(a, b, there);
        wait(held);
        ping(b, a, back);
        wait(pause);
        const { aheadMs, withinMs } = a.offset.difference!;
        expect(Math.abs(aheadMs - skew)).toBeLessThanOrEqual(withinMs);
        expect(withinMs).toBeLessThanOrEqual(400);
      }
      const { aheadMs, withinMs } = b.offset.difference!;
      expect(Math.abs(aheadMs + skew)).toBeLessThanOrEqual(withinMs);
    }),
  );
});

test("the quickest of the last pings counts; a clock that is set is noticed at once", () => {
  const { a, b, ping, wait, set } = pair(5_000);
  const round = (ms: number): void => {
    ping(a, b, ms);
    ping(b, a, ms);
  };
  ping(b, a, 10);
  expect(a.offset.difference).toBeUndefined();
  round(1);
  expect(a.offset.difference).toMatchObject({ aheadMs: 5_000, withinMs: 1 });
  round(300);
  expect(a.offset.difference?.withinMs).toBe(1);
  wait(clockSampleMs);
  round(300);
  expect(a.offset.difference?.withinMs).toBe(300);
  round(1);
  set(0);
  round(300);
  expect(a.offset.difference).toMatchObject({ aheadMs: 0, withinMs: 300 });
});

test("a ping of an earlier broker has no body; one that makes no sense tells nothing", () => {
  const { a, b, ping } = pair(0);
  ping(a, b, 1);
  ping(b, a, 1);
  const before = a.offset.difference;
  const bytes = fc.uint8Array({ minLength: 0, maxLength: pingBodyBytes });
  fc.assert(
    fc.property(fc.oneof(bytes, fc.constant(new Uint8Array(pingBodyBytes).fill(0xff))), (body) => {
      const strange = new ClockOffset();
      strange.read(new DataView(body.buffer, body.byteOffset, body.length), { now: 1, wall: 1 });
      const { aheadMs = 0, withinMs = 0 } = strange.difference ?? {};
      expect([Number.isNaN(aheadMs), withinMs >= 0 && withinMs <= 1]).toEqual([false, true]);
    }),
  );
  a.offset.read(new DataView(new ArrayBuffer(0)), a.moment());
  expect(a.offset.difference).toBe(before);
});

test("the operator is told of clocks that differ for sure: once, again after a while, and when it is over", () => {
  let now = 0;
  const lines: (readonly [string, Record<string, unknown>])[] = [];
  const log = {
    warn: (facts: object, text: string) => void lines.push([text, { ...facts }]),
    info: (facts: object, text: string) => void lines.push([text, { ...facts }]),
  };
  const machineClock = { now: () => now, wall: () => now + 7_000 };
  const storeTime = { wall: 0, from: 0, to: 0 };
  const watch = new ClockWatch({ log, machineClock, coordinator: { storeTime } } as never);
  const apart = { aheadMs: -clocksApartMs - 50, withinMs: 20 };
  watch.look("b", undefined);
  watch.look("b", { aheadMs: -clocksApartMs - 50, withinMs: 60 });
  expect(lines).toEqual([]);
  watch.look("b", apart);
  expect(lines.splice(0)).toEqual([
    [expect.stringContaining("chronyc"), { peer: "b", peerAheadMs: -1050, withinMs: 20, aheadOfZooKeeperMs: 7000 }],
  ]);
  now += clockReportMs - 1;
  watch.look("b", apart);
  expect(lines).toEqual([]);
  now++;
  watch.look("b", apart);
  expect(lines.splice(0).length).toBe(1);
  watch.look("b", { aheadMs: 0, withinMs: 1 });
  watch.look("b", { aheadMs: 0, withinMs: 1 });
  expect(lines.map(([text]) => text)).toEqual([expect.stringContaining("agree again")]);
});
