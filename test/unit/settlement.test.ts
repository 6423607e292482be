/** Settlement: what a publish has set aside is free again when all of its receivers are taken care of. */
import { expect, test } from "bun:test";
import { noBytes } from "../../src/base/bytes.ts";
import { Settlement } from "../../src/mail/settlement.ts";
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
