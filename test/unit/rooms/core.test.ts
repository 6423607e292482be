/** The room `core`, part by part: this broker's account at the bank, empty levels, a full disk. */
import { describe, expect, test } from "bun:test";
import { bankLookMs, bankYieldMs, freedPathsMax } from "../../../src/base/bank-limits.ts";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { emptyLevelsMs } from "../../../src/base/limits.ts";
import { fullDiskWillBytesMax } from "../../../src/base/store-limits.ts";
import { connectRefusal } from "../../../src/broker/core/full-disk.ts";
import { LevelSweep } from "../../../src/broker/core/level-sweep.ts";
import { CoordinatorError } from "../../../src/coordinator/coordinator.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { room, settled } from "../../support/room.ts";

const message = (size: number, expiresAt = Infinity) => {
  const publish = makePublish(encodeUtf8("t"), new Uint8Array(size), { qos: 1, retain: false });
  publish.expiresAt = expiresAt;
  return publish;
};

describe("the account at the bank", () => {
  /** A branch that has been opened at a bank of so many credits. */
  async function opened(bankCapital: number, others = {}) {
    const scene = room({ bankCapital, others, hasBank: false });
    const { bankAccount } = scene.context;
    await bankAccount.start();
    return { ...scene, bankAccount, account: bankAccount.account };
  }
  const milli = 1000;
  const standing = (store: ReturnType<typeof room>["store"], path: string) => JSON.parse(store.textOf(path)!);

  test("opens with a part of the capital: vault and grant are the capital", async () => {
    const { store, account, bankAccount } = await opened(64_000);
    expect(account.isOpen).toBe(true);
    expect(standing(store, "/bank").vault + standing(store, "/bank/branches/here").grant).toBe(64_000 * milli);
    expect(standing(store, "/bank/branches/here").grant).toBe(account.grant);
    expect(bankAccount.capital).toBe(64_000 * milli);
    expect(account.grant).toBeGreaterThan(0);
    expect(account.grant).toBeLessThan(64_000 * milli);
  });

  test("what messages of its own bind is counted at the start", async () => {
    const first = await opened(64_000);
    const { context, store } = first;
    const stored = await new Promise<void>((resolve) => {
      const laid = context.mail.storeInDrop(message(100), { publisher: "p", payment: undefined, keeping: "drop" });
      context.journal.commit([...laid.operations], () => resolve());
    });
    expect(stored).toBeUndefined();
    const bound = context.bankAccount.account.bound;
    expect(bound).toBeGreaterThan(0);
    const again = room({ store, hasBank: false });
    await again.context.bankAccount.start();
    expect(again.context.bankAccount.account.bound).toBe(bound);
  });

  test("a message's terms are settled once, and its own expiry counts before chance", async () => {
    const { bankAccount, context } = await opened(64_000);
    const publish = message(100);
    expect(bankAccount.termsOf(publish, "drop")).toBe(bankAccount.termsOf(publish, "drop"));
    const wall = context.clock.wall();
    const { keepUntil, credits } = bankAccount.termsOf(message(100, wall + 60_000), "mailbox");
    expect(keepUntil).toBe(wall + 60_000);
    // The longer it stays, the dearer.
    expect(bankAccount.termsOf(message(100), "mailbox").credits).toBeGreaterThan(credits);
    expect(bankAccount.termsOf(message(200, wall + 60_000), "mailbox").credits).toBeGreaterThan(credits);
  });

  test("more is asked for at low water, and what is far above it goes back", async () => {
    const { bankAccount, account, store, pass } = await opened(64_000);
    const before = account.grant;
    const reservations = [1, 2, 3].map(() => bankAccount.reserve(account.free - 1)!);
    // The vault has answered at once.
    expect(account.grant).toBeGreaterThan(2 * before);
    expect(standing(store, "/bank/branches/here").grant).toBe(account.grant);
    const high = account.grant;
    for (const reservation of reservations) reservation.close();
    pass(2 * bankLookMs);
    expect(account.grant).toBeLessThan(high);
    expect(standing(store, "/bank").vault + account.grant).toBe(64_000 * milli);
  });

  test("what cannot be paid is refused; the others are asked only when the vault has nothing either", async () => {
    let asked = 0;
    const { bankAccount, account } = await opened(1000, { exist: () => true, askForCredits: () => void asked++ });
    // The vault is asked while this one is refused; the next finds what it has given.
    expect(bankAccount.reserve(900 * milli)).toBeUndefined();
    expect(bankAccount.reserve(900 * milli)).toBeDefined();
    expect(asked).toBe(0);
    expect(bankAccount.reserve(200 * milli)).toBeUndefined();
    expect(asked).toBe(1);
    expect(account.grant).toBe(1000 * milli);
    expect(bankAccount.describe({ credits: 200 * milli, payer: "" })).toContain("200");
    // Somebody else may have it.
    expect(bankAccount.mayPay({ credits: 5000 * milli, payer: "" })).toBe(true);
  });

  test("alone with an empty vault, no patience helps", async () => {
    const { bankAccount } = await opened(1000);
    bankAccount.reserve(900 * milli);
    bankAccount.reserve(900 * milli);
    expect([
      bankAccount.mayPay({ credits: 100 * milli, payer: "" }),
      bankAccount.mayPay({ credits: 101 * milli, payer: "" }),
    ]).toEqual([true, false]);
  });

  test("half of what is free goes back when another is short, and is not asked for again at once", async () => {
    const { bankAccount, account, store, pass } = await opened(64_000);
    const before = account.free;
    bankAccount.share();
    expect(account.free).toBe(Math.ceil(before / 2));
    expect(standing(store, "/bank/branches/here").grant).toBe(account.grant);
    pass(bankYieldMs - 100);
    expect(account.free).toBeLessThanOrEqual(Math.ceil(before / 2));
  });

  test("other branches are told which of their messages are gone, once for all of a turn, so many at a time", async () => {
    const told: [string, number][] = [];
    const { bankAccount } = await opened(1000, {
      reportFreed: (branch: string, paths: readonly string[]) => void told.push([branch, paths.length]),
    });
    for (let at = 0; at <= freedPathsMax; at++) bankAccount.freed(`/topics/t/=${at}`, "other");
    bankAccount.freed("/topics/t/=x", "third");
    expect(told).toEqual([]);
    await settled();
    expect(told).toEqual([
      ["other", freedPathsMax],
      ["other", 1],
      ["third", 1],
    ]);
  });

  test("a branch that was closed stores nothing until it is open again", async () => {
    const { bankAccount, account, store } = await opened(64_000);
    bankAccount.reserve(10)!.close();
    store.answers = false;
    bankAccount.closed();
    expect([account.isOpen, bankAccount.reserve(10)]).toEqual([false, undefined]);
    store.answers = true;
    while (store.waiting > 0) store.answer();
    expect(account.isOpen).toBe(true);
    expect(bankAccount.reserve(10)).toBeDefined();
  });

  test("what others have removed without a word is found to be gone, page by page", async () => {
    const { context, store, account, pass } = await opened(64_000);
    const { mail, journal } = context;
    const laid = Array.from({ length: 5 }, () =>
      mail.storeInDrop(message(50), { publisher: "p", payment: undefined, keeping: "drop" }),
    );
    for (const { operations } of laid) journal.commit([...operations], () => {});
    const paths = account.holders(10).map(({ path }) => path);
    expect(account.messages).toBe(5);
    for (const path of [...store.tree.nodes.keys()].filter((path) => path.includes("/=")).slice(0, 2))
      store.remove(path);
    pass(3 * bankLookMs);
    expect(account.messages).toBe(3);
    expect(paths.length).toBeGreaterThan(0);
  });
});

describe("empty levels", () => {
  const partsOf = ({ journal, bankAccount }: ReturnType<typeof room>["context"]) => ({
    journal,
    account: bankAccount.account,
  });

  function sweep() {
    const scene = room();
    return { ...scene, sweep: new LevelSweep(scene.context, partsOf(scene.context)) };
  }

  test("go a second after the last node below them, the levels above them too", () => {
    const { store, sweep: levels, pass } = sweep();
    store.put("/topics/a/b/c/=1");
    store.remove("/topics/a/b/c/=1");
    levels.removed("/topics/a/b/c/=1");
    pass(emptyLevelsMs / 2);
    expect(store.tree.nodes.has("/topics/a/b/c")).toBe(true);
    pass(3 * emptyLevelsMs);
    expect([...store.tree.nodes.keys()].filter((path) => path.startsWith("/topics"))).toEqual(["/topics"]);
  });

  test("go without delay when the broker is about to end, also those that are noted meanwhile; or are given up", () => {
    const { store, sweep: levels } = sweep();
    const names = (): string[] => [...store.tree.nodes.keys()].filter((path) => /^\/(topics|publishers)\/./.test(path));
    let count = 0;
    levels.finish(() => count++);
    expect(count).toBe(1);
    for (const path of ["/topics/a/b/c", "/publishers/d/e", "/topics/x"]) {
      store.put(path);
      levels.note(path);
    }
    store.answers = false;
    levels.finish(() => count++);
    // While the first page is read.
    store.put("/topics/later/y");
    levels.note("/topics/later/y");
    expect(count).toBe(1);
    store.answers = true;
    store.answer();
    expect([names(), count]).toEqual([[], 2]);
    store.put("/topics/z");
    levels.note("/topics/z");
    store.read = (_, answered) => answered(new CoordinatorError("Closed", "", 0), []);
    levels.finish(() => count++);
    expect([names(), count]).toEqual([["/topics/z"], 3]);
  });

  test("are paid for until they are gone, by the user who has paid for what stood there", () => {
    const { store, context, sweep: levels, pass } = sweep();
    const { account } = context.bankAccount;
    const path = "/subscribers/a/b/~client";
    store.put(path);
    account.found(path, { credits: 200_000, payer: "alice" });
    store.remove(path);
    levels.removed(path);
    // Two levels, of 448 bytes and what their paths and names are long.
    const two = 40 * (2 * 448 + "/subscribers/a".length + "/subscribers/a/b".length + "/a/b".length);
    expect([account.bound, account.unswept, account.pays(path)]).toEqual([two, two, false]);
    expect(account.shares.of("alice").held).toBe(two);
    // Another one there finds the level paid for.
    const other = "/subscribers/a/b/~other";
    account.found(other, { credits: 200_000, payer: "bob" });
    levels.removed(other);
    expect([account.bound, account.shares.of("bob").held]).toEqual([two, 0]);
    store.answers = false;
    pass(2 * emptyLevelsMs);
    // Read as empty, and the lower one removed.
    for (let step = 0; step < 3; step++) store.answer(1);
    expect(account.bound).toBe(40 * (448 + "/subscribers/a".length + "/a".length));
    store.answers = true;
    store.answer();
    pass(emptyLevelsMs);
    expect([account.bound, account.unswept, account.shares.of("alice").held]).toEqual([0, 0, 0]);
    expect([...store.tree.nodes.keys()].filter((path) => path.startsWith("/subscribers"))).toEqual(["/subscribers"]);
  });

  test("that are in use again are not paid for, but when what uses them has gone before the answer", () => {
    const { store, context, sweep: levels, pass } = sweep();
    const { account } = context.bankAccount;
    const path = "/subscribers/a/@here";
    const empty = (): void => {
      account.found(path, { credits: 100_000, payer: null });
      levels.removed(path);
    };
    store.put("/subscribers/a/@there");
    empty();
    const bound = account.bound;
    expect(bound).toBeGreaterThan(0);
    store.answers = false;
    pass(2 * emptyLevelsMs);
    empty();
    store.answers = true;
    store.answer();
    expect(account.bound).toBe(bound);
    pass(3 * emptyLevelsMs);
    expect([account.bound, account.unswept]).toEqual([0, 0]);
  });

  test("of what another branch has paid for are paid for by who removes it, as far as credits are free", () => {
    const { context, sweep: levels, pass } = sweep();
    const { account } = context.bankAccount;
    account.grant = 30_000;
    levels.removed("/topics/a/=1");
    const one = 40 * (448 + "/topics/a".length + "/a".length);
    expect([account.bound, account.shares.brokers.held]).toEqual([one, one]);
    levels.removed("/topics/b/=1");
    expect(account.free).toBe(0);
    pass(5 * emptyLevelsMs);
    expect([account.bound, account.shares.brokers.held]).toEqual([0, 0]);
  });

  test("are looked at again when they could not be read", () => {
    const { store, sweep: levels, pass } = sweep();
    store.put("/retained/a");
    const { read } = store;
    store.read = (_, answered) => answered(new CoordinatorError("NoAuth", "", 0), []);
    levels.note("/retained/a");
    pass(3 * emptyLevelsMs);
    expect(store.tree.nodes.has("/retained/a")).toBe(true);
    store.read = read;
    pass(3 * emptyLevelsMs);
    expect(store.tree.nodes.has("/retained/a")).toBe(false);
  });

  test("stay where something has been put meanwhile", () => {
    const { store, sweep: levels, pass } = sweep();
    store.put("/topics/a/b");
    levels.note("/topics/a/b");
    store.put("/topics/a/b/=2", "news");
    pass(5 * emptyLevelsMs);
    expect(store.textOf("/topics/a/b/=2")).toBe("news");
    store.put("/retained/a", "kept");
    levels.note("/retained/a");
    pass(5 * emptyLevelsMs);
    expect(store.textOf("/retained/a")).toBe("kept");
  });

  test("that get a child while they are looked at stay, and the others of the page go", () => {
    const { store, sweep: levels, pass } = sweep();
    for (const name of ["a", "b"]) {
      store.put(`/topics/${name}`);
      levels.note(`/topics/${name}`);
    }
    store.answers = false;
    pass(2 * emptyLevelsMs);
    // They were read as empty; before the commit somebody stores.
    store.answer(1);
    store.put("/topics/a/=1", "news");
    store.answers = true;
    store.answer();
    expect([store.textOf("/topics/a/=1"), store.tree.nodes.has("/topics/b")]).toEqual(["news", false]);
  });

  test("are looked at again when contact was lost before they were gone", () => {
    const { store, sweep: levels, pass } = sweep();
    for (const path of ["/topics/a", "/topics/b"]) {
      store.put(path);
      levels.note(path);
    }
    store.answers = false;
    pass(2 * emptyLevelsMs);
    // The server has caught up, and they were read as empty; their removal is under way.
    for (let step = 0; step < 2; step++) store.answer(1);
    expect(store.waiting).toBe(1);
    store.put("/topics/b/=1", "news");
    store.loseContact();
    store.answers = true;
    store.answer();
    expect(store.tree.nodes.has("/topics/a")).toBe(true);
    pass(3 * emptyLevelsMs);
    expect([store.tree.nodes.has("/topics/a"), store.textOf("/topics/b/=1")]).toEqual([false, "news"]);
  });

  test("go although ZooKeeper has removed the one below, which looks at no level above it", () => {
    const { store, sweep: levels, pass } = sweep();
    const left = (): string[] => [...store.tree.nodes.keys()].filter((path) => /^\/topics\/./.test(path));
    store.put("/topics/a/b");
    levels.note("/topics/a/b");
    store.remove("/topics/a/b");
    pass(4 * emptyLevelsMs);
    expect(left()).toEqual([]);
    // While its removal is under way.
    store.put("/topics/a/b");
    levels.note("/topics/a/b");
    store.answers = false;
    pass(2 * emptyLevelsMs);
    for (let step = 0; step < 2; step++) store.answer(1);
    expect(store.waiting).toBe(1);
    store.remove("/topics/a/b");
    store.answers = true;
    store.answer();
    pass(4 * emptyLevelsMs);
    expect(left()).toEqual([]);
  });

  test("are the store's own business where it makes them itself", () => {
    const { context, store, pass } = room();
    store.put("/topics/a");
    const alone = Object.assign(Object.create(store), { makesLevels: true });
    const levels = new LevelSweep({ ...context, coordinator: alone }, partsOf(context));
    levels.note("/topics/a");
    pass(5 * emptyLevelsMs);
    expect(store.tree.nodes.has("/topics/a")).toBe(true);
  });
});

describe("while the disk is full", () => {
  const will = (size: number) => ({ publish: message(size), delay: 0, expiryMs: Infinity });
  const ask = (
    isFull: boolean,
    expiryInterval: number,
    asked: ReturnType<typeof will> | undefined,
    isStored: boolean,
  ) => connectRefusal({ isFull }, { expiryInterval, will: asked, isStored });

  test("a client is let in that needs nothing new of the store", () => {
    expect(ask(true, 0, undefined, false)).toBeUndefined();
    expect(ask(true, 100, undefined, true)).toBeUndefined();
    expect(ask(true, 100, will(10), true)).toBeUndefined();
    expect(ask(false, 100, will(1_000_000), false)).toBeUndefined();
  });

  test("and refused in words with a new session, a new will, or a large one", () => {
    expect(ask(true, 1, undefined, false)).toContain("no new sessions");
    expect(ask(true, 0, will(1), false)).toContain("no new wills");
    expect(ask(true, 100, will(fullDiskWillBytesMax), true)).toContain(`above ${fullDiskWillBytesMax} bytes`);
  });
});
