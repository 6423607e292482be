/** Waiting that ends: whatever the order of what happens, whoever waits hears of one thing, and nothing is unheard. */
import { expect, test } from "bun:test";
import { defer, within } from "../../src/client/deadlines.ts";

test("what is waited for may fail after the wait has been given up, or before: that is heard, and ends no process", async () => {
  const unheard: unknown[] = [];
  const note = (error: unknown): void => void unheard.push(error);
  process.on("unhandledRejection", note);
  try {
    for (const isAbortedBefore of [true, false]) {
      const gone = new AbortController();
      const { promise, reject } = defer<never>();
      if (isAbortedBefore) gone.abort("given up");
      const waiting = within(promise, { ms: 60_000, signal: gone.signal }).catch((reason: unknown) => reason);
      gone.abort("given up");
      reject(new Error("too late"));
      expect(await waiting).toBe("given up");
    }
    await new Promise(setImmediate);
    expect(unheard).toEqual([]);
  } finally {
    process.off("unhandledRejection", note);
  }
});
