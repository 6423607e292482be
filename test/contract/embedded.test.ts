/** The embedded store keeps the coordinator's contract, and what it has said was committed. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { emptyLevelsSweptMax } from "../../src/base/limits.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { read } from "../../src/coordinator/mirror.ts";
import { type Reply, TreeDatabase } from "../../src/embedded/database.ts";
import { DiskSpace } from "../../src/embedded/disk-space.ts";
import { EmbeddedCoordinator } from "../../src/embedded/embedded-coordinator.ts";
import { Journal } from "../../src/mail/journal.ts";
import type { JournalOperation } from "../../src/mail/operations.ts";
import { eventually } from "../support/broker.ts";
import { removeFolder } from "../support/folder.ts";
import { coordinatorContract, type Store, write } from "./coordinator.ts";

const root = mkdtempSync(join(tmpdir(), "mqttzoo-store-"));
/** Stores to be closed before their folders go: one looks at its folder now and then. */
const opened: EmbeddedCoordinator[] = [];
afterAll(() => {
  for (const coordinator of opened) coordinator.terminate();
  removeFolder(root);
});
let folders = 0;

async function open(): Promise<Store> {
  const folder = join(root, String(++folders));
  let last: EmbeddedCoordinator | undefined;
  return {
    async connect() {
      last = await EmbeddedCoordinator.open(folder);
      opened.push(last);
      return last;
    },
    // The lock goes with the process; in this process it goes with the worker.
    async crash() {
      last!.terminate();
      for (let tries = 0; ; tries++) {
        try {
          return new TreeDatabase(folder).close();
        } catch (error) {
          if (tries > 200) throw error;
          await Bun.sleep(10);
        }
      }
    },
  };
}

coordinatorContract("embedded store", open);

test("the reserve is there before anything is promised", async () => {
  const folder = join(root, "reserve");
  const coordinator = await EmbeddedCoordinator.open(folder);
  opened.push(coordinator);
  await write(coordinator, { kind: "create", path: "/first", data: noBytes, mode: "persistent" });
  expect(statSync(join(folder, "tree.reserve")).size).toBeGreaterThanOrEqual(new DiskSpace(folder).target);
});

test("a folder is for one broker", async () => {
  const folder = join(root, "taken");
  const first = await EmbeddedCoordinator.open(folder);
  await expect(EmbeddedCoordinator.open(folder)).rejects.toThrow(
    /in use by another broker; choose another with --data/,
  );
  await new Promise<void>((resolve) => first.close(resolve));
});

test("a folder that cannot be used is named", async () => {
  writeFileSync(join(root, "file"), "");
  await expect(EmbeddedCoordinator.open(join(root, "file"))).rejects.toThrow(/cannot use the data folder .*file/);
});

test("empty containers go, others stay", () => {
  const database = new TreeDatabase(join(root, "containers"));
  const create = (path: string, mode: "container" | "persistent") =>
    ({ kind: "create", path, data: noBytes, mode }) as const;
  database.run([
    {
      kind: "write",
      canBeRepaired: false,
      operations: [
        create("/c", "container"),
        create("/c/d", "container"),
        create("/c/d/x", "persistent"),
        create("/p", "persistent"),
        create("/p/x", "persistent"),
        create("/new", "container"),
      ],
    },
  ]);
  expect(database.sweepContainers(10)).toEqual([]);
  database.run([
    {
      kind: "write",
      canBeRepaired: false,
      operations: [
        { kind: "delete", path: "/c/d/x", version: -1 },
        { kind: "delete", path: "/p/x", version: -1 },
      ],
    },
  ]);
  expect(database.sweepContainers(10)).toEqual([]);
  database.ageContainers();
  expect(database.sweepContainers(10)).toEqual(["/c/d", "/c"]);
  expect(database.mustSweep).toBe(false);
  expect(
    database.run([
      {
        kind: "read",
        operations: [
          { kind: "exists", path: "/p" },
          { kind: "exists", path: "/new" },
        ],
      },
    ]),
  ).toMatchObject([{ results: [{ stat: {} }, { stat: {} }] }]);
  database.close();
});

async function childCount(coordinator: EmbeddedCoordinator, path: string): Promise<number> {
  const [result] = await read(coordinator, [{ kind: "exists", path }]);
  return typeof result === "object" && "stat" in result ? result.stat.childCount : 0;
}

/** Makes levels with a topic each, and removes the topics. */
async function emptyLevels(coordinator: EmbeddedCoordinator, count: number): Promise<void> {
  const paths = Array.from({ length: count }, (_, index) => `/t/${index}`);
  await write(coordinator, { kind: "create", path: "/t", data: noBytes, mode: "persistent" });
  const create = (path: string, mode: "container" | "persistent") =>
    ({ kind: "create", path, data: noBytes, mode }) as const;
  await Promise.all(
    paths.map((path) => write(coordinator, create(path, "container"), create(`${path}/x`, "persistent"))),
  );
  await Promise.all(paths.map((path) => write(coordinator, { kind: "delete", path: `${path}/x`, version: -1 })));
}

test("45,000 levels that become empty go a few at a time, and what is written meanwhile does not wait for them", async () => {
  const coordinator = await EmbeddedCoordinator.open(join(root, "emptied"));
  const count = 45_000;
  await emptyLevels(coordinator, count);
  let slices = 0;
  for (let left = count; left > 0; await Bun.sleep(1)) {
    await write(coordinator, { kind: "set", path: "/t", data: noBytes, version: -1 });
    const still = await childCount(coordinator, "/t");
    if (still < left) slices++;
    left = still;
  }
  // Whoever wrote came between them again and again.
  expect(slices).toBeGreaterThan(count / emptyLevelsSweptMax / 4);
  await new Promise<void>((resolve) => coordinator.close(resolve));
}, 120_000);

test("the store makes the levels above what the journal creates, and removes them when they are empty", async () => {
  const coordinator = await EmbeddedCoordinator.open(join(root, "swept"));
  const journal = new Journal(coordinator, systemClock);
  const committed = (operation: JournalOperation): Promise<void> =>
    new Promise((done) => journal.commit([operation], () => done()));
  const path = "/topics/a/b/=1";
  for (let round = 0; round < 2; round++) {
    await committed({ kind: "create", path, data: noBytes, mode: "persistent" });
    expect(await childCount(coordinator, "/topics/a/b")).toBe(1);
    await committed({ kind: "remove", path });
    await eventually(async () => (await childCount(coordinator, "/topics")) === 0, "its levels are gone", 60_000);
  }
  expect(journal.repairs).toBe(0);
  await new Promise<void>((resolve) => coordinator.close(resolve));
}, 120_000);

test("levels that were empty when an earlier life ended go, those with something below them stay", () => {
  const folder = join(root, "left");
  const create = (path: string, mode: "container" | "persistent") =>
    ({ kind: "create", path, data: noBytes, mode }) as const;
  const earlier = new TreeDatabase(folder);
  const left = Array.from({ length: 25 }, (_, index) => create(`/left${index}`, "container"));
  const operations = [...left, create("/kept", "container"), create("/kept/x", "persistent")];
  earlier.run([{ kind: "write", canBeRepaired: false, operations }]);
  earlier.close();
  const database = new TreeDatabase(folder);
  const removed: string[] = [];
  for (let tries = 0; database.mustSweep && tries < 100; tries++) removed.push(...database.sweepContainers(10));
  expect(removed.sort()).toEqual(left.map(({ path }) => path).sort());
  database.close();
});

test("submissions that wait go into one transaction together", async () => {
  const folder = join(root, "group");
  const coordinator = await EmbeddedCoordinator.open(folder);
  await write(coordinator, { kind: "create", path: "/g", data: noBytes, mode: "persistent" });
  const count = 5000;
  // The answers of one transaction come in one turn of the event loop.
  let turns = 0;
  let isTurn = false;
  const note = (): void => {
    if (isTurn) return;
    isTurn = true;
    turns++;
    setImmediate(() => {
      isTurn = false;
    });
  };
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      write(coordinator, { kind: "create", path: `/g/${index}`, data: noBytes, mode: "persistent" }).then(note),
    ),
  );
  expect(turns).toBeLessThan(10);
  await new Promise<void>((resolve) => coordinator.close(resolve));
});

test("transactions of more than the two threads share memory for come and go as small ones do", async () => {
  const coordinator = await EmbeddedCoordinator.open(join(root, "blocks"));
  opened.push(coordinator);
  // The first and the last lie in shared memory, the others on both sides of its size.
  const sizes = [10, 500_000, 700_000, 530_000, 520_000, 10];
  for (const [at, size] of sizes.entries()) {
    const data = new Uint8Array(size).fill(at + 1);
    await write(coordinator, { kind: "create", path: `/block-${at}`, data, mode: "persistent" });
  }
  const results = await Promise.all(sizes.map((_, at) => read(coordinator, [{ kind: "get", path: `/block-${at}` }])));
  const found = results.map(([one]) => (typeof one === "object" && "data" in one ? one.data : noBytes));
  // So that no byte of one is another's.
  expect(found.map((data) => [data.length, ...new Set(data)])).toEqual(sizes.map((size, at) => [size, at + 1]));
});

test("a tool that locks the store for a while is waited for, longer than SQLite itself would wait", async () => {
  const folder = join(root, "locked");
  const coordinator = await EmbeddedCoordinator.open(folder);
  const troubles: string[] = [];
  coordinator.onState((state, why) => troubles.push(`${state} ${why ?? ""}`));
  const tool = new Database(join(folder, "tree.db"));
  tool.exec("BEGIN IMMEDIATE");
  const written = write(coordinator, { kind: "create", path: "/a", data: noBytes, mode: "persistent" });
  await eventually(() => troubles.length > 0, "it is said that the store cannot write");
  expect(troubles[0]).toMatch(/SUSPENDED .*locked/);
  tool.exec("ROLLBACK");
  tool.close();
  await written;
  expect(troubles.at(-1)).toStartWith("CONNECTED");
  await new Promise<void>((done) => coordinator.close(done));
}, 120_000);

function run(database: TreeDatabase, ...operations: WriteOperation[]): Reply {
  return database.run([{ kind: "write", canBeRepaired: false, operations }])[0]!;
}

const make = (path: string): WriteOperation => ({
  kind: "create",
  path,
  data: encodeUtf8(path),
  mode: "persistent",
  withLevels: true,
});
const existing = (database: TreeDatabase, paths: readonly string[]): string[] =>
  paths.filter((path) => {
    const [reply] = database.run([{ kind: "read", operations: [{ kind: "exists", path }] }]);
    return reply?.kind === "read" && typeof reply.results[0] === "object";
  });

test("levels are made in one commit with what stands below them, and not where that is refused", () => {
  const database = new TreeDatabase(join(root, "levels"));
  expect(run(database, make("/t/a/b/c"), make("/t/a/d"))).toMatchObject({ kind: "written" });
  const refused = run(database, make("/t/e/f"), { kind: "check", path: "/t/none", version: -1 });
  expect(refused).toMatchObject({ kind: "failed", code: "NoNode", index: 1 });
  expect(run(database, make("/t/g//h"))).toMatchObject({ kind: "failed" });
  const brief = { kind: "create", path: "/brief", data: noBytes, mode: "ephemeral" } as const;
  expect(run(database, brief)).toMatchObject({ kind: "written" });
  expect(run(database, make("/brief/a/b"))).toMatchObject({ code: "NoChildrenForEphemerals" });
  expect(existing(database, ["/t/a/b/c", "/t/a/d", "/t/e", "/t/g", "/brief/a"])).toEqual(["/t/a/b/c", "/t/a/d"]);
  // What was undone is not counted on.
  expect(run(database, { ...make("/t/e/f"), withLevels: false } as WriteOperation)).toMatchObject({ code: "NoNode" });
  expect(run(database, make("/t/e/f"))).toMatchObject({ kind: "written" });
  database.close();
});

test("of a transaction's submissions one that is refused leaves nothing behind, wherever it fails; the others stand", () => {
  const database = new TreeDatabase(join(root, "undone"));
  const child: WriteOperation = { kind: "create", path: "/s/", data: noBytes, mode: "sequential" };
  run(database, make("/s"));
  const before = run(database, make("/kept"));
  // The first such transaction is run without savepoints and then with them; those after it with them; then without.
  for (let round = 0; round < 80; round++) {
    const at = (name: string): string => `/r${round}/${name}`;
    const requests: readonly (readonly WriteOperation[])[] = [
      [make(at("a")), child],
      [make(at("b/c")), child, { kind: "set", path: "/kept", data: noBytes, version: 99 }],
      [{ kind: "set", path: "/kept", data: encodeUtf8(at("")), version: round }],
      [make(at("d")), make("/kept")],
      [{ kind: "check", path: at("b/c"), version: 0 }, make(at("e"))],
      [child],
    ];
    const refused = round % 20 !== 19;
    const asked = refused ? requests : requests.filter((_, index) => [0, 2, 5].includes(index));
    const replies = database.run(asked.map((operations) => ({ kind: "write", operations, canBeRepaired: false })));
    const found = replies.map((reply) => (reply.kind === "failed" ? `${reply.code} ${reply.index}` : reply.kind));
    const stand = ["written", "written", "written"];
    expect(found).toEqual(
      refused ? ["written", "BadVersion 2", "written", "NodeExists 1", "NoNode 0", "written"] : stand,
    );
    const paths = ["a", "b", "b/c", "d", "e"].map(at);
    expect(existing(database, [`/r${round}`, ...paths])).toEqual([`/r${round}`, at("a")]);
  }
  const [reply] = database.run([{ kind: "read", operations: [{ kind: "children", path: "/s" }] }]);
  const names = reply?.kind === "read" && typeof reply.results[0] === "object" ? reply.results[0] : undefined;
  expect(names).toMatchObject({ children: { length: 160 } });
  const after = run(database, make("/last"));
  const zxidOf = (written: Reply): number => (written.kind === "written" ? written.zxid : -1);
  // Each submission has its number, refused or not, and once only.
  expect(zxidOf(after) - zxidOf(before)).toBe(76 * 6 + 4 * 3 + 1);
  database.close();
  // All that it says of itself is right.
  new TreeDatabase(join(root, "undone")).close();
});

test("a check goes by the version that stands there, whatever was set, removed or undone since the last one", () => {
  const database = new TreeDatabase(join(root, "checks"));
  const check = (version: number): WriteOperation => ({ kind: "check", path: "/c", version });
  const set: WriteOperation = { kind: "set", path: "/c", data: noBytes, version: -1 };
  run(database, make("/c"));
  expect(run(database, check(0))).toMatchObject({ kind: "written" });
  expect(run(database, set)).toMatchObject({ results: [{ version: 1 }] });
  expect(run(database, check(0))).toMatchObject({ code: "BadVersion" });
  expect(run(database, check(1), set, check(2), check(1))).toMatchObject({ code: "BadVersion", index: 3 });
  expect(run(database, check(1))).toMatchObject({ kind: "written" });
  expect(run(database, { kind: "delete", path: "/c", version: -1 })).toMatchObject({ kind: "written" });
  expect(run(database, check(-1))).toMatchObject({ code: "NoNode" });
  database.close();
});

test("levels of retained messages go when nothing is left below them, but not one that holds a message", () => {
  const database = new TreeDatabase(join(root, "retained-levels"));
  const gone = (path: string): WriteOperation => ({ kind: "delete", path, version: -1 });
  const set = (path: string, data: Uint8Array): WriteOperation => ({ kind: "set", path, data, version: -1 });
  const sweep = (): void => {
    for (let looks = 0; looks < 4; looks++) {
      database.ageContainers();
      while (database.mustSweep) database.sweepContainers(100);
    }
  };
  run(database, make("/retained/a/b/c"), make("/retained/d/e"));
  run(database, set("/retained/a", encodeUtf8("a message")));
  run(database, gone("/retained/a/b/c"), gone("/retained/d/e"));
  sweep();
  const paths = ["/retained", "/retained/a", "/retained/a/b", "/retained/d"];
  expect(existing(database, paths)).toEqual(["/retained", "/retained/a"]);
  // A message that was cleared while others stood below it leaves an empty level.
  run(database, set("/retained/a", noBytes));
  sweep();
  expect(existing(database, paths)).toEqual(["/retained"]);
  database.close();
});
