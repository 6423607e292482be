/** Answers that go on: they beat while nothing is sent, and end in words, once, whatever ends them. */
import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { streamBeatMs, streamBytesMax, streamMs } from "../../src/base/api-limits.ts";
import { bodyOfStream } from "../../src/net/http-stream.ts";

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** Opens an answer; `ends` counts how often its end was told. */
function open() {
  const given = { send: (_: string): void => {}, ends: 0 };
  const body = bodyOfStream({
    open: (send) => {
      given.send = send;
      return () => void given.ends++;
    },
    beat: ".",
    last: (why) => `(${why})`,
  });
  const reader = body.getReader();
  const read = async (): Promise<string | undefined> => {
    const { done, value } = await reader.read();
    return done ? undefined : Buffer.from(value!).toString("utf8");
  };
  return { given, reader, read };
}

test("it beats while nothing else is sent, and ends when its time is over", async () => {
  const { given, read } = open();
  given.send("a");
  expect([await read(), await read()]).toEqual([".", "a"]);
  jest.advanceTimersByTime(streamBeatMs);
  expect(await read()).toBe(".");
  jest.advanceTimersByTime(streamMs);
  given.send("b");
  expect(given.ends).toBe(1);
  let last: string | undefined;
  for (let text = await read(); text !== undefined; text = await read()) last = text;
  expect(last).toBe("(its time is over: ask again)");
});

test("what nobody takes is bounded: then it ends, and the last text says why", async () => {
  const { given, read } = open();
  const text = "x".repeat(1000);
  for (let sent = 0; sent < 2 * streamBytesMax; sent += text.length) given.send(text);
  expect(given.ends).toBe(1);
  let [all, last] = ["", ""];
  for (let next = await read(); next !== undefined; next = await read()) [all, last] = [all + next, next];
  expect(last).toStartWith("(the reader is too slow");
  expect(all.length).toBeLessThanOrEqual(streamBytesMax + last.length);
});

test("a reader that goes ends it, and nothing beats any more", async () => {
  const { given, reader } = open();
  await reader.cancel();
  expect(given.ends).toBe(1);
  jest.advanceTimersByTime(2 * streamMs);
  given.send("late");
  expect(given.ends).toBe(1);
});
