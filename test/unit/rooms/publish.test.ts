/** The room `publish`, part by part: whether a publish may be taken, who is held back, and what is waited for. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import {
  outputBytesHigh,
  outputBytesLow,
  refusalsLogMs,
  refusalsReportMs,
  retainedPatienceMs,
  stallCheckMs,
  stallProgressBytesMin,
} from "../../../src/base/limits.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { BackPressure, type Publisher } from "../../../src/broker/publish/back-pressure.ts";
import { CatchingUp } from "../../../src/broker/publish/catching-up.ts";
import { type AdmittedPublish, PublishAdmission } from "../../../src/broker/publish/publish-admission.ts";
import { holdersOf, Refusals } from "../../../src/broker/publish/refusals.ts";
import type { RetainedStore } from "../../../src/broker/publish/retained-store.ts";
import { reachOf } from "../../../src/broker/publish/run.ts";
import type { SharedSubscriptions } from "../../../src/broker/publish/shared-subscription.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { type RoomOptions, room } from "../../support/room.ts";

const message = (payload: string, { topic = "t", retain = false, qos = 1 as 0 | 1 | 2 } = {}) =>
  makePublish(encodeUtf8(topic), encodeUtf8(payload), { qos, retain });

describe("refusals", () => {
  test("are counted each, logged now and then by their causes, with how many there were", () => {
    const { context, lines, pass } = room();
    const refusals = new Refusals(context);
    for (let count = 0; count < 3; count++) refusals.note("mailbox", "it is full", "c".repeat(1000));
    refusals.note("size", "too large", "c");
    expect(context.metrics.refused).toBe(4);
    expect(lines.map(({ facts, text }) => [facts.refused, text])).toEqual([
      [1, "publish refused: it is full"],
      [1, "publish refused: too large"],
    ]);
    expect(String(lines[0]!.facts.client).length).toBeLessThan(200);
    pass(refusalsLogMs);
    refusals.note("mailbox", "it is full", "c");
    expect(lines.at(-1)!.facts.refused).toBe(3);
  });

  test("by the bank are told to the tree: the first at once, then all of a while together", () => {
    const { context, pass } = room();
    const told: number[] = [];
    context.bankAccount.reportRefused = (count) => void told.push(count);
    const refusals = new Refusals(context);
    refusals.note("bank", "empty", "c");
    pass(0);
    expect(told).toEqual([1]);
    for (let count = 0; count < 5; count++) refusals.note("bank", "empty", "c");
    refusals.note("mailbox", "full", "c");
    pass(refusalsReportMs - 1);
    expect(told).toEqual([1]);
    pass(1);
    expect(told).toEqual([1, 6]);
    pass(10 * refusalsReportMs);
    expect(told).toEqual([1, 6]);
  });

  test("name who holds the most", () => {
    const { context } = room();
    const { account } = context.bankAccount;
    for (const [path, credits] of [
      ["/topics/small/=1", 1000],
      ["/topics/large/=1", 9000],
      ["/topics/large/=2", 9000],
      ["/retained/kept", 5000],
    ] as const)
      account.found(path, { credits, payer: "" });
    expect(holdersOf(context, 2)).toEqual([
      { topic: "large", credits: 18 },
      { topic: "kept", credits: 5 },
    ]);
  });
});

describe("whether a publish may be taken", () => {
  interface Given {
    /** Sessions that outlive their connections, and subscribe at QoS 1. */
    readonly sessions?: number;
    /** Whether their mailboxes hold all that they may. */
    readonly areFull?: boolean;
    /** Whether they have used up their numbers. */
    readonly areSpent?: boolean;
    /** Whether there may be no more retained messages. */
    readonly isFull?: boolean;
  }

  function admission(
    { sessions = 0, areFull = false, areSpent = false, isFull = false }: Given,
    options: RoomOptions = {},
  ) {
    const made = room(options);
    const { router } = made.context;
    for (let number = 0; number < sessions; number++) {
      const client = made.session(`c${number}`, 100);
      const filter = parseFilter("t")!;
      const plain = { noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;
      router.subscribe(client, { filter, qos: 1, ...plain });
    }
    const retainedStore = { isFull: () => isFull, priceOf: () => 40_000 } as unknown as RetainedStore;
    const shared = { refuses: () => areFull, isSpent: () => areSpent } as unknown as SharedSubscriptions;
    const route = router.route(encodeUtf8("t"), 0, 1)!;
    return { ...made, route, admission: new PublishAdmission(made.context, { shared, retainedStore }) };
  }

  test("it costs nothing where nothing may have to be stored, also on a full disk", () => {
    const { admission: admit, context, store, route } = admission({});
    store.isFull = true;
    expect(admit.admit(message("x"), route, undefined)).toEqual({
      payment: undefined,
      retainedPayment: undefined,
      idPayment: undefined,
    });
    expect(context.bankAccount.account.bound).toBe(0);
  });

  test("each copy is set aside, and free again when the payment is closed", () => {
    const one = admission({ sessions: 1 });
    const three = admission({ sessions: 3 });
    const paid = [one, three].map(({ admission: admit, context, route }) => {
      const admitted = admit.admit(message("x"), route, undefined);
      expect(admitted).not.toHaveProperty("why");
      const { bound } = context.bankAccount.account;
      if (!("why" in admitted)) admitted.payment!.close();
      expect(context.bankAccount.account.bound).toBe(0);
      return bound;
    });
    expect(paid[1]).toBe(3 * paid[0]!);
  });

  test("it waits for a mailbox that has used up its numbers, and a will does not", () => {
    const ends = admission({ sessions: 1, areSpent: true });
    const denial = ends.admission.admit(message("x"), ends.route, undefined);
    expect(denial).toMatchObject({ cause: "mailbox", isHopeful: true });
    const wait = { since: ends.context.clock.now(), hopeUntil: undefined };
    if ("why" in denial) expect(ends.admission.isFinal(denial, wait)).toBe(false);
    expect(ends.admission.admitWill(message("x"), ends.route, undefined)).not.toHaveProperty("why");
    // Where full mailboxes refuse they refuse wills, too.
    const refuses = admission({ sessions: 1, areFull: true }, { mailboxFull: "refuse" });
    const refused = refuses.admission.admitWill(message("x"), refuses.route, undefined);
    expect(refused).toMatchObject({ cause: "mailbox", isHopeful: false });
  });

  test.each<[string, Given, (made: ReturnType<typeof admission>) => void, string, boolean]>([
    ["a mailbox is full", { sessions: 1, areFull: true }, () => {}, "mailbox", false],
    ["there are too many retained messages", { isFull: true }, () => {}, "retained", false],
    ["the disk is full", { sessions: 1 }, ({ store }) => Object.assign(store, { isFull: true }), "disk", false],
    [
      "the branch is empty",
      { sessions: 1 },
      ({ context }) => Object.assign(context.bankAccount.account, { grant: 0 }),
      "bank",
      false,
    ],
  ])("it may not, and nothing is set aside, when %s", (_, given, change, cause, isHopeful) => {
    const made = admission(given);
    change(made);
    const denial = made.admission.admit(message("x", { retain: true }), made.route, undefined);
    expect(denial).toMatchObject({ cause, isHopeful, why: expect.stringMatching(/.{10}/) });
    expect(made.context.bankAccount.account.bound).toBe(0);
  });

  test("what is paid for in part is paid for not at all", () => {
    const { admission: admit, context, route } = admission({ sessions: 1 });
    const { account } = context.bankAccount;
    account.grant = context.bankAccount.prices.ofCopy(message("x"), "c0", []) + 100;
    expect(admit.admit(message("x", { retain: true }), route, undefined)).toMatchObject({ cause: "bank" });
    expect(account.bound).toBe(0);
  });

  test("the bank is asked for all of it at once, and each part is taken and freed by itself", () => {
    const { admission: admit, context, route } = admission({ sessions: 1 });
    const { bankAccount } = context;
    const asked: number[] = [];
    const reserve = bankAccount.reserve.bind(bankAccount);
    bankAccount.reserve = (credits, ...whose) => {
      asked.push(credits);
      return reserve(credits, ...whose);
    };
    const admitted = admit.admit(message("x", { retain: true }), route, undefined) as AdmittedPublish;
    const all = bankAccount.account.bound;
    expect(asked).toEqual([all]);
    admitted.retainedPayment!.close();
    expect(bankAccount.account.bound).toBe(all - 40_000);
    admitted.payment!.close();
    admitted.idPayment!.close();
    expect(bankAccount.account.bound).toBe(0);
  });

  test("QoS 0 goes to full mailboxes: it is not stored there", () => {
    const { admission: admit, route } = admission({ sessions: 1, areFull: true });
    expect(admit.admit(message("x", { qos: 0 }), route, undefined)).not.toHaveProperty("why");
  });
});

describe("who receives a message with a promise", () => {
  const plain = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;

  function routes() {
    const made = room();
    const { router } = made.context;
    const route = router.route(encodeUtf8("t"), 0, 1)!;
    return {
      subscribe: (who: LocalSession | Peer, filter = "t", more = {}) =>
        void router.subscribe(who, { filter: parseFilter(filter)!, ...plain, ...more }),
      reach: () => reachOf(router.refresh(route)),
      ...made,
    };
  }

  test("nobody, or sessions here that end with their connections: nothing is stored", () => {
    const { reach, subscribe, session } = routes();
    expect(reach()).toBe("here");
    subscribe(session("a"));
    subscribe(session("b"), "+");
    expect(reach()).toBe("here");
  });

  test("such sessions and other brokers, which pass it on to theirs", () => {
    const { reach, subscribe, session } = routes();
    subscribe(session("a"));
    subscribe(new Peer("there"));
    expect(reach()).toBe("live");
  });

  test("anybody, as soon as one subscribes for whom it may have to be stored, or who is asked apart", () => {
    const others: readonly [LocalSession | "new", string, object][] = [
      ["new", "$share/g/t", {}],
      ["new", "t", { noLocal: true }],
      [room().session("kept", 100), "t", {}],
    ];
    for (const [who, filter, more] of others) {
      const { reach, subscribe, session } = routes();
      subscribe(session("a"));
      expect(reach()).toBe("here");
      subscribe(who === "new" ? session("b") : who, filter, more);
      expect(reach()).toBe("any");
    }
  });
});

describe("publishers that are held back", () => {
  function scene() {
    const { context, pass } = room();
    const resumed: string[] = [];
    const told: string[] = [];
    const names = new Map<Publisher, string>();
    const pressure = new BackPressure(context.timers, () => context.clock.now(), {
      resume: (held) => void resumed.push(names.get(held)!),
      holdPeer: (peer) => void told.push(peer.id),
    });
    const connection = (name: string) => {
      const made = { writer: { unsent: 0, taken: 0 }, hold: () => void told.push(name), route: undefined };
      names.set(made as unknown as Connection, name);
      return made as unknown as Connection & { writer: { unsent: number; taken: number } };
    };
    return { pressure, resumed, told, names, connection, pass };
  }

  test("go on in turn as the subscriber drains, each once", () => {
    const { pressure, resumed, told, connection } = scene();
    const slow = connection("slow");
    slow.writer.unsent = outputBytesHigh + 1;
    for (const name of ["a", "b"]) {
      const publisher = connection(name);
      pressure.hold(publisher, slow);
      pressure.hold(publisher, slow);
    }
    // Nobody is held for what it does to itself.
    pressure.hold(slow, slow);
    expect(told).toEqual(["a", "b"]);
    pressure.drained(slow);
    expect(resumed).toEqual([]);
    slow.writer.unsent = outputBytesLow;
    pressure.drained(slow);
    expect(resumed).toEqual(["a", "b"]);
  });

  test("that two subscribers hold go on when neither does", () => {
    const { pressure, resumed, connection } = scene();
    const [one, two, publisher] = [connection("one"), connection("two"), connection("p")];
    for (const slow of [one, two]) pressure.hold(publisher, slow);
    pressure.drained(one);
    expect(resumed).toEqual([]);
    pressure.forget(two);
    expect(resumed).toEqual(["p"]);
  });

  test("go on when a subscriber takes too little, which is not waited for again before it has caught up", () => {
    const { pressure, resumed, told, connection, pass } = scene();
    const [slow, fast, publisher] = [connection("slow"), connection("fast"), connection("p")];
    for (const one of [slow, fast]) one.writer.unsent = outputBytesHigh + 1;
    pressure.hold(publisher, slow);
    pressure.hold(publisher, fast);
    fast.writer.taken += stallProgressBytesMin;
    pass(stallCheckMs);
    // The fast one still holds it.
    expect(resumed).toEqual([]);
    pass(stallCheckMs);
    expect(resumed).toEqual(["p"]);
    told.length = 0;
    pressure.hold(publisher, slow);
    expect(told).toEqual([]);
    slow.writer.unsent = 0;
    pressure.drained(slow);
    pressure.hold(publisher, slow);
    expect(told).toEqual(["p"]);
  });

  test("may be other brokers, which are told", () => {
    const { pressure, resumed, told, names, connection } = scene();
    const peer = new Peer("b");
    names.set(peer, "b");
    const slow = connection("slow");
    pressure.hold(peer, slow);
    pressure.drained(slow);
    expect([told, resumed]).toEqual([["b"], ["b"]]);
  });

  test("are held before their chunk is looked at, if a receiver of what they published last is behind", () => {
    const { pressure, connection } = scene();
    const [slow, publisher, other] = [connection("slow"), connection("p"), connection("other")];
    Object.assign(publisher, { route: { targets: [{ subscriber: { connection: slow } }] } });
    slow.writer.unsent = outputBytesHigh + 1;
    expect(pressure.holdIfBehind(publisher)).toBe(false);
    pressure.hold(other, slow);
    expect([pressure.holdIfBehind(publisher), pressure.holdIfBehind(other)]).toEqual([true, false]);
  });
});

describe("waiting for what others have retained", () => {
  function scene(store = new MemoryStore()) {
    const made = room({ store });
    const applied: (() => void)[] = [];
    const catching = new CatchingUp(made.context, (done) => void applied.push(done));
    const passed: string[] = [];
    const ask = (name: string): void => catching.pass(() => void passed.push(name));
    return { ...made, applied, passed, ask };
  }

  test("is none alone, or without contact", () => {
    const alone = scene(new MemoryStore({ isAlone: true }));
    alone.ask("alone");
    const cut = scene();
    cut.store.turn("SUSPENDED");
    cut.ask("cut");
    expect([alone.passed, cut.passed]).toEqual([["alone"], ["cut"]]);
  });

  test("is one question for all who come while it is under way, and another for those after", () => {
    const { applied, passed, ask } = scene();
    ask("one");
    for (const name of ["two", "three"]) ask(name);
    expect([passed, applied.length]).toEqual([[], 1]);
    applied.shift()!();
    expect([passed, applied.length]).toEqual([["one"], 1]);
    applied.shift()!();
    expect(passed).toEqual(["one", "two", "three"]);
  });

  test("ends when the store does not answer; an answer that comes then is nobody's", () => {
    const { applied, passed, ask, pass } = scene();
    ask("one");
    pass(retainedPatienceMs - 1);
    expect(passed).toEqual([]);
    pass(1);
    expect(passed).toEqual(["one"]);
    ask("two");
    applied.shift()!();
    expect(passed).toEqual(["one"]);
    applied.shift()!();
    expect(passed).toEqual(["one", "two"]);
  });
});
