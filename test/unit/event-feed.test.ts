/** The events that a broker keeps for others: told once, bounded, and not kept when nobody asks. */
import { expect, test } from "bun:test";
import { EventFeed, type FedEvents } from "../../src/api/event-feed.ts";
import type { Reading } from "../../src/api/ports.ts";
import type { EventRow } from "../../src/api/rows.ts";
import { feedBatchMs, feedBytesMax, feedEventsMax, feedKeptMs, feedWaitMs } from "../../src/base/api-limits.ts";

/** A feed, the time, and the broker that it watches. */
function make() {
  const timers: { at: number; go: () => void }[] = [];
  const watchers = new Set<(event: EventRow) => void>();
  let now = 0;
  const later = (ms: number, go: () => void): (() => void) => {
    const timer = { at: now + ms, go };
    timers.push(timer);
    return () => {
      timer.at = Infinity;
    };
  };
  const watch = (told: (event: EventRow) => void): (() => void) => {
    watchers.add(told);
    return () => void watchers.delete(told);
  };
  const feed = new EventFeed({ watch } as unknown as Reading, later);
  return {
    watchers,
    happen(client_id: string): void {
      const rest = { broker: "b", at: "", user: null, address: null, reason: null };
      for (const told of watchers) told({ kind: "connected", client_id, ...rest });
    },
    pass(ms: number): void {
      now += ms;
      for (const timer of timers.splice(0))
        if (timer.at <= now) timer.go();
        else timers.push(timer);
    },
    poll(after?: string): { fed?: FedEvents } {
      const answer: { fed?: FedEvents } = {};
      feed.poll(after, (fed) => {
        answer.fed = fed;
      });
      return answer;
    },
  };
}

const idsOf = ({ fed }: { fed?: FedEvents }): unknown[] | undefined => fed?.events.map(({ client_id }) => client_id);

test("each event is told once, in order, as soon as it happens; what comes together is told together", () => {
  const { watchers, happen, pass, poll } = make();
  expect(watchers.size).toBe(0);
  const first = poll();
  expect(first.fed).toMatchObject({ events: [], gap: false });
  const second = poll(first.fed!.next);
  for (const id of ["1", "2"]) happen(id);
  expect(second.fed).toBeUndefined();
  pass(feedBatchMs);
  expect(idsOf(second)).toEqual(["1", "2"]);
  happen("3");
  const third = poll(second.fed!.next);
  expect(idsOf(third)).toEqual(["3"]);
  const silent = poll(third.fed!.next);
  pass(feedWaitMs);
  expect(silent.fed).toEqual({ events: [], next: third.fed!.next, gap: false });
  // Two ask at once, from places of their own.
  const [early, late] = [poll(first.fed!.next), poll(third.fed!.next)];
  expect(idsOf(early)).toEqual(["1", "2", "3"]);
  happen("4");
  pass(feedBatchMs);
  expect(idsOf(late)).toEqual(["4"]);
});

test("no more than so many are kept, and so many bytes; whoever was too slow is told of the gap", () => {
  const { happen, poll } = make();
  const { next } = poll().fed!;
  for (let at = 0; at < feedEventsMax + 3; at++) happen(String(at));
  const fed = poll(next);
  expect([idsOf(fed)!.length, idsOf(fed)![0], fed.fed!.gap]).toEqual([feedEventsMax, "3", true]);
  const place = fed.fed!.next;
  for (let at = 0; at < 10; at++) happen("x".repeat(feedBytesMax / 5));
  const large = poll(place);
  expect([idsOf(large)!.length, large.fed!.gap]).toEqual([4, true]);
});

test("when nobody asks any more it is not watched; a place of before says nothing", () => {
  const { watchers, happen, pass, poll } = make();
  const { next } = poll().fed!;
  pass(feedKeptMs - 1);
  expect(watchers.size).toBe(1);
  poll(next);
  pass(feedKeptMs - 1);
  expect(watchers.size).toBe(1);
  pass(1);
  expect(watchers.size).toBe(0);
  happen("unseen");
  for (const place of [next, "x", "1.-1", "1.5e9", "99.0"])
    expect(poll(place).fed).toMatchObject({ events: [], gap: true });
  expect(poll().fed).toMatchObject({ events: [], gap: false });
});
