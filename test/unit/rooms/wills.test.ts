/** The room `connect`, its wills: of clients that are connected here, and those that no connection stands behind. */
import { describe, expect, test } from "bun:test";
import { claimPatienceMs, movedWillMs, willGraceMs } from "../../../src/base/limits.ts";
import { OrphanedWills } from "../../../src/broker/connect/orphaned-wills.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import type { Membership } from "../../../src/broker/peers/membership.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { sessionPath, willPath } from "../../../src/coordinator/paths.ts";
import { encodeSession } from "../../../src/mail/records.ts";
import { decodeWill, encodeWill } from "../../../src/mail/will-record.ts";
import { topicOf } from "../../../src/mqtt/publish.ts";
import { settled } from "../../support/room.ts";
import { will, wills } from "../../support/wills-room.ts";

describe("wills", () => {
  test("lie in the store from CONNECT on, and go with their publication", async () => {
    const { wills: kept, published, connect, isStored } = wills();
    const client = connect("c", will("t"));
    await settled();
    expect([isStored("c"), kept.holds("c")]).toEqual([true, true]);
    kept.connectionLost(client);
    await settled();
    expect([published, isStored("c"), kept.holds("c")]).toEqual([["t"], false, false]);
    kept.connectionLost(client);
    await settled();
    expect(published).toEqual(["t"]);
  });

  test("that the client gives up, or replaces, are not published", async () => {
    const { wills: kept, published, connect, isStored } = wills();
    const client = connect("c", will("t"));
    kept.forget(client);
    kept.connectionLost(client);
    await settled();
    expect([published, isStored("c")]).toEqual([[], false]);
    connect("c", will("first"));
    connect("c", will("second"));
    kept.connectionLost(client);
    await settled();
    expect(published).toEqual(["second"]);
    connect("c", will("third"));
    connect("c");
    kept.connectionLost(client);
    await settled();
    expect([published, isStored("c")]).toEqual([["second"], false]);
  });

  test("wait for their delay, or for the session's end if that is sooner; a return within it keeps them unsaid", async () => {
    const { context, store, wills: kept, published, connect, pass } = wills();
    const [late, short, back] = [
      connect("late", will("late", 10), 100),
      connect("short", will("short", 10), 4),
      connect("back", will("back", 10), 100),
    ];
    await settled();
    for (const client of [late, short, back]) kept.connectionLost(client);
    await settled();
    // Should this broker die, the delay does not begin anew.
    const stored = store.tree.read({ kind: "get", path: willPath("here", "late") });
    if (typeof stored !== "object" || !("data" in stored)) throw new Error("it is not stored");
    expect(decodeWill(stored.data).lostAt).toBe(context.clock.wall());
    pass(3999);
    await settled();
    expect(published).toEqual([]);
    pass(1);
    await settled();
    expect(published).toEqual(["short"]);
    connect("back");
    pass(10_000);
    await settled();
    expect(published).toEqual(["short", "late"]);
  });

  test("that wait for credits lie in the store; those of a client that is back go, and never take its new one", async () => {
    const { wills: kept, published, waiting, parts, connect, isStored } = wills();
    const [back, silent, late] = [
      connect("back", will("old")),
      connect("silent", will("x")),
      connect("late", will("y")),
    ];
    await settled();
    parts.isPoor = true;
    for (const client of [back, silent, late]) kept.connectionLost(client);
    await settled();
    expect([published, isStored("back"), isStored("late"), kept.holds("late")]).toEqual([[], true, true, true]);
    connect("back", will("new"));
    connect("silent");
    parts.isPoor = false;
    for (const tryAgain of waiting.splice(0)) tryAgain();
    await settled();
    expect(published).toEqual(["y"]);
    expect([isStored("back"), isStored("silent"), isStored("late")]).toEqual([true, false, false]);
    kept.connectionLost(back);
    await settled();
    expect(published).toEqual(["y", "new"]);
  });

  test("that wait for credits when the lease ends are left to whoever finds them", async () => {
    const { wills: kept, published, waiting, parts, connect, isStored } = wills();
    const client = connect("c", will("t"));
    await settled();
    parts.isPoor = true;
    kept.connectionLost(client);
    await settled();
    kept.fence();
    parts.isPoor = false;
    for (const tryAgain of waiting.splice(0)) tryAgain();
    await settled();
    expect([published, isStored("c"), kept.holds("c")]).toEqual([[], true, false]);
  });

  test("that another broker has removed are not published: the client is back there", async () => {
    const { context, store, wills: kept, published, connect } = wills();
    context.peers.set("b", Object.assign(new Peer("b"), { epoch: 3 }));
    const client = connect("c", will("t"));
    await settled();
    store.remove(willPath("here", "c"));
    kept.connectionLost(client);
    await settled();
    expect([published, kept.holds("c")]).toEqual([[], false]);
  });

  test("are not overtaken by what the client says next, for a while", async () => {
    const { wills: kept, parts, waiting, published, connect, pass } = wills();
    parts.isSlow = true;
    for (const id of ["a", "b"]) kept.connectionLost(connect(id, will(id)));
    await settled();
    const gone: string[] = [];
    for (const id of ["a", "b", "nobody"]) kept.whenPublished(id, () => void gone.push(id));
    expect(gone).toEqual(["nobody"]);
    waiting[0]!();
    await settled();
    expect([gone, published]).toEqual([["nobody", "a"], ["a"]]);
    pass(claimPatienceMs);
    expect(gone).toEqual(["nobody", "a", "b"]);
    waiting[1]!();
    await settled();
    expect(gone).toEqual(["nobody", "a", "b"]);
  });

  test("stay in the store when the broker ends, is fenced, or sends its clients elsewhere", async () => {
    const { context, wills: kept, published, connect, isStored } = wills();
    const client = connect("sent", will("sent"));
    await settled();
    context.self.isDraining = true;
    kept.connectionLost(client);
    await settled();
    expect([published, isStored("sent"), kept.holds("sent")]).toEqual([[], true, true]);
    kept.cameBack("sent");
    await settled();
    expect([isStored("sent"), kept.holds("sent")]).toEqual([false, false]);
    context.self.isDraining = false;
    const last = connect("last", will("last"));
    await settled();
    kept.retire();
    kept.connectionLost(last);
    await settled();
    expect([published, isStored("last")]).toEqual([[], true]);
  });
});

describe("wills that may remain in the store", () => {
  function scene() {
    const made = wills();
    const peer: Peer = Object.assign(new Peer("b"), { epoch: 3 });
    made.context.peers.set("b", peer);
    /** Publishes a will, and has something done before the store answers. */
    const publishUnless = (client: LocalSession, what: () => void): Promise<void> => {
      made.store.answers = false;
      made.wills.publishNow(client);
      what();
      made.store.answers = true;
      while (made.store.waiting > 0) made.store.answer();
      return settled();
    };
    return { ...made, peer, publishUnless };
  }

  test("are those that are there without contact, and are not once they are removed or published", async () => {
    const { store, wills: kept, connect } = scene();
    const [left, lost] = ["left", "lost"].map((id) => connect(id, will(id)));
    const remain = (): boolean[] => ["left", "lost", "nobody"].map((id) => kept.mayRemain(id));
    expect(remain()).toEqual([false, false, false]);
    store.turn("SUSPENDED");
    expect(remain()).toEqual([true, true, false]);
    kept.forget(left!);
    kept.connectionLost(lost!);
    await settled();
    expect(remain()).toEqual([false, false, false]);
  });

  test("are left to their publication, if that has begun, by who gives the client up", async () => {
    const { wills: kept, published, connect, publishUnless } = scene();
    const client = connect("c", will("t"), 100);
    await publishUnless(client, () => kept.forget(client));
    expect(published).toEqual(["t"]);
  });

  test("are not published, nor removed, once the client is let in with another one", async () => {
    const { store, wills: kept, published, connect, publishUnless } = scene();
    const stored = (): string | undefined => {
      const node = store.tree.read({ kind: "get", path: willPath("here", "c") });
      return typeof node === "object" && "data" in node ? topicOf(decodeWill(node.data).publish) : undefined;
    };
    const client = connect("c", will("before"));
    await publishUnless(client, () => connect("c", will("now")));
    expect([published, stored()]).toEqual([[], "now"]);
    kept.connectionLost(client);
    await settled();
    expect([published, stored()]).toEqual([["now"], undefined]);
  });

  test("are removed before a client is let in that comes without one", async () => {
    const { wills: kept, connect, isStored, publishUnless } = scene();
    await publishUnless(connect("c", will("t")), () => kept.fence());
    expect([isStored("c"), kept.mayRemain("c")]).toEqual([true, true]);
    connect("c");
    await settled();
    expect([isStored("c"), kept.mayRemain("c")]).toEqual([false, false]);
  });

  test("are those that were left when the lease was over, until the store has been looked through", async () => {
    const { context, peer, store, wills: kept, connect } = scene();
    const membership = { members: () => [], isAlive: () => false } as unknown as Membership;
    const orphaned = new OrphanedWills(context, { membership, wills: kept, isObtaining: () => false });
    connect("here", will("here"));
    store.put(willPath("dead", "there"), encodeWill({ ...will("there"), epoch: 3 }));
    await orphaned.look();
    const fence = (): void => {
      context.self.fences++;
      kept.fence();
      orphaned.fence();
    };
    const remain = (): boolean[] => ["here", "there"].map((id) => kept.mayRemain(id));
    fence();
    expect(remain()).toEqual([true, true]);
    // Whoever is alone publishes none of them before its client has come.
    peer.epoch = undefined;
    expect(remain()).toEqual([false, false]);
    peer.epoch = 3;
    const looking = orphaned.look();
    fence();
    await looking;
    expect(remain()).toEqual([true, true]);
    await orphaned.look();
    expect(remain()).toEqual([false, false]);
  });
});

describe("wills that no connection stands behind", () => {
  function scene() {
    const made = wills();
    const { context, store } = made;
    const alive = new Set<string>();
    const membership = {
      members: () => [],
      isAlive: (id: string, epoch: number) => alive.has(`${id} ${epoch}`),
    } as unknown as Membership;
    const obtaining = new Set<string>();
    const orphaned = new OrphanedWills(context, {
      ...{ membership, wills: made.wills },
      isObtaining: (clientId) => obtaining.has(clientId),
    });
    const leave = (broker: string, clientId: string, more = {}): void =>
      store.put(willPath(broker, clientId), encodeWill({ ...will(clientId), epoch: 3, ...more }));
    const look = async (): Promise<void> => {
      await orphaned.look();
      await settled();
    };
    const wait = async (ms: number): Promise<void> => {
      made.pass(ms);
      // One step after another asks the store.
      for (let step = 0; step < 4; step++) await settled();
    };
    store.put("/wills");
    return { ...made, alive, obtaining, orphaned, leave, look, wait };
  }

  test("are published when their clients have had a while to come back, once, and are gone", async () => {
    const { store, published, leave, look, wait } = scene();
    leave("dead", "c");
    await look();
    await look();
    await wait(willGraceMs - 1);
    expect(published).toEqual([]);
    await wait(1);
    expect([published, store.textOf(willPath("dead", "c"))]).toEqual([["c"], undefined]);
    await wait(10 * willGraceMs);
    expect(published).toEqual(["c"]);
  });

  test("of brokers that live, of clients that are taken in here, and what is no will, are left alone", async () => {
    const { context, store, published, alive, obtaining, leave, look, wait } = scene();
    alive.add("b 3");
    leave("b", "theirs");
    obtaining.add("coming");
    leave("here", "coming");
    store.put(willPath("dead", "strange"), "{}");
    await look();
    await wait(10 * willGraceMs);
    expect(published).toEqual([]);
    expect(store.textOf(willPath("b", "theirs"))).toBeDefined();
    expect(context.strangers.count).toBe(1);
  });

  test("of this broker's own connections that it was told to close are no others: it lives, and yet they are published", async () => {
    const { context, published, alive, leave, look, wait } = scene();
    alive.add(`here ${context.self.epoch}`);
    leave("here", "closed", { epoch: context.self.epoch });
    await look();
    await wait(willGraceMs);
    expect(published).toEqual(["closed"]);
  });

  test("of a broker that was not known to live when they were found are left alone", async () => {
    const { store, published, alive, leave, look, wait } = scene();
    leave("b", "theirs");
    await look();
    alive.add("b 3");
    await wait(10 * willGraceMs);
    expect([published, store.textOf(willPath("b", "theirs"))]).toEqual([[], expect.any(String)]);
  });

  test("of clients that come back, anywhere, are removed and not said, also where they are found later", async () => {
    const { context, store, published, orphaned, leave, look, wait } = scene();
    context.peers.set("b", new Peer("b"));
    leave("dead", "back");
    await look();
    context.journal.commit(orphaned.cameBack("back", { by: "b", isCurrent: () => true }));
    context.journal.commit(orphaned.cameBack("first", { by: "b", isCurrent: () => true }));
    await wait(10 * willGraceMs);
    expect([published, store.textOf(willPath("dead", "back"))]).toEqual([[], undefined]);
    leave("dead", "first");
    await look();
    await wait(10 * willGraceMs);
    expect([published, store.textOf(willPath("dead", "first"))]).toEqual([[], undefined]);
    // The broker where it is has died, and it is not known to be anywhere.
    orphaned.died("b");
    leave("dead", "first");
    await look();
    await wait(10 * willGraceMs);
    expect(published).toEqual(["first"]);
  });

  test("wait for their delay, counted from when the connection was lost, and longer for who was sent elsewhere", async () => {
    const { context, published, leave, look, wait, store } = scene();
    const wall = context.clock.wall();
    const session = {
      owner: "dead",
      epoch: 3,
      connected: true,
      version: 5,
      expiryInterval: 100,
      expiresAt: null,
    } as const;
    for (const id of ["delayed", "half"]) store.put(sessionPath(id), encodeSession(session));
    leave("dead", "delayed", { delay: 20 });
    leave("dead", "half", { delay: 20, lostAt: wall - 10_000 });
    leave("dead", "sent", { movedAt: wall });
    // Its session has ended with its connection: the delay does not count.
    leave("dead", "ended", { delay: 20 });
    await look();
    await wait(willGraceMs);
    expect(published).toEqual(["ended"]);
    await wait(movedWillMs - willGraceMs);
    expect(published.toSorted()).toEqual(["ended", "half", "sent"]);
    await wait(20_000 - movedWillMs);
    expect(published.at(-1)).toBe("delayed");
  });

  test("that were set anew while they were waited for are others", async () => {
    const { published, leave, look, wait } = scene();
    leave("dead", "c");
    await look();
    leave("dead", "c");
    await wait(willGraceMs);
    expect(published).toEqual([]);
    await look();
    await wait(willGraceMs);
    expect(published).toEqual(["c"]);
  });

  test("wait while there is no contact, or the lease is over", async () => {
    const { context, store, published, leave, look, wait } = scene();
    leave("dead", "c");
    await look();
    store.turn("SUSPENDED");
    await wait(2 * willGraceMs);
    store.turn("CONNECTED");
    context.self.isFenced = true;
    await wait(willGraceMs);
    expect(published).toEqual([]);
    context.self.isFenced = false;
    await wait(willGraceMs);
    expect(published).toEqual(["c"]);
  });
});
