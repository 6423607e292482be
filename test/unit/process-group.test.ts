/** Programs that the tests start end in time, with all that they have started. */
import { expect, test } from "bun:test";
import { exitedWithin, spawnGroup } from "../support/process-group.ts";

const options = { cwd: import.meta.dir, stdin: "ignore", stdout: "pipe", stderr: "ignore" } as const;

test("one that does not end is ended at its limit, and so is what it has started", async () => {
  const child = spawnGroup(["sh", "-c", "sleep 600 & echo started; wait"], options);
  const output = child.stdout.getReader();
  expect(new TextDecoder().decode((await output.read()).value)).toBe("started\n");
  expect(await exitedWithin(child, 1)).toBe("hung");
  expect(child.signalCode).toBe("SIGKILL");
  // `sleep` has the pipe open for as long as it lives.
  expect((await output.read()).done).toBe(true);
}, 20_000);

test("one that ends before its limit has said how", async () => {
  expect(await exitedWithin(spawnGroup(["sh", "-c", "exit 3"], options), 60_000)).toBe(3);
});
