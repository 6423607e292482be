/** How full mailboxes are: which are looked at, and what is told of them. */
import { describe, expect, test } from "bun:test";
import { MailboxGauge } from "../../../src/broker/delivery/mailbox-gauge.ts";
import { room } from "../../support/room.ts";

const maxQueued = 10;

describe("how full a mailbox is", () => {
  function gauge() {
    const made = room({ maxQueued });
    const looked: string[] = [];
    const { numbers } = made.context.slips;
    const one = new MailboxGauge(made.context, { numbers, look: (clientId) => void looked.push(clientId) });
    return { ...made, gauge: one, looked };
  }

  test("is looked at from 80 % on, until that is known, and whenever it is full", () => {
    const { gauge: one, looked } = gauge();
    one.filled("c", 7);
    expect(looked).toEqual([]);
    one.filled("c", 8);
    expect(looked).toEqual(["c"]);
    one.counted("c", 8, "");
    one.filled("c", 9);
    expect(looked).toEqual(["c"]);
    one.filled("c", 10);
    expect(looked).toEqual(["c", "c"]);
  });

  test("is told once, with client and user, until it has fallen to 60 %", () => {
    const { context, gauge: one, lines } = gauge();
    for (const count of [7, 8, 9, 7, 8, 10]) one.counted("c", count, "alice");
    expect(lines).toEqual([
      {
        level: "warn",
        facts: { client: "c", user: "alice", messages: 8, maximum: maxQueued },
        text: "a mailbox is nearly full",
      },
    ]);
    expect([context.metrics.mailboxesHigh, [...one.high]]).toEqual([1, ["c"]]);
    one.counted("c", 6, "alice");
    expect(context.metrics.mailboxesHigh).toBe(0);
    one.counted("c", 8, "alice");
    expect(lines.length).toBe(2);
    one.forget("c");
    expect(context.metrics.mailboxesHigh).toBe(0);
  });
});
