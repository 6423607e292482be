/** Output to many connections at once: in several turns of the event loop, and as it was meant. */
import { expect, test } from "bun:test";
import { outputBytesLow, sliceMs } from "../../src/base/limits.ts";
import type { Transport } from "../../src/net/transport.ts";
import { Turn, Writer } from "../../src/net/writer.ts";

/** Connections whose writes take a tenth of a millisecond each, and the turns that they ask for. */
function world(count: number) {
  const clock = { at: 0, now: () => clock.at };
  const turns: (() => void)[] = [];
  const turn = new Turn((flush) => turns.push(flush), Infinity, clock);
  const written: string[] = Array(count).fill("");
  const writers = written.map((_, index) => {
    const write = (bytes: Uint8Array, start: number, end: number): number => {
      clock.at += 0.1;
      written[index] += Buffer.from(bytes.subarray(start, end)).toString();
      return end - start;
    };
    return new Writer({ write } as unknown as Transport, turn);
  });
  /** Runs the turns that were asked for; returns how long each lasted. */
  const pass = (): number[] => {
    const lasted: number[] = [];
    for (let next = turns.shift(); next !== undefined; next = turns.shift()) {
      const startedAt = clock.at;
      next();
      lasted.push(clock.at - startedAt);
    }
    return lasted;
  };
  return { clock, turn, writers, written, pass };
}

test("a message to thousands is written in turns, each as long as a slice, and to everybody once", () => {
  const { clock, turn, writers, written, pass } = world(1000);
  // It is lent for the turn: what is written later must not be what has come meanwhile.
  const chunk = new Uint8Array(Buffer.from("a".repeat(2000)));
  turn.begin();
  for (const writer of writers) writer.append(chunk, 0, chunk.length);
  turn.end();
  chunk.fill("x".charCodeAt(0));
  expect(clock.at).toBeLessThan(2 * sliceMs);
  const late = writers.at(-1)!;
  expect(late.unsent).toBe(2000);
  late.append(new Uint8Array(Buffer.from("b")), 0, 1);
  const lasted = pass();
  expect(lasted.length).toBeGreaterThan(4);
  expect(Math.max(...lasted)).toBeLessThan(2 * sliceMs);
  expect(written.slice(0, -1)).toEqual(Array(999).fill("a".repeat(2000)));
  expect(written.at(-1)).toBe(`${"a".repeat(2000)}b`);
});

test("output to a few is written at once", () => {
  const { turn, writers, written } = world(10);
  turn.begin();
  for (const writer of writers) writer.append(new Uint8Array(Buffer.from("a")), 0, 1);
  turn.end();
  expect(written).toEqual(Array(10).fill("a"));
});

/** A writer whose kernel takes as many bytes as it has room for. */
function narrow(room: number) {
  const turns: (() => void)[] = [];
  const kernel = { room, relieved: 0 };
  const write = (_: Uint8Array, start: number, end: number): number => {
    const taken = Math.min(end - start, kernel.room);
    kernel.room -= taken;
    return taken;
  };
  const turn = new Turn((go) => turns.push(go));
  const writer = new Writer({ write } as unknown as Transport, turn, () => kernel.relieved++);
  const pass = (): void => {
    for (let next = turns.shift(); next !== undefined; next = turns.shift()) next();
  };
  return { kernel, writer, pass };
}

const large = new Uint8Array(outputBytesLow);

test("who has found an output full is told when all of it is taken at once, in a later turn and once", () => {
  const { kernel, writer, pass } = narrow(Infinity);
  writer.lend(large, 0, large.length);
  writer.flush();
  expect([writer.unsent, kernel.relieved]).toEqual([0, 0]);
  pass();
  expect(kernel.relieved).toBe(1);
  writer.append(large, 0, large.length - 1);
  pass();
  expect(kernel.relieved).toBe(1);
});

test("... also when it was more than what is written in one turn", () => {
  const { kernel, writer, pass } = narrow(Infinity);
  for (let count = 0; count < 20; count++) writer.lend(large, 0, large.length);
  writer.flush();
  expect(writer.unsent).toBeGreaterThan(0);
  pass();
  expect([writer.unsent, kernel.relieved]).toEqual([0, 1]);
});

test("... but by the transport alone where the kernel was full in between, and not once it is closed", () => {
  const { kernel, writer, pass } = narrow(1000);
  writer.lend(large, 0, large.length);
  pass();
  kernel.room = Infinity;
  writer.drained();
  pass();
  expect([writer.unsent, kernel.relieved]).toEqual([0, 0]);
  writer.lend(large, 0, large.length);
  writer.flush();
  writer.close();
  pass();
  expect(kernel.relieved).toBe(0);
});

test("large messages to many leave a few megabytes a turn, and each reader has its turn", () => {
  const turns: (() => void)[] = [];
  const turn = new Turn((go) => turns.push(go));
  const taken = [0, 0, 0];
  const writers = taken.map((_, index) => {
    const write = (_: Uint8Array, start: number, end: number): number => {
      taken[index]! += end - start;
      return end - start;
    };
    return new Writer({ write } as unknown as Transport, turn);
  });
  const message = new Uint8Array(8 * 1024 * 1024);
  const all = (): number => taken.reduce((sum, bytes) => sum + bytes);
  for (const writer of writers) for (const _ of [1, 2, 3, 4, 5]) writer.lend(message, 0, message.length);
  let longest = 0;
  const waits = [0, 0, 0];
  while (turns.length > 0) {
    const before = [...taken];
    const sum = all();
    turns.shift()!();
    if (all() === sum) continue;
    longest = Math.max(longest, all() - sum);
    for (const index of [0, 1, 2]) {
      const isDone = writers[index]!.unsent === 0;
      waits[index] = isDone || taken[index] !== before[index] ? 0 : waits[index]! + 1;
      expect(waits[index]).toBeLessThan(3);
    }
  }
  expect(taken).toEqual([5, 5, 5].map((times) => times * message.length));
  expect(longest).toBeLessThanOrEqual(5 * 1024 * 1024);
});
