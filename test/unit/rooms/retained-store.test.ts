/** The room `publish`, its retained messages: what is held in memory, and what is written into the store. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { emptyLevelsMs } from "../../../src/base/limits.ts";
import { LevelSweep } from "../../../src/broker/core/level-sweep.ts";
import { RetainedStore } from "../../../src/broker/publish/retained-store.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { type RoomOptions, room, settled } from "../../support/room.ts";

const message = (payload: string, { topic = "t", retain = false, qos = 1 as 0 | 1 | 2 } = {}) =>
  makePublish(encodeUtf8(topic), encodeUtf8(payload), { qos, retain });

/** A store in which a broker has died that had cleared some messages, but not all. */
function emptied(): MemoryStore {
  const store = new MemoryStore();
  store.put("/retained/a/gone/state");
  store.put("/retained/a/kept", "not for us to judge");
  return store;
}

describe("retained messages", () => {
  async function scene(options: RoomOptions = {}) {
    const made = room(options);
    made.store.put("/retained");
    const { context } = made;
    const store = new RetainedStore(
      context,
      new LevelSweep(context, { journal: context.journal, account: context.bankAccount.account }),
    );
    await store.start();
    const retain = (topic: string, payload: string): Promise<void> => {
      const publish = message(payload, { topic, retain: true });
      const payment = payload === "" ? undefined : context.bankAccount.reserve(store.priceOf(publish));
      context.journal.commit(store.retain(publish, topic, { payment, isAwaited: () => true }));
      return settled();
    };
    const held = (topic: string): string | undefined => {
      const publish = context.retained.get(topic)?.publish;
      return (
        publish && new TextDecoder().decode(publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd))
      );
    };
    const isStored = (topic: string): boolean => (made.store.textOf(`/retained/${topic}`) ?? "") !== "";
    return { ...made, retainedStore: store, retain, held, isStored };
  }

  test("are held at once, and in the store when it has committed; the last one stays, and is paid for", async () => {
    const { context, store, retain, held, isStored, retainedStore } = await scene();
    store.answers = false;
    for (const payload of ["1", "2", "3"]) await retain("t", payload);
    expect([held("t"), isStored("t")]).toEqual(["3", false]);
    store.answers = true;
    for (; store.waiting > 0; await settled()) store.answer();
    expect([held("t"), isStored("t")]).toEqual(["3", true]);
    expect(context.bankAccount.account.bound).toBe(retainedStore.priceOf(message("3", { retain: true })));
  });

  test("that are cleared cost nothing, and are gone", async () => {
    const { context, retain, held, isStored } = await scene();
    await retain("t", "x");
    await retain("t", "");
    expect([held("t"), isStored("t"), context.bankAccount.account.bound]).toEqual([undefined, false, 0]);
    // Above others the level stays.
    await retain("a", "x");
    await retain("a/b", "y");
    await retain("a", "");
    expect([held("a"), held("a/b"), isStored("a"), isStored("a/b")]).toEqual([undefined, "y", false, true]);
  });

  test("of other brokers are held as they come and go", async () => {
    const one = await scene();
    const other = await scene({ store: one.store, id: "other" });
    await one.retain("t", "theirs");
    expect(other.held("t")).toBe("theirs");
    await other.retain("t", "mine");
    expect([one.held("t"), other.held("t")]).toEqual(["mine", "mine"]);
    // Who pays is the one whose message it is.
    expect([one.context.bankAccount.account.bound > 0, other.context.bankAccount.account.bound > 0]).toEqual([
      false,
      true,
    ]);
    await one.retain("t", "");
    expect(other.held("t")).toBeUndefined();
    expect(other.context.bankAccount.account.bound).toBe(0);
  });

  test("that this broker has not heard of yet are cleared all the same", async () => {
    const one = await scene();
    const other = await scene({ store: one.store, id: "other" });
    const { onEvent } = one.store.tree;
    one.store.tree.onEvent = () => {};
    await one.retain("t", "theirs");
    one.store.tree.onEvent = onEvent;
    expect([other.held("t"), other.isStored("t")]).toEqual([undefined, true]);
    await other.retain("t", "");
    expect(other.isStored("t")).toBe(false);
  });

  test("have levels that nobody knows to be empty removed when they are read, and no others", async () => {
    const { store, pass } = await scene({ store: emptied() });
    pass(4 * emptyLevelsMs);
    expect([...store.tree.nodes.keys()].filter((path) => path.startsWith("/retained"))).toEqual([
      "/retained",
      "/retained/a",
      "/retained/a/kept",
    ]);
  });

  test("that were cleared leave no level when those below them have gone in the same moment", async () => {
    const { store, retain, pass } = await scene();
    for (const topic of ["a", "a/b"]) await retain(topic, "x");
    store.answers = false;
    for (const topic of ["a", "a/b"]) await retain(topic, "");
    store.answers = true;
    for (; store.waiting > 0; await settled()) store.answer();
    for (let look = 0; look < 3; look++) {
      pass(emptyLevelsMs);
      await settled();
    }
    expect([store.textOf("/retained/a"), store.textOf("/retained/a/b")]).toEqual([undefined, undefined]);
  });

  test("may be so many, replaced and cleared ones apart", async () => {
    const { retainedStore, retain, context } = await scene({ maxRetained: 2 });
    for (const topic of ["a", "b"]) await retain(topic, "x");
    const isFull = (topic: string, payload: string) =>
      retainedStore.isFull(message(payload, { topic, retain: true }), topic);
    expect([isFull("c", "x"), isFull("a", "y"), isFull("c", "")]).toEqual([true, false, false]);
    expect(context.metrics.beyondLimit.retained).toBe(1);
    await retain("a", "");
    expect(isFull("c", "x")).toBe(false);
  });

  test("on the broker's own topics do not stand for what it says, and are removed from the store", async () => {
    const older = await scene();
    // What an earlier version has let in, as a will.
    await older.retain("$SYS/broker/version", "fake");
    await older.retain("$SYS/broker/connection/a/state", "1");
    const { context, held, isStored } = await scene({ store: older.store, id: "newer" });
    context.retained.set("$SYS/broker/uptime", message("5", { topic: "$SYS/broker/uptime", retain: true }), "here");
    await settled();
    expect([held("$SYS/broker/version"), held("$SYS/broker/connection/a/state")]).toEqual([undefined, "1"]);
    expect([isStored("$SYS/broker/version"), isStored("$SYS/broker/connection/a/state")]).toEqual([false, true]);
    // What comes later, and goes, leaves alone what the broker says.
    await older.retain("$SYS/broker/uptime", "fake");
    await settled();
    expect([held("$SYS/broker/uptime"), isStored("$SYS/broker/uptime")]).toEqual(["5", false]);
    const kept = older.retainedStore.priceOf(message("1", { topic: "$SYS/broker/connection/a/state", retain: true }));
    expect(older.context.bankAccount.account.bound).toBe(kept);
  });

  test("whose time is over go, if they are still those that were seen", async () => {
    const { store, retainedStore, retain, held } = await scene();
    await retain("t", "old");
    retainedStore.expire("/retained/t", 99);
    expect(store.textOf("/retained/t")).toBeDefined();
    retainedStore.expire("/retained/t", 0);
    await settled();
    expect([store.textOf("/retained/t"), held("t")]).toEqual([undefined, undefined]);
  });
});
