/** What the journal owes to those who wait, and to what came later, while some of its units are parked. */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { Journal } from "../../src/mail/journal.ts";
import type { Outcome } from "../../src/mail/operations.ts";
import { World } from "../simulation/world.ts";

/** A branch that is not there: units that check it are parked until it is. */
async function makeParked() {
  const world = new World(1);
  const store = world.keeper.connect();
  const journal = new Journal(store, world);
  const guard = { kind: "check", path: "/branch", version: () => -1, mayWait: true } as const;
  const open = (): void =>
    store.write([{ kind: "create", path: "/branch", data: encodeUtf8(""), mode: "persistent" }], () =>
      journal.unpark(),
    );
  return { world, journal, guard, open };
}

test("who waits for everything waits for what is parked, and no longer, though later units have ended before", async () => {
  const { world, journal, guard, open } = await makeParked();
  const told: string[] = [];
  journal.commit([guard, { kind: "put", path: "/parked", data: encodeUtf8("x"), exists: false }], () =>
    told.push("parked"),
  );
  journal.commit([{ kind: "put", path: "/later", data: encodeUtf8("x"), exists: false }], () => told.push("later"));
  await world.pass(100);
  journal.settled(() => told.push("settled"));
  journal.commit([{ kind: "put", path: "/last", data: encodeUtf8("x"), exists: false }], () => told.push("last"));
  await world.pass(100);
  expect(told).toEqual(["later", "last"]);
  open();
  await world.pass(100);
  expect(told).toEqual(["later", "last", "parked", "settled"]);
});

test("what was parked and is overtaken is not written", async () => {
  const { world, journal, guard, open } = await makeParked();
  const outcomes: [string, Outcome][] = [];
  let isCleared = false;
  const set = {
    kind: "put",
    path: "/message",
    data: encodeUtf8("x"),
    exists: false,
    isCurrent: () => !isCleared,
    after: (how: Outcome) => outcomes.push(["set", how]),
  } as const;
  journal.commit([guard, set]);
  await world.pass(100);
  isCleared = true;
  journal.commit([{ kind: "remove", path: "/message", after: (how: Outcome) => outcomes.push(["clear", how]) }]);
  await world.pass(100);
  open();
  await world.pass(100);
  expect(outcomes).toEqual([
    ["clear", "doubted"],
    ["set", "overtaken"],
  ]);
  expect(world.keeper.tree.nodes.has("/message")).toBe(false);
});
