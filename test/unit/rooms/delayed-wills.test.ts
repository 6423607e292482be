/**
 * The room `connect`, wills that wait for their delay: a large one is in the store alone, and is read back when it is
 * due, a few at a time.
 */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { willGraceMs, willRetryMs } from "../../../src/base/limits.ts";
import { delayedWillBytesMax, dueWillMs, dueWillsMax } from "../../../src/base/memory-limits.ts";
import { OrphanedWills } from "../../../src/broker/connect/orphaned-wills.ts";
import { lastingMemoryOf, nothingCounted } from "../../../src/broker/delivery/client-memory.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import type { Membership } from "../../../src/broker/peers/membership.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { CoordinatorError, type ReadDone, type ReadOperation } from "../../../src/coordinator/coordinator.ts";
import { willPath } from "../../../src/coordinator/paths.ts";
import { decodeWill, encodeWill } from "../../../src/mail/will-record.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { settled } from "../../support/room.ts";
import { wills } from "../../support/wills-room.ts";

const largeBytes = 10 * delayedWillBytesMax;
const delay = 10;

function will(topic: string, bytes = largeBytes, delaySeconds = delay) {
  const publish = makePublish(encodeUtf8(topic), new Uint8Array(bytes), { qos: 1, retain: false });
  return { publish, delay: delaySeconds, expiryMs: Infinity };
}

function scene({ peers = false } = {}) {
  const made = wills();
  const { context, store } = made;
  if (peers) context.peers.set("b", Object.assign(new Peer("b"), { epoch: 3 }));
  /** Clients whose connections have been lost, with wills that wait for their delay in the store. */
  const lose = async (names: readonly string[], bytes?: number): Promise<LocalSession[]> => {
    const clients = names.map((name) => made.connect(name, will(name, bytes), 100));
    await settled();
    for (const client of clients) made.wills.connectionLost(client);
    await settled();
    return clients;
  };
  /** Lets the delay pass, and the store answer after that. */
  const due = async (): Promise<void> => {
    made.pass(delay * 1000);
    await settled();
  };
  /** The operations of each read of a will that was asked; while `fails` says so they fail. */
  const asked: (readonly ReadOperation[])[] = [];
  const reading = { fails: false };
  const answer = store.read.bind(store);
  store.read = (operations: readonly ReadOperation[], done: ReadDone): void => {
    const isOfWill = operations.some(({ kind, path }) => kind === "get" && path.startsWith("/wills/"));
    if (isOfWill) asked.push(operations);
    if (isOfWill && reading.fails) done(new CoordinatorError("Closed", operations[0]!.path, 0), []);
    else answer(operations, done);
  };
  return { ...made, lose, due, asked, reading };
}

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `c-${index}`);

describe("wills that wait for their delay", () => {
  test("are in the store alone if they are large, count for nobody, and are published as they were", async () => {
    const { store, wills: kept, published, lose, due, asked } = scene();
    const [large, small] = [...(await lose(["large"])), ...(await lose(["small"], 10))];
    expect([large!.will, large!.isWillStored, small!.will?.publish.size]).toEqual([
      undefined,
      true,
      expect.any(Number),
    ]);
    const memory = lastingMemoryOf(large!, nothingCounted());
    expect(memory).toBeLessThan(largeBytes);
    expect(kept.holds("large")).toBe(true);
    await due();
    expect(published.toSorted()).toEqual(["large", "small"]);
    expect(asked).toEqual([[{ kind: "get", path: willPath("here", "large") }]]);
    for (const name of ["large", "small"]) expect(store.textOf(willPath("here", name))).toBeUndefined();
    await due();
    expect([published.length, kept.holds("large")]).toEqual([2, false]);
  });

  test("stay in memory until the store has them as they wait", async () => {
    const { store, wills: kept, connect } = scene();
    const client = connect("c", will("c"), 100);
    await settled();
    store.answers = false;
    kept.connectionLost(client);
    expect(client.will?.publish.size).toBeGreaterThan(largeBytes);
    store.answers = true;
    store.answer();
    await settled();
    expect(client.will).toBeUndefined();
    const node = store.tree.read({ kind: "get", path: willPath("here", "c") });
    if (typeof node !== "object" || !("data" in node)) throw new Error("it is not stored");
    expect(decodeWill(node.data).lostAt).toBeDefined();
  });

  test.each([false, true])("are read back a few at a time, each once (others in the cluster: %p)", async (peers) => {
    const { store, published, lose, due, asked } = scene({ peers });
    const all = names(5 * dueWillsMax);
    await lose(all);
    store.answers = false;
    await due();
    expect(asked.length).toBe(dueWillsMax);
    while (store.waiting > 0) {
      expect(asked.length - published.length).toBeLessThanOrEqual(dueWillsMax);
      store.answer(1);
      await settled();
    }
    expect(published.toSorted()).toEqual(all.toSorted());
    expect(asked.length).toBe(all.length);
  });

  test("that wait long for something keep others from their turn for a while only", async () => {
    const { published, waiting, parts, lose, due, pass } = scene();
    await lose(names(dueWillsMax + 1));
    parts.isPoor = true;
    await due();
    expect(waiting.length).toBe(dueWillsMax);
    parts.isPoor = false;
    pass(dueWillMs - 1);
    await settled();
    expect(published).toEqual([]);
    pass(1);
    await settled();
    expect([published.length, waiting.length]).toEqual([1, dueWillsMax]);
    for (const tryAgain of waiting.splice(0)) tryAgain();
    await settled();
    expect(published.toSorted()).toEqual(names(dueWillsMax + 1).toSorted());
  });

  test("are tried again where the store could not be read, and published once", async () => {
    const { published, reading, asked, lose, due, pass } = scene();
    await lose(["c"]);
    reading.fails = true;
    await due();
    pass(3 * willRetryMs);
    await settled();
    expect([published, asked.length]).toEqual([[], 4]);
    reading.fails = false;
    pass(willRetryMs);
    await settled();
    pass(10 * willRetryMs);
    await settled();
    expect([published, asked.length]).toEqual([["c"], 5]);
  });

  test.each([false, true])(
    "are not published if the client is back, also while they are read (others: %p)",
    async (peers) => {
      const { store, published, lose, due, connect, isStored } = scene({ peers });
      await lose(["early", "late"]);
      connect("early", will("new"), 100);
      await settled();
      store.answers = false;
      await due();
      connect("late", will("new"), 100);
      store.answers = true;
      while (store.waiting > 0) store.answer();
      await settled();
      await due();
      expect([published, isStored("early"), isStored("late")]).toEqual([[], true, true]);
    },
  );

  test("are not published if another broker has removed them, before or after they are read", async () => {
    const { store, wills: kept, left, lose, due } = scene({ peers: true });
    await lose(["before", "after"]);
    store.remove(willPath("here", "before"));
    store.answers = false;
    await due();
    // It is read, and then it is asked for.
    store.answer(2);
    await settled();
    store.remove(willPath("here", "after"));
    store.answers = true;
    while (store.waiting > 0) store.answer();
    await settled();
    expect([left, kept.holds("before"), kept.holds("after")]).toEqual([[], false, false]);
  });

  test("are left to others when the lease ends while they are read, and when their broker ends", async () => {
    const { store, wills: kept, published, lose, due, isStored } = scene({ peers: true });
    await lose(["c"]);
    store.answers = false;
    await due();
    kept.fence();
    store.answers = true;
    while (store.waiting > 0) store.answer();
    await settled();
    expect([published, isStored("c"), kept.mayRemain("c")]).toEqual([[], true, true]);
  });

  test("have their turn at once where their clients wait to be let in", async () => {
    const { store, wills: kept, published, lose, due, asked } = scene();
    const all = names(3 * dueWillsMax);
    await lose(all);
    store.answers = false;
    await due();
    const pathOf = (name: string): string => willPath("here", name);
    const late = all.find((name) => !asked.some(([first]) => first!.path === pathOf(name)))!;
    let isIn = false;
    kept.whenPublished(late, () => {
      isIn = true;
    });
    expect(asked.at(-1)).toEqual([{ kind: "get", path: pathOf(late) }]);
    store.answers = true;
    while (store.waiting > 0) store.answer();
    await settled();
    expect([isIn, published.toSorted()]).toEqual([true, all.toSorted()]);
  });

  test("go with a client that leaves its session, or whose session another broker takes", async () => {
    const { wills: kept, published, lose, due, isStored } = scene();
    const [left, taken] = await lose(["left", "taken"]);
    kept.forget(left!);
    kept.abandon(taken!);
    await settled();
    await due();
    expect([published, isStored("left"), isStored("taken")]).toEqual([[], false, true]);
  });

  test("are published at once when the session ends before that", async () => {
    const { wills: kept, published, lose } = scene();
    const [client] = await lose(["c"]);
    kept.publishNow(client!);
    await settled();
    expect(published).toEqual(["c"]);
  });
});

describe("wills of brokers that are gone", () => {
  function orphans() {
    const made = scene();
    const membership = { members: () => [], isAlive: () => false } as unknown as Membership;
    const orphaned = new OrphanedWills(made.context, { membership, wills: made.wills, isObtaining: () => false });
    const leave = (clientId: string, bytes: number): void =>
      made.store.put(willPath("dead", clientId), encodeWill({ ...will(clientId, bytes, 0), epoch: 3 }));
    return { ...made, orphaned, leave };
  }

  test("are read a few at a time when they are due, and are all published once", async () => {
    const { store, published, orphaned, leave, asked, pass } = orphans();
    const all = names(4 * dueWillsMax);
    for (const name of all) leave(name, largeBytes);
    await orphaned.look();
    asked.length = 0;
    store.answers = false;
    pass(willGraceMs);
    let inMemory = 0;
    while (store.waiting > 0) {
      inMemory = Math.max(inMemory, asked.length - published.length);
      store.answer(1);
      await settled();
    }
    expect(inMemory).toBe(dueWillsMax);
    expect(published.toSorted()).toEqual(all.toSorted());
  });

  test("are looked for a few at a time where they are large", async () => {
    const { orphaned, leave, asked } = orphans();
    for (const name of names(24)) leave(name, 1024 * 1024);
    await orphaned.look();
    const counts = asked.map((operations) => operations.filter(({ kind }) => kind === "get").length / 2);
    expect(counts.reduce((sum, count) => sum + count)).toBe(24);
    expect(Math.max(...counts.slice(1))).toBeLessThanOrEqual(4);
  });
});
