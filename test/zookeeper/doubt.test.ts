/**
 * Commits whose outcome is in doubt, and refusals that say nothing of the tree: each write happens once, in its order,
 * whatever comes late, and no broker takes its own past for a rival.
 */
import { afterEach, expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import type { OperatingError } from "../../src/base/errors.ts";
import type { CoordinatorState, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { commitPath } from "../../src/coordinator/paths.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { eventually } from "../support/broker.ts";
import { FakeZooKeeper } from "../support/fake-zookeeper.ts";

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

interface Stage {
  readonly keeper: FakeZooKeeper;
  readonly coordinator: ZooKeeperCoordinator;
  readonly fatal: OperatingError[];
  readonly said: { readonly state: CoordinatorState; readonly why: string | undefined }[];
}

async function stage(): Promise<Stage> {
  const keeper = new FakeZooKeeper();
  const fatal: OperatingError[] = [];
  const said: Stage["said"] = [];
  const onFatal = (error: OperatingError): void => void fatal.push(error);
  const coordinator = await ZooKeeperCoordinator.open({ connect: keeper.connect, id: "b", onFatal });
  coordinator.onState((state, why) => said.push({ state, why }));
  ends.push(() => {
    coordinator.terminate();
    keeper.stop();
  });
  return { keeper, coordinator, fatal, said };
}

/** Appends a word to what stands at `/log`: written twice, or out of order, it shows. */
function append(coordinator: ZooKeeperCoordinator, word: string): Promise<string | undefined> {
  const create: WriteOperation = { kind: "create", path: "/log/", data: encodeUtf8(word), mode: "sequential" };
  return new Promise((resolve) => coordinator.write([create], (error) => resolve(error?.code)));
}

function written({ tree }: FakeZooKeeper): string[] {
  const names = [...(tree.nodes.get("/log")?.children ?? [])].sort();
  return names.map((name) => Buffer.from(tree.nodes.get(`/log/${name}`)!.data).toString());
}

async function makeLog(coordinator: ZooKeeperCoordinator): Promise<void> {
  await new Promise((resolve) =>
    coordinator.write([{ kind: "create", path: "/log", data: noBytes, mode: "persistent" }], resolve),
  );
}

const isBump = (operations: readonly WriteOperation[]): boolean => operations.length === 1;

/** When what the first connection has sent takes effect, seen from the second one. */
const moments = [
  "before contact",
  "after contact, before the doubt is looked at",
  "after it was ended",
  "never",
] as const;

for (const moment of moments) {
  test(`a group in doubt that takes effect ${moment} is committed once`, async () => {
    const { keeper, coordinator, fatal } = await stage();
    await makeLog(coordinator);
    keeper.onWrite = (operations) => {
      if (!isBump(operations)) return "hold";
      if (moment === "after contact, before the doubt is looked at") keeper.release();
      return "serve";
    };
    const all = ["one", "two", "three"].map((word) => append(coordinator, word));
    await eventually(() => keeper.heldCount === 1, "the group has come");
    keeper.onWrite = ((held) => (operations) => {
      const manners = isBump(operations) ? held(operations) : "serve";
      // The first write that is no longer in doubt: what is still held must be worth nothing by now.
      if (!isBump(operations) && moment === "after it was ended") keeper.release();
      return manners;
    })(keeper.onWrite);
    if (moment === "before contact") keeper.release();
    keeper.cut();
    expect(await Promise.all(all)).toEqual([undefined, undefined, undefined]);
    if (moment !== "never") keeper.release();
    expect(await append(coordinator, "four")).toBeUndefined();
    expect(written(keeper)).toEqual(["one", "two", "three", "four"]);
    expect(fatal).toEqual([]);
  }, 120_000);
}

test("a server that lags behind is not believed", async () => {
  const { keeper, coordinator, fatal } = await stage();
  await makeLog(coordinator);
  const count = keeper.tree.nodes.get(commitPath("b"))!;
  keeper.onWrite = () => "hold";
  const one = append(coordinator, "one");
  await eventually(() => keeper.heldCount === 1, "the group has come");
  const before = { data: count.data, version: count.version };
  keeper.onWrite = () => "serve";
  keeper.release();
  keeper.stale.set(commitPath("b"), before);
  keeper.cut();
  expect(await one).toBeUndefined();
  expect(await append(coordinator, "two")).toBeUndefined();
  expect(written(keeper)).toEqual(["one", "two"]);
  expect(fatal).toEqual([]);
}, 120_000);

test("the end of a doubt may be in doubt itself, again and again", async () => {
  const { keeper, coordinator, fatal } = await stage();
  await makeLog(coordinator);
  let held = 0;
  keeper.onWrite = () => (++held <= 5 ? "hold" : "serve");
  const one = append(coordinator, "one");
  for (let times = 1; times <= 5; times++) {
    await eventually(() => held === times, `write ${times} has come`);
    if (times % 2 === 0) keeper.release();
    keeper.cut();
  }
  expect(await one).toBeUndefined();
  expect(written(keeper)).toEqual(["one"]);
  expect(fatal).toEqual([]);
}, 120_000);

test("contact that is lost again and again while a broker begins", async () => {
  const keeper = new FakeZooKeeper();
  let cuts = 0;
  keeper.onWrite = () => {
    if (++cuts > 6) return "serve";
    keeper.cut();
    return cuts % 2 === 0 ? "hold" : "serve";
  };
  const onFatal = (error: OperatingError): never => {
    throw error;
  };
  const coordinator = await ZooKeeperCoordinator.open({ connect: keeper.connect, id: "b", onFatal });
  await makeLog(coordinator);
  keeper.release();
  expect(await append(coordinator, "one")).toBeUndefined();
  expect(written(keeper)).toEqual(["one"]);
  coordinator.terminate();
  keeper.stop();
}, 120_000);

test("another broker under the same name is a rival; what a stranger writes there is not, nor that the node is gone", async () => {
  const { keeper, coordinator, fatal } = await stage();
  await makeLog(coordinator);
  const stranger = {};
  const path = commitPath("b");
  const owner = { id: 1n };
  keeper.tree.write([{ kind: "create", path: "/brokers", data: noBytes, mode: "persistent" }], stranger);
  keeper.tree.write([{ kind: "create", path: "/brokers/b", data: noBytes, mode: "ephemeral" }], owner);
  for (const junk of ["", "junk", "\u0000\u0001", "x".repeat(5000)]) {
    keeper.tree.write([{ kind: "set", path, data: encodeUtf8(junk), version: -1 }], stranger);
    keeper.tree.write([{ kind: "set", path, data: encodeUtf8(junk), version: -1 }], stranger);
    expect(await append(coordinator, "one")).toBeUndefined();
  }
  keeper.tree.write([{ kind: "delete", path, version: -1 }], stranger);
  expect(await append(coordinator, "two")).toBeUndefined();
  expect(written(keeper)).toEqual(["one", "one", "one", "one", "two"]);
  expect(fatal).toEqual([]);
  const other = encodeUtf8(`${"0".repeat(32)} 7`);
  keeper.tree.write([{ kind: "set", path, data: other, version: -1 }], stranger);
  void append(coordinator, "never");
  await eventually(() => fatal.length === 1, "the rival is noticed");
  expect(fatal[0]!.message).toContain("another broker uses the name of this one");
  expect(written(keeper)).not.toContain("never");
}, 120_000);

test("the count goes on beyond 2^31", async () => {
  const { keeper, coordinator, fatal } = await stage();
  await makeLog(coordinator);
  const count = keeper.tree.nodes.get(commitPath("b"))!;
  count.version = 2 ** 31 - 3;
  for (let index = 0; index < 5; index++) {
    expect(await append(coordinator, String(index))).toBeUndefined();
    keeper.onWrite = () => "hold";
    const late = append(coordinator, `late ${index}`);
    await eventually(() => keeper.heldCount > 0, "the group has come");
    keeper.onWrite = () => "serve";
    keeper.release();
    keeper.cut();
    expect(await late).toBeUndefined();
  }
  expect(count.version).toBeLessThan(0);
  expect(written(keeper).length).toBe(10);
  expect(fatal).toEqual([]);
}, 120_000);

/** Every code that ZooKeeper 3.8 has and that says nothing of the tree, and one that it has not. */
const troubles = [-1, -2, -3, -6, -7, -13, -14, -100, -113, -115, -119, -120, -121, -122, -123, -124, -125, -127, -99];

test("whatever ZooKeeper refuses for a reason of its own is asked again, and said", async () => {
  const { keeper, coordinator, fatal, said } = await stage();
  await makeLog(coordinator);
  let next = 0;
  keeper.onWrite = (operations) => (isBump(operations) ? "serve" : (troubles[next++] ?? "serve"));
  const refused = [append(coordinator, "one"), append(coordinator, "two")];
  await eventually(() => coordinator.state === "SUSPENDED", "it is said");
  expect(said.at(-1)!.why).toContain("ZooKeeper refuses what it is asked: SystemError");
  expect(await Promise.all(refused)).toEqual([undefined, undefined]);
  expect(next).toBeGreaterThan(troubles.length);
  expect(coordinator.state).toBe("CONNECTED");
  expect(said.at(-1)!.state).toBe("CONNECTED");
  expect(written(keeper)).toEqual(["one", "two"]);
  expect(fatal).toEqual([]);
}, 120_000);

test("reads that it refuses are asked again, in their order", async () => {
  const { keeper, coordinator, fatal, said } = await stage();
  await makeLog(coordinator);
  let next = 0;
  const codes = [-1, -6, -115, -127, -99];
  keeper.onRead = (path) => (path.startsWith("/log") ? (codes[next++] ?? "serve") : "serve");
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    coordinator.read([{ kind: "get", path: "/log" }], (error) => void order.push(`get ${error?.code}`));
    coordinator.read([{ kind: "exists", path: "/log" }], (error) => void order.push(`exists ${error?.code}`));
    coordinator.read([], () => {
      order.push("nothing");
      resolve();
    });
  });
  expect(order).toEqual(["get undefined", "exists undefined", "nothing"]);
  expect(said.some(({ why }) => why?.includes("it refuses what it is asked"))).toBe(true);
  expect(fatal).toEqual([]);
}, 120_000);

test("what was missed without contact is told before it counts as seen", async () => {
  const { keeper, coordinator } = await stage();
  await makeLog(coordinator);
  await append(coordinator, "one");
  const told: { readonly type: string; readonly seenZxid: number }[] = [];
  for (const path of ["/log", "/brokers"])
    coordinator.watch(path, ({ type }) => told.push({ type, seenZxid: coordinator.seenZxid }));
  await new Promise<void>((resolve) => coordinator.sync(resolve));
  keeper.cut();
  keeper.tree.write([{ kind: "create", path: "/log/other", data: noBytes, mode: "persistent" }], {});
  const { zxid } = keeper.tree;
  await eventually(() => told.length === 2, "it is told");
  expect(told.map(({ type }) => type)).toEqual(["missed", "missed"]);
  for (const { seenZxid } of told) expect(seenZxid).toBeLessThan(zxid);
  await new Promise<void>((resolve) => coordinator.sync(resolve));
  expect(coordinator.seenZxid).toBeGreaterThanOrEqual(zxid);
}, 120_000);
