/** The watch over turns of the event loop: what it counts, and whom it names. */
import { expect, test } from "bun:test";
import { refusalsLogMs, turnLongMs, turnSampleMs } from "../../src/base/limits.ts";
import { subjectOf, TurnWatch } from "../../src/base/turn-watch.ts";

/** A clock, a processor that may be somebody else's, and the lines of the log. */
function world() {
  const clock = { at: 1000, now: () => clock.at };
  const processor = { used: 0, asked: 0 };
  const lines: { facts: Record<string, unknown>; message: string }[] = [];
  const log = { warn: (facts: Record<string, unknown>, message: string) => void lines.push({ facts, message }) };
  const cpuMs = (): number => {
    processor.asked++;
    return processor.used;
  };
  const turns = new TurnWatch({ clock, log: log as never, cpuMs });
  /** Works for a time, of which others have the processor for a part. */
  const work = (ms: number, othersMs = 0): void => {
    clock.at += ms;
    processor.used += ms - othersMs;
  };
  return { clock, processor, lines, turns, work };
}

const client = subjectOf("a client");

test("a long turn is logged with who has made it, and how much of it he had the processor for", () => {
  const { turns, lines, work } = world();
  turns.run(client, () => work(turnLongMs - 1));
  expect(lines).toEqual([]);
  turns.run(client, () => {
    // What happens within a turn belongs to it; who comes last has made it long.
    turns.run(subjectOf("another"), () => work(turnLongMs, 10));
    turns.subject = subjectOf("the last");
  });
  expect(lines.map(({ facts }) => facts)).toEqual([{ what: "the last", ms: turnLongMs, cpuMs: turnLongMs - 10 }]);
  expect(turns.takeLongestMs()).toBe(turnLongMs - 1);
  expect(turns.takeLongestMs()).toBe(0);
});

test("what others have the processor for is no turn of ours", () => {
  const { turns, work } = world();
  turns.run(client, () => work(500, 498));
  expect([turns.times.count, turns.times.sum]).toEqual([1, 2]);
});

test("lines are few, however many turns are long", () => {
  const { turns, lines, work } = world();
  for (let count = 0; count < 100; count++) turns.run(client, () => work(turnLongMs));
  const within = lines.length;
  expect(within).toBeLessThan(10);
  work(refusalsLogMs);
  turns.run(client, () => work(turnLongMs));
  expect(lines.length).toBe(within + 1);
  expect(lines.at(-1)!.message).toContain(`${100 - within} more`);
});

test("a turn that throws has ended too, and the processor's time is not asked for each short one", () => {
  const { turns, processor, work } = world();
  const fail = (): never => {
    throw new Error("our bug");
  };
  expect(() => turns.run(client, fail)).toThrow("our bug");
  for (let count = 0; count < 1000; count++) turns.run(client, () => work(turnSampleMs / 100));
  expect(turns.times.count).toBe(1001);
  expect(processor.asked).toBeLessThan(20);
});
