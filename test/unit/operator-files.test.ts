/** The operator's files: read again in steps, whole or not at all, and the newest wins. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Acl } from "../../src/access/acl.ts";
import { linesPerStepMax } from "../../src/base/access-limits.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { sliceShareMs } from "../../src/base/limits.ts";
import { silentLog } from "../../src/base/log.ts";
import type { Work } from "../../src/base/slices.ts";
import { OperatorFiles } from "../../src/server/operator-files.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Takes as long as a part of the event loop's time may take. */
function spendAShare(): void {
  const until = performance.now() + sliceShareMs;
  while (performance.now() < until);
}

test("a file that takes long is read again over several turns; the newest text wins, and a wrong one changes nothing", async () => {
  const path = join(folder, "rules");
  writeFileSync(path, "first");
  const files = new OperatorFiles(silentLog);
  const read: string[] = [];
  const steps: string[] = [];
  files.followInSteps([path], function* ([text]): Work {
    for (let step = 0; step < 3; step++) {
      steps.push(text!);
      spendAShare();
      yield;
    }
    if (text === "wrong") throw new OperatingError("EFILE", "line 1");
    read.push(text!);
  });
  // At the start nobody waits for anything yet.
  expect(read).toEqual(["first"]);
  writeFileSync(path, "second");
  files.reload();
  expect([read, steps.at(-1)]).toEqual([["first"], "second"]);
  writeFileSync(path, "third");
  files.reload();
  while (read.length < 2) await new Promise((resolve) => setImmediate(resolve));
  expect(read).toEqual(["first", "third"]);
  expect(steps.filter((text) => text === "second").length).toBe(1);
  writeFileSync(path, "wrong");
  files.reload();
  while (steps.filter((text) => text === "wrong").length < 3) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  expect(read).toEqual(["first", "third"]);
  files.close();
});

test("a long access list is read some lines at a time", () => {
  const lines = Array.from({ length: 10 * linesPerStepMax }, (_, at) => `user u${at}\ntopic read a/${at}`);
  const work = Acl.read(lines.join("\n"));
  let steps = 0;
  let step = work.next();
  for (; step.done !== true; step = work.next()) steps++;
  expect(steps).toBe(20);
  const permissions = step.value.permissionsOf({ username: "u700", clientId: "c" });
  expect([permissions.mayReceive("a/700"), permissions.mayReceive("a/701")]).toEqual([true, false]);
});
