/** Settlement: what a publish has set aside is free again when all of its receivers are taken care of. */
import { expect, test } from "bun:test";
import { noBytes } from "../../src/base/bytes.ts";
import { slipsPerUnitMax } from "../../src/base/limits.ts";
import { Timers } from "../../src/base/timers.ts";
import type { Journal } from "../../src/mail/journal.ts";
import type { Mail } from "../../src/mail/mail.ts";
import { Settlement, Settlements } from "../../src/mail/settlement.ts";
import type { Slip, SlipDraft } from "../../src/mail/slips.ts";
import { makePublish } from "../../src/mqtt/publish.ts";

test("the credits that were set aside for a publish are free when the last receiver is taken care of, not before", () => {
  const settlement = new Settlement(makePublish(noBytes, noBytes, { qos: 1, retain: false }), 1);
  const told: string[] = [];
  settlement.payment = { take: () => 0, close: () => void told.push("free") };
  settlement.whenSettled(() => void told.push("settled"));
  for (let receiver = 0; receiver < 3; receiver++) settlement.waitFor();
  settlement.done();
  settlement.done();
  expect([settlement.isSettled, told]).toEqual([false, []]);
  settlement.done();
  // The publisher is acknowledged when its credits are free: its next publish finds them.
  expect([settlement.isSettled, told]).toEqual([true, ["free", "settled"]]);
});

test("recipients whose moment is over are stored in one turn up to a unit's worth of slips, the others in the next", () => {
  const stored: number[] = [];
  const store = (_: unknown, __: unknown, drafts: readonly SlipDraft[]): unknown => {
    stored.push(drafts.length);
    return [{ operations: [], slips: drafts.map(() => ({}) as Slip) }];
  };
  const timers = new Timers();
  const settlements = new Settlements({
    mail: { store } as unknown as Mail,
    journal: { commit: (_: unknown, done: () => void) => done() } as unknown as Journal,
    timers,
    settleAfterMs: 20,
  });
  const watched = [1, 3, slipsPerUnitMax, 2].map((count, order) => {
    const settlement = new Settlement(makePublish(noBytes, noBytes, { qos: 1, retain: false }), order);
    for (let recipient = 0; recipient < count; recipient++)
      settlement.waitFor({
        isTakenCareOf: order === 1 && recipient === 0,
        draft: () => ({}) as SlipDraft,
        stored() {},
      });
    settlements.watch(settlement, 0);
    return settlement;
  });
  // The first is settled by its clients, as is one recipient of the second.
  watched[0]!.done();
  watched[1]!.done();
  const turn = (now: number): readonly [readonly number[], readonly boolean[]] => {
    timers.tick(now, () => true);
    return [stored.splice(0), watched.map(({ isSettled }) => isSettled)];
  };
  expect(turn(19)).toEqual([[], [true, false, false, false]]);
  expect(turn(20)).toEqual([
    [2, slipsPerUnitMax - 2],
    [true, true, false, false],
  ]);
  expect(turn(20)).toEqual([
    [2, 2],
    [true, true, true, true],
  ]);
  expect(timers.nextDeadline()).toBe(Infinity);
});
