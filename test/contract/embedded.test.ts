/** The embedded store keeps the coordinator's contract, and what it has said was committed. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noBytes } from "../../src/base/bytes.ts";
import { TreeDatabase } from "../../src/embedded/database.ts";
import { EmbeddedCoordinator } from "../../src/embedded/embedded-coordinator.ts";
import { eventually } from "../support/broker.ts";
import { coordinatorContract, type Store, write } from "./coordinator.ts";

const root = mkdtempSync(join(tmpdir(), "mqttzoo-store-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

async function open(): Promise<Store> {
  const folder = join(root, String(++folders));
  let last: EmbeddedCoordinator | undefined;
  return {
    async connect() {
      last = await EmbeddedCoordinator.open(folder);
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
  expect(database.sweepContainers()).toEqual([]);
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
  expect(database.sweepContainers()).toEqual(["/c/d", "/c"]);
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

test("submissions that wait go into one transaction together", async () => {
  const folder = join(root, "group");
  const coordinator = await EmbeddedCoordinator.open(folder);
  await write(coordinator, { kind: "create", path: "/g", data: noBytes, mode: "persistent" });
  const startedAt = performance.now();
  const count = 5000;
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      write(coordinator, { kind: "create", path: `/g/${index}`, data: noBytes, mode: "persistent" }),
    ),
  );
  // One sync each would take many times as long on any disk.
  expect(performance.now() - startedAt).toBeLessThan(2000);
  await new Promise<void>((resolve) => coordinator.close(resolve));
});

test("a tool that locks the store for a while is waited for, longer than SQLite itself would wait", async () => {
  const folder = join(root, "locked");
  const coordinator = await EmbeddedCoordinator.open(folder);
  const troubles: string[] = [];
  coordinator.onState((state, why) => troubles.push(`${state} ${why ?? ""}`));
  const tool = new Database(join(folder, "tree.db"));
  tool.exec("BEGIN IMMEDIATE");
  const written = write(coordinator, { kind: "create", path: "/a", data: noBytes, mode: "persistent" });
  await eventually(() => troubles.length > 0, "it is said that the store cannot write", 10_000);
  expect(troubles[0]).toMatch(/SUSPENDED .*locked/);
  tool.exec("ROLLBACK");
  tool.close();
  await written;
  expect(troubles.at(-1)).toStartWith("CONNECTED");
  await new Promise<void>((done) => coordinator.close(done));
}, 20_000);
