/** The room `peers`, part by part: what this broker says of itself, and what it asks others before it answers. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../../src/base/bytes.ts";
import {
  fencePatienceMs,
  interestLateMs,
  interestPageMax,
  leftoversAfterMs,
  mailCountEveryMax,
} from "../../../src/base/limits.ts";
import { filterOf, Interest } from "../../../src/broker/peers/interest.ts";
import type { Links } from "../../../src/broker/peers/links.ts";
import { countStored, recount } from "../../../src/broker/peers/mail-count.ts";
import type { Membership } from "../../../src/broker/peers/membership.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession } from "../../../src/broker/peers/remote-session.ts";
import { SessionRegistry } from "../../../src/broker/peers/session-registry.ts";
import { stampAll } from "../../../src/broker/peers/stamps.ts";
import { SubscriptionBarrier } from "../../../src/broker/peers/subscription-barrier.ts";
import type { SubscriptionDirectory } from "../../../src/broker/peers/subscription-directory.ts";
import { interestPath, mailPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { encodeSession } from "../../../src/mail/records.ts";
import { decodeStamp, encodeStamp } from "../../../src/mail/stamp.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { type RoomOptions, room, settled } from "../../support/room.ts";

/** Links that keep what is said, and members as the test names them. */
function cluster(...ids: readonly string[]) {
  const peers = ids.map((id) => Object.assign(new Peer(id), { epoch: 1 }));
  const said: [string, Record<string, unknown>][] = [];
  const links = { sendControl: ({ id }: Peer, what: Record<string, unknown>) => void said.push([id, what]) };
  const membership = { members: () => peers };
  return { peers, said, links: links as unknown as Links, membership: membership as unknown as Membership };
}

describe("stamps", () => {
  test.each<[string, ReturnType<typeof decodeStamp>]>([
    ["17", 17],
    ["", "unnamed"],
    ["9007199254740991", 2 ** 53 - 1],
    ["9007199254740992", undefined],
    ["12345678901234567", undefined],
    ["1 ", undefined],
    ["-1", undefined],
    ["{}", undefined],
  ])("%p is read as %p", (text, stamp) => {
    expect(decodeStamp(encodeUtf8(text))).toBe(stamp);
    if (typeof stamp === "number") expect(decodeStamp(encodeStamp(stamp))).toBe(stamp);
  });

  test("are written over what stands there, each in its way, and not where they are right, or not wanted any more", async () => {
    const { context, store } = room();
    for (const [name, data] of [
      ["right", "7"],
      ["earlier", "6"],
      ["format1", ""],
      ["strange", "?"],
      ["unwanted", "6"],
    ] as const)
      store.put(`/subscribers/${name}/@here`, data);
    const paths = ["none", "right", "earlier", "format1", "strange", "unwanted"].map((name) =>
      interestPath(name, "here"),
    );
    const operations = await stampAll(context, paths, {
      isCurrent: (path) => !path.includes("unwanted"),
      unpaid: () => {},
    });
    expect(operations.map(({ kind, path }) => [kind, filterOf(path)])).toEqual([
      ["announce", "none"],
      ["put", "earlier"],
      ["announce", "format1"],
      ["put", "strange"],
    ]);
    context.journal.commitAll(operations, {});
    for (const name of ["none", "right", "earlier", "format1", "strange"])
      expect([name, store.textOf(interestPath(name, "here"))]).toEqual([name, name === "right" ? "7" : "07"]);
    expect(store.textOf(interestPath("unwanted", "here"))).toBe("6");
  });
});

describe("interest", () => {
  function scene(options: RoomOptions = {}) {
    const made = room(options);
    const interest = new Interest(made.context);
    const subscribe = (text: string): number => {
      const price = interest.priceOf(text);
      const payment = price === 0 ? undefined : made.context.bankAccount.reserve(price);
      const operations = interest.subscribed(text, { payment, payer: "" });
      made.context.journal.commitAll(operations, {});
      return operations.length;
    };
    const stands = (text: string): string | undefined => made.store.textOf(interestPath(text, "here"));
    return { ...made, interest, subscribe, stands };
  }

  test("is written once for all who have a filter, and removed with the last of them", () => {
    const { interest, subscribe, stands } = scene();
    expect([subscribe("a/+"), subscribe("a/+")]).toEqual([1, 0]);
    expect(stands("a/+")).toBe("07");
    interest.unsubscribed("a/+");
    expect([stands("a/+"), interest.announces("a/+")]).toEqual(["07", true]);
    interest.unsubscribed("a/+");
    expect([stands("a/+"), interest.announces("a/+")]).toEqual([undefined, false]);
  });

  test("that comes back before it is removed costs nothing, and stays", () => {
    const { store, interest, subscribe, stands } = scene();
    for (const text of ["first", "second"]) subscribe(text);
    store.answers = false;
    interest.unsubscribed("first");
    interest.unsubscribed("second");
    // The removal of the first is under way; the second waits its turn.
    expect(subscribe("second")).toBe(0);
    expect(subscribe("first")).toBe(1);
    store.answers = true;
    while (store.waiting > 0) store.answer();
    expect([stands("first"), stands("second")]).toEqual(["07", "07"]);
  });

  test("is removed page by page: what comes meanwhile goes between", () => {
    const { store, interest, subscribe } = scene();
    const texts = Array.from({ length: 2 * interestPageMax + 1 }, (_, index) => `many/${index}`);
    for (const text of texts) subscribe(text);
    store.answers = false;
    for (const text of texts) interest.unsubscribed(text);
    let rounds = 0;
    let isTidy = false;
    interest.whenTidy(() => {
      isTidy = true;
    });
    for (; store.waiting > 0 && rounds < 100; rounds++) {
      expect(isTidy).toBe(false);
      store.answer(1);
    }
    expect(rounds).toBeGreaterThanOrEqual(3);
    expect([isTidy, [...store.tree.nodes.keys()].filter((path) => path.endsWith("@here"))]).toEqual([true, []]);
  });

  test("of a client that has left before a broker alone could announce it is not removed in vain", async () => {
    const { store, interest, subscribe, stands, pass, context } = scene({ store: new MemoryStore({ isAlone: true }) });
    for (const text of ["stays", "leaves"]) expect(subscribe(text)).toBe(0);
    store.answers = false;
    pass(interestLateMs);
    expect(store.waiting).toBe(1);
    interest.unsubscribed("leaves");
    store.answers = true;
    store.answer();
    await Bun.sleep(0);
    expect([stands("stays"), stands("leaves"), interest.announces("leaves")]).toEqual(["07", undefined, false]);
    expect(context.journal.repairs).toBe(0);
    interest.unsubscribed("stays");
    expect(stands("stays")).toBe(undefined);
  });

  test("of an earlier life is taken over by who comes back, and the rest removed after a while", () => {
    const { store, interest, subscribe, stands, pass } = scene();
    for (const text of ["taken", "left"]) {
      store.put(interestPath(text, "here"), "3");
      interest.found(text, 3);
    }
    expect(subscribe("taken")).toBe(1);
    expect([stands("taken"), stands("left")]).toEqual(["07", "3"]);
    pass(leftoversAfterMs - 1);
    expect(stands("left")).toBe("3");
    pass(2);
    expect([stands("taken"), stands("left")]).toEqual(["07", undefined]);
  });

  test("that somebody has removed is written again, and names the new epoch after this broker has a new one", async () => {
    const { context, store, interest, subscribe, stands } = scene();
    for (const text of ["a", "b"]) subscribe(text);
    store.remove(interestPath("a", "here"));
    interest.gone("a");
    interest.gone("nobody's");
    await settled();
    expect([stands("a"), stands("nobody's")]).toEqual(["07", undefined]);
    context.self.epoch = 9;
    interest.renew();
    await settled();
    expect([stands("a"), stands("b")]).toEqual(["09", "09"]);
  });
});

describe("the barrier before SUBACK", () => {
  function scene(...ids: readonly string[]) {
    const made = room();
    const others = cluster(...ids);
    const applied: (() => void)[] = [];
    const directory = { caughtUp: (done: () => void) => void applied.push(done) };
    const barrier = new SubscriptionBarrier(made.context, {
      ...others,
      directory: directory as unknown as SubscriptionDirectory,
    });
    const passed: string[] = [];
    const pass = (name: string, zxid: number): void => barrier.pass(zxid, () => void passed.push(name));
    return { ...made, ...others, barrier, applied, passed, ask: pass };
  }

  test("is none where nobody else is, or nothing was written", () => {
    const alone = scene();
    alone.ask("alone", 5);
    const together = scene("b");
    together.ask("nothing", 0);
    expect([alone.passed, together.passed, together.said]).toEqual([["alone"], ["nothing"], []]);
  });

  test("waits for each member, and asks for all who come meanwhile together", () => {
    const { barrier, peers, said, passed, ask } = scene("b", "c");
    ask("one", 5);
    for (const [name, zxid] of [
      ["two", 9],
      ["three", 7],
    ] as const)
      ask(name, zxid);
    expect(said.splice(0)).toEqual(["b", "c"].map((id) => [id, { say: "see", number: 1, zxid: 5 }]));
    barrier.seen(peers[0]!, 1);
    barrier.seen(peers[0]!, 1);
    expect(passed).toEqual([]);
    barrier.seen(peers[1]!, 1);
    expect(passed).toEqual(["one"]);
    expect(said.splice(0)).toEqual(["b", "c"].map((id) => [id, { say: "see", number: 2, zxid: 9 }]));
    // An answer to the question before is none to this one.
    for (const peer of peers) barrier.seen(peer, 1);
    expect(passed).toEqual(["one"]);
    for (const peer of peers) barrier.seen(peer, 2);
    expect(passed).toEqual(["one", "two", "three"]);
  });

  test("does not wait for who has left, nor longer than a keeper session lasts", () => {
    const { context, barrier, peers, passed, pass, ask } = scene("b", "c");
    ask("one", 5);
    barrier.left(peers[0]!);
    pass(context.options.zkSessionTimeout * 1000 + fencePatienceMs - 1);
    expect(passed).toEqual([]);
    pass(1);
    expect(passed).toEqual(["one"]);
  });

  test("has another broker wait until the transaction is routed by here, and answers over the link that it asked by", () => {
    const { store, barrier, peers, said, applied } = scene("b");
    const [peer] = peers;
    store.answers = false;
    barrier.see(peer!, 3, store.seenZxid + 1);
    expect([applied.length, store.waiting]).toEqual([0, 1]);
    store.answer();
    expect(said).toEqual([]);
    applied.pop()!();
    expect(said.splice(0)).toEqual([["b", { say: "seen", number: 3 }]]);
    barrier.see(peer!, 4, 0);
    peer!.link = {} as never;
    applied.pop()!();
    expect(said).toEqual([]);
  });

  test("has another broker wait until what was routed here before is committed", () => {
    const { context, store, barrier, peers, said, applied } = scene("b");
    store.answers = false;
    const create = (path: string): void =>
      context.journal.commit([{ kind: "create", path, data: noBytes, mode: "persistent" }]);
    create("/before");
    barrier.see(peers[0]!, 3, 0);
    applied.pop()!();
    create("/after");
    expect(said).toEqual([]);
    store.answer(1);
    expect(said).toEqual([["b", { say: "seen", number: 3 }]]);
  });
});

describe("sessions that are connected here", () => {
  function scene() {
    const made = room();
    const others = cluster("b");
    const registry = new SessionRegistry(made.context, others);
    const client = made.session("c", 100);
    const heard: string[] = [];
    Object.assign(client.mailbox!, {
      slipAdded: (name: string) => void heard.push(`+${name}`),
      forget: (name: string) => void heard.push(`-${name}`),
      load: () => void heard.push("load"),
    });
    const record = (owner: string, epoch: number): void =>
      made.store.put(
        sessionPath("c"),
        encodeSession({ owner, epoch, connected: true, version: 5, expiryInterval: 100, expiresAt: null }),
      );
    record("here", 7);
    return { ...made, ...others, registry, client, heard, record };
  }

  test("are told to the others when they come and go, and to who joins, under numbers that are nobody else's", () => {
    const { registry, client, session, peers, said } = scene();
    registry.begin(client);
    const second = session("d", 100);
    registry.begin(second);
    expect(client.handle).not.toBe(second.handle);
    expect([registry.has(client.handle), registry.has(0)]).toEqual([true, false]);
    registry.announceAll(peers[0]!);
    const { handle } = client;
    registry.end(client);
    registry.end(client);
    expect(said.map(([, what]) => what)).toEqual([
      { say: "hosting", sessions: [[handle, "c"]] },
      { say: "hosting", sessions: [[second.handle, "d"]] },
      {
        say: "hosting",
        sessions: [
          [handle, "c"],
          [second.handle, "d"],
        ],
      },
      { say: "unhosting", handles: [handle] },
    ]);
  });

  test("hear of their slips as they come and go, and of nothing else that lies there", () => {
    const { registry, client, store, heard } = scene();
    registry.begin(client);
    store.put(`${mailPath("c")}/0000000005`, "x");
    store.put(`${mailPath("c")}/strange`, "x");
    store.remove(`${mailPath("c")}/0000000005`);
    expect(heard).toEqual(["+0000000005", "-0000000005"]);
    registry.end(client);
    store.put(`${mailPath("c")}/0000000006`, "x");
    expect(heard.length).toBe(2);
  });

  test("are let go of when their record names another broker, or another life of this one, or is gone", () => {
    for (const change of [
      ({ record }: ReturnType<typeof scene>) => record("b", 3),
      ({ record }: ReturnType<typeof scene>) => record("here", 6),
      ({ store }: ReturnType<typeof scene>) => store.remove(sessionPath("c")),
    ]) {
      const made = scene();
      made.registry.begin(made.client);
      made.record("here", 7);
      expect(made.evicted).toEqual([]);
      change(made);
      expect(made.evicted).toEqual(["c"]);
    }
  });

  test("that another broker claims are its own if they are not connected here, else the record decides", () => {
    const { registry, client, evicted, record } = scene();
    registry.begin(client);
    registry.contest(client);
    expect(evicted).toEqual([]);
    registry.end(client);
    registry.contest(client);
    expect(evicted).toEqual(["c"]);
    record("b", 3);
  });
});

describe("how full mailboxes elsewhere are", () => {
  /** A session whose mailbox has just been counted. */
  const counted = (slips: number): RemoteSession => {
    const session = new RemoteSession("c");
    session.beginCount();
    session.endCount(slips);
    return session;
  };

  test("is counted again after so many that were stored from here, once at a time", () => {
    const { context, store } = room();
    for (let number = 0; number < 3; number++) store.put(`${mailPath("c")}/000000000${number}`);
    const session = counted(100);
    for (let stored = 1; stored < mailCountEveryMax; stored++) countStored(context, session);
    expect([session.mailCount, store.reads]).toEqual([100, 0]);
    countStored(context, session);
    expect([session.mailCount, store.reads]).toEqual([3, 1]);
    store.answers = false;
    recount(context, session);
    recount(context, session);
    expect(store.reads).toBe(2);
    store.answer();
    recount(context, session);
    expect(store.reads).toBe(3);
  });

  test("a mailbox that is not there is empty", () => {
    const { context } = room();
    const session = counted(100);
    recount(context, session);
    expect(session.mailCount).toBe(0);
  });
});
