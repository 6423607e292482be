/** The room `drops`, part by part: what lies in mail drops in its order, and one subscription's way along it. */
import { describe, expect, test } from "bun:test";
import { slipsIdleMs, slipsRetryMs } from "../../../src/base/bank-limits.ts";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { dropFetchMax, dropSaveMs } from "../../../src/base/limits.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { DropFeed } from "../../../src/broker/drops/drop-feed.ts";
import { type Cursor, DropLog, isAfter } from "../../../src/broker/drops/drop-log.ts";
import { cursorPath, mailPath, prepaidSlipsPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { dropSlipsFreeWeightOf, sessionWeightOf } from "../../../src/coordinator/weight.ts";
import type { Price } from "../../../src/mail/ledger.ts";
import { makePublish, type Publish } from "../../../src/mqtt/publish.ts";
import type { Subscription } from "../../../src/mqtt/subscription.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { room, settled } from "../../support/room.ts";
import { unpaidSlipsIn } from "../../support/unpaid-slips.ts";

const start: Cursor = { czxid: 0, name: "" };
const textOf = (publish: Publish): string =>
  new TextDecoder().decode(publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd));

function scene(store = new MemoryStore()) {
  /** The prices of slips for which nobody could pay. */
  const unpaid: Price[] = [];
  const made = room({ store });
  const { context } = made;
  /** Puts a message into a mail drop, in a commit of its own. */
  const lay = async (
    topic: string,
    text: string,
    { qos = 1 as 0 | 1 | 2, publisher = "p", expiresAt = Infinity } = {},
  ) => {
    const publish = makePublish(encodeUtf8(topic), encodeUtf8(text), { qos, retain: false });
    publish.expiresAt = expiresAt;
    const { operations } = context.mail.storeInDrop(publish, { publisher, payment: undefined, keeping: "drop" });
    context.journal.commit([...operations]);
    await settled();
  };
  const paths = (): string[] => [...store.tree.nodes.keys()].filter((path) => /^\/topics\/.*\/=[^/]*$/.test(path));
  /** A connected client that takes what it is sent; `room` of 0: it takes nothing at QoS 1. */
  const client = (clientId: string, expiry = 0) => {
    const made_ = made.session(clientId, expiry);
    const heard: string[] = [];
    const state = { room: Infinity };
    Object.defineProperty(made_, "hasRoom", { get: () => state.room > 0 });
    Object.defineProperty(made_, "isOpen", { get: () => true });
    made_.attach(
      { writer: { unsent: 0 }, channel: { phase: "open" }, transport: { address: "" } } as unknown as Connection,
      100,
    );
    made_.sendQoS0 = (publish) => void heard.push(textOf(publish));
    made_.offer = (publish) => {
      state.room--;
      heard.push(textOf(publish));
    };
    return { client: made_, heard, state };
  };
  const subscription = (filter: string, qos: 0 | 1 | 2 = 1, more: Partial<Subscription> = {}): Subscription => ({
    ...{ filter: parseFilter(filter)!, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 },
    ...more,
  });
  const feed = (to: LocalSession, log: DropLog, wanted: Subscription, cursor = start): DropFeed => {
    const made_ = new DropFeed(to, wanted, { dropLog: log, cursor, unpaid: (_, price) => void unpaid.push(price) });
    log.feeds.add(made_);
    made_.pump();
    return made_;
  };
  return { ...made, lay, paths, client, subscription, feed, unpaid };
}

describe("what lies in a mail drop", () => {
  test("has the order of the commits, whole transactions, and within one that of the names", () => {
    const at = (czxid: number, name: string): Cursor => ({ czxid, name });
    expect(isAfter(at(2, "a"), at(1, "z"))).toBe(true);
    expect(isAfter(at(1, "b"), at(1, "a"))).toBe(true);
    expect(isAfter(at(1, "a"), at(1, "a"))).toBe(false);
    expect(isAfter(at(1, "z"), at(2, "a"))).toBe(false);
  });

  test("is counted as stored when it is committed; a slip for it stores no other copy", async () => {
    const { context, store, lay, paths, client } = scene();
    await lay("d/x", "1");
    expect(context.mail.stored).toBe(1);
    const { mailbox, session } = client("c", 100).client;
    store.put(sessionPath(session.clientId), "{}");
    const target = { qos: 1, retain: false, subscriptionIds: [], group: undefined } as const;
    const cursor = { kind: "put", path: cursorPath("c", "d/x"), data: encodeUtf8("{}"), exists: false } as const;
    mailbox!.take([{ message: { path: paths()[0]!, branch: "here", keepUntil: Infinity }, target }], cursor);
    await settled();
    const commit = store.commits.find((operations) => operations.some(({ path }) => path === `${mailPath("c")}/`))!;
    expect([commit !== undefined, context.mail.stored]).toEqual([true, 1]);
    // How far the session has come is written with it: all of it, or nothing.
    expect(commit.some(({ path }) => path === cursor.path)).toBe(true);
  });

  test("is known with all that came before, from any place on, and without what is gone", async () => {
    const { context, store, lay, paths } = scene();
    for (const text of ["1", "2", "3"]) await lay("d/x", text);
    const log = new DropLog(context, "/topics/d");
    await settled();
    expect(log.isComplete).toBe(true);
    const all = [...log.after(start)];
    expect(all.map(({ topic }) => topic)).toEqual(["d/x", "d/x", "d/x"]);
    expect([...log.after(all[1]!)]).toEqual([all[2]!]);
    store.remove(paths()[1]!);
    expect([...log.after(start)]).toEqual([all[0]!, all[2]!]);
    await lay("d/y", "4");
    expect([...log.after(all[2]!)].map(({ topic }) => topic)).toEqual(["d/y"]);
    log.stop();
    await lay("d/y", "5");
    expect([...log.after(all[2]!)].length).toBe(1);
  });

  test("is only what was laid there: messages of mailboxes, and of strangers, are not", async () => {
    const { context, store, lay } = scene();
    await lay("d/x", "1");
    store.put("/topics/d/x/=strange", "{}");
    store.put("/topics/d/x/level");
    const log = new DropLog(context, "/topics/d");
    await settled();
    expect([...log.after(start)].length).toBe(1);
    expect(context.strangers.count).toBe(1);
  });
});

describe("a subscription's way along it", () => {
  test("begins with the oldest, goes on with what comes, and hands each on once", async () => {
    const { context, lay, client, subscription, feed } = scene();
    for (const text of ["1", "2"]) await lay("d/x", text);
    const log = new DropLog(context, "/topics/d");
    await settled();
    const { client: to, heard } = client("c");
    feed(to, log, subscription("d/#"));
    await settled();
    expect(heard).toEqual(["1", "2"]);
    await lay("d/y", "3");
    for (const one of log.feeds) one.pump();
    expect(heard).toEqual(["1", "2", "3"]);
  });

  test("begins when all is known, and follows the commits, whatever order the store lists them in", async () => {
    const { context, store, lay, client, subscription, feed } = scene();
    for (const [topic, text] of [
      ["d/z/far/below", "1"],
      ["d/a", "2"],
      ["d/m/below", "3"],
    ] as const)
      await lay(topic, text);
    store.answers = false;
    const log = new DropLog(context, "/topics/d");
    const { client: to, heard } = client("c");
    const way = feed(to, log, subscription("d/#"));
    for (await settled(); store.waiting > 0; await settled()) {
      store.answer(1);
      way.pump();
      if (!log.isComplete) expect(heard).toEqual([]);
    }
    expect(heard).toEqual(["1", "2", "3"]);
  });

  test("waits for room, and nothing overtakes", async () => {
    const { context, lay, client, subscription, feed } = scene();
    for (let number = 0; number < dropFetchMax + 5; number++) await lay("d/x", String(number));
    const log = new DropLog(context, "/topics/d");
    await settled();
    const { client: to, heard, state } = client("c");
    state.room = 2;
    const way = feed(to, log, subscription("d/#"));
    await lay("d/x", "last");
    expect(heard).toEqual(["0", "1"]);
    state.room = Infinity;
    for (let step = 0; step < 5; step++) {
      way.pump();
      await settled();
    }
    expect(heard).toEqual([...Array.from({ length: dropFetchMax + 5 }, (_, index) => String(index)), "last"]);
  });

  test("passes by what the client does not get: other topics, its own, and what has expired", async () => {
    const { context, lay, client, subscription, feed } = scene();
    await lay("d/x", "theirs");
    await lay("d/x", "mine", { publisher: "c" });
    await lay("d/other", "other");
    await lay("d/x", "old", { expiresAt: context.clock.wall() - 1 });
    await lay("d/x", "last", { qos: 0 });
    const log = new DropLog(context, "/topics/d");
    await settled();
    const { client: to, heard } = client("c");
    feed(to, log, subscription("d/x", 1, { noLocal: true }));
    await settled();
    expect(heard).toEqual(["theirs", "last"]);
  });

  test("ends when it is closed", async () => {
    const { context, lay, client, subscription, feed } = scene();
    const log = new DropLog(context, "/topics/d");
    await settled();
    const { client: to, heard } = client("c");
    const way = feed(to, log, subscription("d/#"));
    await lay("d/x", "1");
    way.close();
    await lay("d/x", "2");
    expect(heard).toEqual(["1"]);
  });

  test("of a session that lasts is written down: with what is promised at once, with the rest now and then", async () => {
    const { context, store, evicted, lay, client, subscription, feed, pass } = scene();
    await lay("d/x", "1", { qos: 0 });
    const log = new DropLog(context, "/topics/d");
    await settled();
    const { client: to, heard } = client("c", 100);
    store.put(cursorPath("c", "d/#"), "{}");
    const taken: number[] = [];
    to.mailbox!.take = (messages) => void taken.push(messages.length);
    feed(to, log, subscription("d/#"));
    await settled();
    expect(heard).toEqual(["1"]);
    expect(store.textOf(cursorPath("c", "d/#"))).toBe("{}");
    pass(dropSaveMs);
    await settled();
    expect(evicted).toEqual([]);
    const [first] = [...log.after(start)];
    expect(JSON.parse(store.textOf(cursorPath("c", "d/#"))!)).toEqual({ czxid: first!.czxid, name: first!.name });
    for (const text of ["2", "3"]) await lay("d/x", text);
    await settled();
    expect([heard, taken.reduce((sum, count) => sum + count, 0)]).toEqual([["1"], 2]);
  });
});

describe("slips of a session that lasts, for what lies there", () => {
  /** A session, begun after or before there were mail drops, whose client takes nothing, and messages for it. */
  async function hoard(count: number, since: "after" | "before" = "after") {
    const made = scene();
    const { context, store, lay, client, subscription, feed } = made;
    for (let number = 0; number < count; number++) await lay("d/x", String(number));
    const log = new DropLog(context, "/topics/d");
    await settled();
    const { client: to, state } = client("c", 100);
    state.room = 0;
    // Begun, and paid for, where there are mail drops.
    const weight =
      sessionWeightOf(sessionPath("c"), 0) + (since === "after" ? dropSlipsFreeWeightOf(sessionPath("c")) : 0);
    const paid = { branch: "", credits: context.bankAccount.priceOf(weight) };
    to.payBy(paid, 0);
    store.put(sessionPath("c"), JSON.stringify(paid));
    const begin = async (): Promise<void> => {
      feed(to, log, subscription("d/#"));
      await settled();
    };
    const slips = (): string[] => [...store.tree.nodes.keys()].filter((path) => path.startsWith(`${mailPath("c")}/`));
    const isPaid = (): boolean => store.tree.nodes.has(prepaidSlipsPath("c"));
    return { ...made, to, begin, slips, isPaid, account: context.bankAccount.account };
  }

  test("are paid for, all of them, while they are there, and as long as that is not known", async () => {
    const { store, to, begin, slips, isPaid, pass } = await hoard(5);
    await begin();
    expect([slips().length, isPaid()]).toEqual([5, true]);
    expect(await unpaidSlipsIn(store)).toEqual([]);
    const comeBack = async (): Promise<void> => {
      to.detach();
      await settled();
      to.attach({ writer: { unsent: 0 }, channel: { phase: "open" } } as unknown as Connection, 100);
      to.mailbox!.load();
      await settled();
      pass(3 * slipsIdleMs);
      await settled();
    };
    await comeBack();
    expect([slips().length, isPaid()]).toEqual([5, true]);
    for (const path of slips()) store.remove(path);
    await comeBack();
    expect(isPaid()).toBe(false);
  });

  test("are one at a time where nobody can pay, which is told; all of them when somebody can", async () => {
    const { store, begin, slips, isPaid, pass, account, unpaid } = await hoard(5);
    account.grant = account.bound;
    await begin();
    expect([slips().length, isPaid(), unpaid.length]).toEqual([1, false, 1]);
    pass(3 * slipsRetryMs);
    await settled();
    expect([slips().length, unpaid.length]).toEqual([1, 4]);
    expect(unpaid[0]).toMatchObject({ payer: "", clientId: "c" });
    account.grant = Number.MAX_SAFE_INTEGER;
    pass(slipsRetryMs);
    await settled();
    expect([slips().length, isPaid()]).toEqual([5, true]);
    expect(await unpaidSlipsIn(store)).toEqual([]);
  });

  test("are none where nobody can pay if the session is older than the mail drop, until somebody can", async () => {
    const { store, begin, slips, pass, account, unpaid } = await hoard(2, "before");
    account.grant = account.bound;
    await begin();
    expect([slips().length, unpaid.length]).toEqual([0, 1]);
    account.grant = Number.MAX_SAFE_INTEGER;
    pass(slipsRetryMs);
    await settled();
    expect(slips().length).toBe(2);
    expect(await unpaidSlipsIn(store)).toEqual([]);
  });

  test("are as many as can be paid for", async () => {
    const { store, begin, slips, account } = await hoard(5);
    // For the node that pays, and for two of them.
    account.grant = account.bound + 40 * 2000;
    await begin();
    expect(slips().length).toBeGreaterThan(0);
    expect(slips().length).toBeLessThan(5);
    expect(await unpaidSlipsIn(store)).toEqual([]);
  });
});
