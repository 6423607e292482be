/** The journal's words on its units: to those who wait, and to what came later, while some are parked or in doubt. */
import { expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { CoordinatorError } from "../../src/coordinator/coordinator.ts";
import { Journal } from "../../src/mail/journal.ts";
import type { JournalOperation, Outcome } from "../../src/mail/operations.ts";
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
  journal.drained(() => told.push("settled"));
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

test("a check that cannot be mended has its unit refused, and what waited behind it goes on", async () => {
  const world = new World(1);
  const store = world.keeper.connect();
  const journal = new Journal(store, world);
  const told: string[] = [];
  let fails: ((error: CoordinatorError) => void) | undefined;
  const hopeless: JournalOperation = {
    kind: "check",
    path: "/part",
    version: () => -1,
    mend: (done) => {
      fails = done;
    },
  };
  const put = (path: string): JournalOperation => ({ kind: "put", path, data: encodeUtf8("x"), exists: false });
  store.write([{ kind: "create", path: "/branch", data: encodeUtf8(""), mode: "persistent" }], () => {});
  const guard = { kind: "check", path: "/branch", version: () => -1, mayWait: true } as const;
  journal.commit(
    [guard, hopeless, put("/large")],
    () => {},
    ({ code }) => told.push(code),
  );
  journal.commit([guard, put("/behind")], () => told.push("behind"));
  await world.pass(100);
  expect([told, fails === undefined]).toEqual([[], false]);
  fails!(new CoordinatorError("TooLarge", "/part", 0));
  await world.pass(100);
  expect(told).toEqual(["TooLarge", "behind"]);
});

test("what changes the version that a parked unit counts on waits behind it; what changes others does not", async () => {
  const { world, journal, guard, open } = await makeParked();
  const told: string[] = [];
  const make = (path: string): JournalOperation => ({ kind: "create", path, data: noBytes, mode: "persistent" });
  const set = (path: string): JournalOperation => ({ kind: "set", path, data: noBytes, version: () => 0 });
  journal.commit([make("/session"), make("/other")]);
  await world.pass(100);
  const mine = { kind: "check", path: "/session", version: () => 0 } as const;
  const refused = ({ code, path }: CoordinatorError): void => void told.push(`${code} ${path}`);
  journal.commit([guard, mine, make("/published")], () => told.push("published"), refused);
  await world.pass(100);
  journal.commit([set("/session")], () => told.push("connected again"), refused);
  journal.commit([{ ...mine, version: () => 1 }, make("/next")], () => told.push("next"), refused);
  journal.commit([set("/other")], () => told.push("other"), refused);
  await world.pass(100);
  expect(told).toEqual(["other"]);
  open();
  await world.pass(100);
  expect(told).toEqual(["other", "published", "connected again", "next"]);
});

test("what has been committed, but is told late, is told as doubted; what others wrote since may have been told before", async () => {
  const world = new World(2);
  const store = world.keeper.connect();
  const journal = new Journal(store, world);
  const outcomes: Outcome[] = [];
  const put = (text: string): void =>
    journal.commit([
      { kind: "put", path: "/message", data: encodeUtf8(text), exists: false, after: (how) => outcomes.push(how) },
    ]);
  put("told");
  await world.pass(100);
  store.loseNextAnswer(50);
  put("lost");
  await world.pass(500);
  expect(outcomes).toEqual(["committed", "doubted"]);
});

test("who waits for what was pending does not wait for what came later and is parked", async () => {
  const { world, journal, guard } = await makeParked();
  const told: string[] = [];
  journal.commit([{ kind: "put", path: "/first", data: encodeUtf8("x"), exists: false }], () => told.push("first"));
  journal.drained(() => told.push("settled"));
  journal.commit([guard, { kind: "put", path: "/parked", data: encodeUtf8("x"), exists: false }], () =>
    told.push("parked"),
  );
  await world.pass(100);
  expect(told).toEqual(["first", "settled"]);
});

test("numbers that somebody else's nodes bear are passed over", async () => {
  const world = new World(1);
  const store = world.keeper.connect();
  const journal = new Journal(store, world);
  const names: (string | undefined)[] = [];
  const slip = (): JournalOperation => ({
    kind: "create",
    path: "/box/",
    data: noBytes,
    mode: "sequential",
    named: (name) => names.push(name),
  });
  journal.commit([slip()]);
  await world.pass(100);
  // The next numbers, whatever these nodes themselves count for.
  const taken = Array.from({ length: 12 }, (_, index) => `/box/${String(index + 13).padStart(10, "0")}`);
  for (const path of taken) store.write([{ kind: "create", path, data: noBytes, mode: "persistent" }], () => {});
  await world.pass(100);
  journal.commit([slip(), slip()]);
  await world.pass(100);
  expect(names).toHaveLength(3);
  expect(Number(names[0])).toBe(0);
  expect(Number(names[1])).toBeGreaterThanOrEqual(25);
  expect(Number(names[2])).toBeGreaterThan(Number(names[1]));
  expect(world.keeper.tree.nodes.has("/box/=skip")).toBe(false);
});

test("a unit is given up when somebody removes, as fast as it is made, what it needs", async () => {
  const world = new World(1);
  const store = world.keeper.connect();
  const told: string[] = [];
  const write = store.write.bind(store);
  // What is written below /fought is undone before it can be committed.
  store.write = (operations, done, repair) => {
    if (!operations.some(({ path }) => path.startsWith("/fought"))) return write(operations, done, repair);
    const error = new CoordinatorError("NoNode", "/fought/x", 0);
    let tries = 0;
    while (repair?.(error) !== undefined) if (++tries > 1000) throw new Error("it is never given up");
    done(error, undefined, 0);
  };
  const journal = new Journal(store, world, { obstructed: ({ path }) => told.push(`obstructed ${path}`) });
  journal.commit([{ kind: "put", path: "/fought/x", data: noBytes, exists: false }], () => told.push("done"));
  journal.commit([{ kind: "put", path: "/peace", data: noBytes, exists: false }], () => told.push("peace"));
  await world.pass(100);
  expect(told).toEqual(["obstructed /fought/x", "peace"]);
});
