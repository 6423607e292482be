/** SUBSCRIBE and UNSUBSCRIBE, handled alone: what is answered, when, and what of it is in the router and the store. */
import { describe, expect, test } from "bun:test";
import { filtersPerStepMax, retainedFeedsMax, storeLookMs } from "../../../src/base/limits.ts";
import { fullDiskWords } from "../../../src/broker/core/full-disk.ts";
import { PauseReason } from "../../../src/broker/delivery/connection.ts";
import type { MailDrops } from "../../../src/broker/drops/mail-drops.ts";
import { SubscribeHandler } from "../../../src/broker/handle-subscribe.ts";
import { Interest } from "../../../src/broker/peers/interest.ts";
import type { SubscriptionBarrier } from "../../../src/broker/peers/subscription-barrier.ts";
import type { RetainedStore } from "../../../src/broker/publish/retained-store.ts";
import { interestPath, sessionPath, subscriberPath } from "../../../src/coordinator/paths.ts";
import { decodeSubscription } from "../../../src/mail/records.ts";
import type { ProtocolVersion } from "../../../src/mqtt/constants.ts";
import { decodeControl } from "../../../src/mqtt/control.ts";
import type { FilterList } from "../../../src/mqtt/filter-list.ts";
import type { Subscription } from "../../../src/mqtt/subscription.ts";
import { framed, nearClient } from "../../support/near-client.ts";
import { permissionsBy } from "../../support/permissions.ts";
import type { AnyPacket } from "../../support/raw-client.ts";
import { type RoomOptions, room, settled } from "../../support/room.ts";

type Asked = string | { readonly topic: string; readonly qos?: number; readonly rh?: number };

function scene(options: RoomOptions = {}) {
  const made = room(options);
  const { context, store } = made;
  const interest = new Interest(context);
  /** The transactions that every broker is asked to have seen, and how to go on; 0: those that are under way anyway. */
  const barriers: { readonly zxid: number; readonly pass: () => void }[] = [];
  const state = { isOpen: true, isCaughtUp: true };
  const barrier = {
    pass: (zxid: number, done: () => void) => (state.isOpen ? done() : void barriers.push({ zxid, pass: done })),
    passed: (done: () => void) => (state.isOpen ? done() : void barriers.push({ zxid: 0, pass: done })),
  } as unknown as SubscriptionBarrier;
  const caughtUp: (() => void)[] = [];
  const passive = { concerns: () => false, entering: () => [], leaving: () => [], subscribed: () => {} };
  const drops = passive as unknown as MailDrops;
  const failed: string[] = [];
  const handler = new SubscribeHandler(context, {
    ...{ interest, barrier, drops },
    retainedStore: {
      caughtUp: (done: () => void) => (state.isCaughtUp ? done() : void caughtUp.push(done)),
    } as unknown as RetainedStore,
    resume: (connection, reason) => void (connection.release(reason) && connection.transport.resume()),
    fail: (_, error) => void failed.push(error.message),
  });
  const client = (clientId: string, { expiry = 0, version = 5 as ProtocolVersion } = {}) => {
    const near = nearClient(context.turn, version);
    const { connection } = near;
    const session = made.session(clientId, expiry);
    if (expiry > 0) store.put(sessionPath(clientId), "{}");
    connection.client = session;
    connection.channel.open();
    session.attach(connection, 100);
    /** The filters whose retained messages it is handed. */
    const fed: string[] = [];
    session.feed = ({ filter }: Subscription) => void fed.push(filter.text);
    const filtersOf = (packet: AnyPacket): FilterList =>
      (decodeControl(framed(packet, version), version) as { filters: FilterList }).filters;
    const subscribe = (...asked: readonly Asked[]): void => {
      const subscriptions = asked.map((one) => ({ qos: 1, ...(typeof one === "string" ? { topic: one } : one) }));
      handler.subscribe(connection, filtersOf({ cmd: "subscribe", messageId: 7, subscriptions }));
    };
    const unsubscribe = (...filters: readonly string[]): void =>
      handler.unsubscribe(connection, filtersOf({ cmd: "unsubscribe", messageId: 8, unsubscriptions: filters }));
    const codes = (): unknown => near.received()[0]?.granted;
    return { ...near, session, fed, subscribe, unsubscribe, codes };
  };
  const receives = (topic: string): string[] => {
    const bytes = new TextEncoder().encode(topic);
    return context.router.route(bytes, 0, bytes.length)!.targets.map(({ subscriber }) => subscriber.session.clientId);
  };
  return { ...made, state, barriers, caughtUp, failed, client, receives };
}

describe("SUBACK", () => {
  test("is sent when the store has the subscription and every broker routes by it", async () => {
    const { store, state, barriers, client, receives } = scene();
    const { received, subscribe } = client("c", { expiry: 100 });
    state.isOpen = false;
    store.answers = false;
    subscribe({ topic: "a/+", qos: 2 }, "b");
    await settled();
    // It is routed here at once, and answered to nobody.
    expect([receives("a/x"), barriers.length, received()]).toEqual([["c"], 0, []]);
    store.answers = true;
    store.answer();
    await settled();
    expect([barriers.map(({ zxid }) => zxid), received()]).toEqual([[store.tree.zxid], []]);
    barriers[0]!.pass();
    expect(received()).toMatchObject([{ cmd: "suback", messageId: 7, granted: [2, 1] }]);
    const data = new TextEncoder().encode(store.textOf(subscriberPath("a/+", "c")));
    expect(decodeSubscription("a/+", data).qos).toBe(2);
  });

  test("of a session that ends with its connection waits for the filter that another one here has just announced", async () => {
    const { store, state, barriers, client } = scene();
    const [first, second] = [client("first"), client("second")];
    state.isOpen = false;
    store.answers = false;
    first.subscribe("a");
    second.subscribe("a");
    await settled();
    expect([barriers.length, second.received()]).toEqual([0, []]);
    store.answers = true;
    store.answer();
    await settled();
    expect(store.textOf(interestPath("a", "here"))).toBeDefined();
    expect(barriers.map(({ zxid }) => zxid > 0)).toEqual([true, false]);
    for (const { pass } of barriers) pass();
    expect([first.codes(), second.codes()]).toEqual([[1], [1]]);
  });

  test("has a code for each filter, in their order, and what is refused is nowhere", () => {
    const { context, client, receives } = scene({ maxSubscriptions: 2 });
    const { session, subscribe, codes } = client("c");
    const permissions = permissionsBy("pattern read #\npattern deny secret/#");
    Object.defineProperty(session, "permissions", { value: permissions });
    subscribe({ topic: "a", qos: 0 }, "secret/x", "b/#/c", { topic: "b", qos: 2 }, "too/many");
    expect(codes()).toEqual([0, 0x87, 0x8f, 2, 0x97]);
    expect([receives("a"), receives("secret/x"), receives("too/many")]).toEqual([["c"], [], []]);
    const { forbidden, beyondLimit } = context.metrics;
    expect([forbidden.subscribe, beyondLimit.subscriptions]).toEqual([1, 1]);
    // One that is replaced is no new one.
    subscribe({ topic: "b", qos: 0 });
    expect(codes()).toEqual([0]);
  });

  test("refuses more while retained messages for very many subscriptions are on their way", () => {
    const { client, receives } = scene();
    const { session, subscribe, codes } = client("c");
    let pending = retainedFeedsMax - 1;
    Object.defineProperty(session, "feedsPending", { get: () => pending });
    subscribe("a");
    expect(codes()).toEqual([1]);
    pending++;
    subscribe("b", { topic: "c", rh: 2 });
    expect([codes(), receives("b"), receives("c")]).toEqual([[0x97, 1], [], ["c"]]);
  });

  test("before MQTT 5 has one code for all refusals", () => {
    const { client } = scene();
    const { subscribe, codes } = client("c", { version: 4 });
    subscribe("b/#/c", "a");
    expect(codes()).toEqual([0x80, 1]);
  });

  test("is not sent if it would be larger than the client takes: then nothing is done", () => {
    const { client, receives } = scene();
    const { connection, received, subscribe } = client("c");
    connection.channel.packetBytesMax = 6;
    expect(() => subscribe("a", "b")).toThrow("larger than the Maximum Packet Size");
    expect([receives("a"), received()]).toEqual([[], []]);
    subscribe("a");
    expect([receives("a"), received().length]).toEqual([["c"], 1]);
  });
});

describe("on a full disk", () => {
  test("nothing new is taken, in words; what is there already may be changed", async () => {
    const { store, client } = scene();
    const [kept, plain] = [client("kept", { expiry: 100 }), client("plain")];
    for (const one of [kept, plain]) one.subscribe("old");
    await settled();
    for (const one of [kept, plain]) one.received();
    store.isFull = true;
    kept.subscribe({ topic: "old", qos: 0 }, "new");
    await settled();
    expect(kept.received()).toMatchObject([
      { granted: [0, 0x97], properties: { reasonString: `${fullDiskWords}: it takes no new subscriptions` } },
    ]);
    // Another session here has announced the filter: nothing is written for one more.
    const other = client("other");
    other.subscribe("old", "new");
    await settled();
    expect(other.codes()).toEqual([1, 0x97]);
  });
});

describe("retained messages", () => {
  test("follow SUBACK by the Retain Handling, and not for shared subscriptions", () => {
    const { client } = scene();
    const { fed, subscribe } = client("c");
    subscribe({ topic: "always", rh: 0 }, { topic: "new", rh: 1 }, { topic: "never", rh: 2 }, "$share/g/x");
    expect(fed.splice(0)).toEqual(["always", "new"]);
    subscribe({ topic: "always", rh: 0 }, { topic: "new", rh: 1 });
    expect(fed).toEqual(["always"]);
  });

  test("have SUBACK wait until this broker has those that others have been acknowledged", () => {
    const { state, caughtUp, client } = scene();
    const { fed, received, subscribe } = client("c");
    state.isCaughtUp = false;
    subscribe({ topic: "never", rh: 2 });
    expect(received().length).toBe(1);
    subscribe("a");
    expect([received(), fed]).toEqual([[], []]);
    caughtUp[0]!();
    expect([received().length, fed]).toEqual([1, ["a"]]);
  });
});

describe("UNSUBACK", () => {
  test("says which subscriptions there were; they are gone from the router and the store", async () => {
    const { store, client, receives } = scene();
    const { received, subscribe, unsubscribe } = client("c", { expiry: 100 });
    subscribe("a", "b");
    await settled();
    received();
    unsubscribe("a", "none", "a/#/b");
    await settled();
    expect(received()).toMatchObject([{ cmd: "unsuback", messageId: 8, granted: [0, 0x11, 0x8f] }]);
    expect([receives("a"), receives("b")]).toEqual([[], ["c"]]);
    expect(["a", "b"].map((filter) => store.textOf(subscriberPath(filter, "c")) !== undefined)).toEqual([false, true]);
  });
});

describe("a packet with many filters", () => {
  const many = Array.from({ length: 2 * filtersPerStepMax + 1 }, (_, index) => `many/${index}`);

  test("is committed step by step, and answered once, when all of it is committed", async () => {
    const { store, client } = scene();
    const { received, subscribe } = client("c", { expiry: 100 });
    store.answers = false;
    subscribe(...many);
    await settled();
    const before = store.commits.length;
    for (; store.waiting > 0; await settled()) {
      expect(received()).toEqual([]);
      store.answer(1);
    }
    expect(store.commits.length - before).toBeGreaterThan(1);
    expect(received()[0].granted).toEqual(many.map(() => 1));
  });

  test("is left while the store is behind, with the packets after it, and gone on with when that has caught up", async () => {
    const { context, client, receives, pass } = scene();
    const { connection, state, received, subscribe } = client("c", { expiry: 100 });
    let isFull = true;
    Object.defineProperty(context.journal, "full", { get: () => isFull });
    subscribe("a");
    expect([connection.isHeldBy(PauseReason.slice), state.isRead, receives("a")]).toEqual([true, false, []]);
    pass(2 * storeLookMs);
    expect(receives("a")).toEqual([]);
    isFull = false;
    pass(storeLookMs);
    await settled();
    expect([receives("a"), received().length, state.isRead]).toEqual([["c"], 1, true]);
  });

  test("is left for good when its client has gone, or another connection serves the session", async () => {
    const { context, client, receives, pass } = scene();
    let isFull = true;
    Object.defineProperty(context.journal, "full", { get: () => isFull });
    const [gone, moved] = [client("gone", { expiry: 100 }), client("moved", { expiry: 100 })];
    for (const one of [gone, moved]) one.subscribe("a");
    gone.connection.channel.close();
    moved.session.attach(client("other").connection, 100);
    isFull = false;
    pass(storeLookMs);
    await settled();
    // Not all filters of either have been handled: there is no such answer.
    expect([receives("a"), gone.received(), moved.received()]).toEqual([[], [], []]);
  });

  test("whose session another broker has taken is not answered, and the session is given up", async () => {
    const { store, evicted, client } = scene();
    const { received, subscribe } = client("c", { expiry: 100 });
    store.put(sessionPath("c"), "theirs");
    subscribe("a");
    await settled();
    expect([evicted, received(), store.textOf(subscriberPath("a", "c"))]).toEqual([["c"], [], undefined]);
  });
});
