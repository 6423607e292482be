/** The room `delivery`, part by part: what is on its way to one client, and what waits for the store. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { mailWatchMs } from "../../../src/base/limits.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { MailWatch } from "../../../src/broker/delivery/mail-watch.ts";
import { byNumber, MailboxNames } from "../../../src/broker/delivery/mailbox-names.ts";
import {
  bySettlement,
  OutgoingMessage,
  plainQoS1,
  reserved,
  takesOf,
} from "../../../src/broker/delivery/outgoing-message.ts";
import { RetainedFeeds } from "../../../src/broker/delivery/retained-feed.ts";
import { SentBefore } from "../../../src/broker/delivery/sent-before.ts";
import { StoreBackPressure } from "../../../src/broker/delivery/store-back-pressure.ts";
import { mailPath } from "../../../src/coordinator/paths.ts";
import type { Journal } from "../../../src/mail/journal.ts";
import { Settlement } from "../../../src/mail/settlement.ts";
import { type Slip, unreadSlip } from "../../../src/mail/slips.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { Inflight } from "../../../src/session/inflight.ts";
import { room } from "../../support/room.ts";

const target = { qos: 1 as const, retain: false, subscriptionIds: [], group: undefined };
const publish = (text = "x", retain = false) => makePublish(encodeUtf8("t"), encodeUtf8(text), { qos: 1, retain });

describe("names of slips", () => {
  test("that the store tells of are news once, and not if they are known", () => {
    const names = new MailboxNames();
    names.know(["1"], [unreadSlip("c", "2"), { ...unreadSlip("c", ""), name: undefined }]);
    names.notice("2");
    names.notice("3");
    expect([names.size, names.isQuiet]).toEqual([2, false]);
    expect(names.takeNews()).toEqual(["3"]);
    expect([names.takeNews(), names.size, names.isQuiet]).toEqual([[], 3, true]);
  });

  test("are nobody's news while one of our own has no name yet, but those before one that has", () => {
    const names = new MailboxNames();
    names.expect();
    names.expect();
    for (const name of ["1", "2", "3"]) names.notice(name);
    expect([names.size, names.takeNews()]).toEqual([2, []]);
    names.arrived("2", "placed");
    // What was committed before our own is told; what came behind it may be our other one.
    expect(names.takeNews("2")).toEqual(["1"]);
    names.arrived("3", "placed");
    expect(names.takeNews()).toEqual([]);
    expect(names.size).toBe(3);
  });

  test("that will not be stored, or went elsewhere, are not expected any more", () => {
    const names = new MailboxNames();
    names.expect();
    names.expect();
    names.arrived(undefined, "placed");
    names.arrived("5", "elsewhere");
    expect(names.size).toBe(0);
    names.notice("5");
    expect(names.takeNews()).toEqual(["5"]);
  });

  test("are in the order of the commits; what has none comes last, as it came", () => {
    const slip = (name: string | undefined) => ({ name }) as Slip;
    const slips = [slip(undefined), slip("0000000010"), slip("0000000009"), slip("0000000100")];
    expect(slips.sort(byNumber).map(({ name }) => name)).toEqual(["0000000009", "0000000010", "0000000100", undefined]);
  });
});

describe("messages on their way", () => {
  test("hold an identifier without taking room, where nothing is sent under it in this connection", () => {
    const window = new Inflight<OutgoingMessage>(2, { takes: takesOf });
    const released = new OutgoingMessage(undefined, target, undefined);
    released.resumed({ name: "1" } as Slip, 8);
    window.restore(7, reserved);
    window.restore(8, released);
    expect(window.full).toBe(false);
    const ids = [window.add(plainQoS1), window.add(plainQoS1)];
    expect(window.full).toBe(true);
    expect(ids.some((id) => id === 7 || id === 8)).toBe(false);
  });

  test("leave as much room as there was, when an identifier that took none is given back", () => {
    const window = new Inflight<OutgoingMessage>(1, { takes: takesOf });
    const released = new OutgoingMessage(undefined, target, undefined);
    released.resumed({ name: "1" } as Slip, 8);
    window.restore(8, released);
    for (let grows = 1; grows <= 20; grows++) window.restore(100 + grows, reserved);
    released.acknowledge();
    window.remove(8);
    window.add(plainQoS1);
    expect(window.full).toBe(true);
  });

  test("take no more identifiers than a session may hold; those that are only kept for messages do not count", () => {
    const window = new Inflight<OutgoingMessage>(5, { takes: takesOf, idsMax: 2 });
    const released = new OutgoingMessage(undefined, target, undefined);
    released.resumed({ name: "1" } as Slip, 8);
    window.restore(8, released);
    for (const id of [10, 11, 12]) window.restore(id, reserved);
    expect(window.full).toBe(false);
    window.add(plainQoS1);
    expect(window.full).toBe(true);
  });

  test("go to the mailbox in the order of the publishes, those of retained messages first", () => {
    const all = [3, 1, 2].map((order) => {
      return new OutgoingMessage(undefined, target, undefined, new Settlement(publish(), order));
    });
    const retained = new OutgoingMessage(undefined, target, undefined);
    expect([...all, retained].sort(bySettlement).map(({ settlement }) => settlement?.order)).toEqual([
      undefined,
      1,
      2,
      3,
    ]);
  });

  test("that are acknowledged while they are being stored leave the store again", () => {
    const { session } = room();
    const client = session("c", 100);
    const settlement = new Settlement(publish(), 1);
    const outgoing = new OutgoingMessage(client, target, publish(), settlement);
    expect([settlement.isSettled, outgoing.isTakenCareOf]).toEqual([false, false]);
    expect(outgoing.draft()).toMatchObject({ clientId: "c", qos: 1, retain: false });
    expect([outgoing.isBeingStored, client.mailbox!.count]).toEqual([true, 1]);
    outgoing.acknowledge();
    const slip = { clientId: "c", name: "0000000001", record: undefined } as unknown as Slip;
    const discarded: Slip[] = [];
    client.mailbox!.discard = (one) => void discarded.push(one);
    outgoing.stored(slip);
    expect([outgoing.isBeingStored, discarded]).toEqual([false, [slip]]);
  });
});

describe("what was sent before", () => {
  const record = (state: "waiting" | "sent" | "released", packetId = 0, qos: 1 | 2 = 1) =>
    ({ state, packetId, qos, retain: false, subscriptionIds: [] }) as unknown as Slip["record"];

  function scene() {
    const { session, evicted } = room();
    const client = session("c", 100);
    const written: number[] = [];
    const writer = {
      buffer: new Uint8Array(64),
      reserve: () => 0,
      append: (bytes: Uint8Array) => void written.push(...bytes),
    };
    client.attach({ writer, channel: { phase: "open", version: 5 } } as unknown as Connection, 10);
    return { client, before: new SentBefore(client), evicted };
  }

  test("keeps its identifier until it is sent again: at QoS 1 from the last connection, at QoS 2 from its slip", () => {
    const { client, before } = scene();
    const one = { name: "1", record: record("waiting") } as Slip;
    const two = { name: "2", record: record("sent", 9, 2) } as Slip;
    expect([before.idOf(one), before.idOf(two), before.idOf({ name: "3" } as Slip)]).toEqual([undefined, 9, undefined]);
    const outgoing = new OutgoingMessage(client, target, publish());
    outgoing.placed(one);
    outgoing.packetId = 5;
    before.remember([outgoing]);
    expect(before.idOf(one)).toBe(5);
    for (const slip of [one, two]) before.reserve(slip);
    expect([client.inflight.get(5), client.inflight.get(9)]).toEqual([reserved, reserved]);
    // It will not be sent again: another message may have the identifier.
    before.free(one);
    expect(client.inflight.get(5)).toBeUndefined();
    before.forget(one);
    expect(before.idOf(one)).toBeUndefined();
  });

  test("does not take an identifier that another message has", () => {
    const { client, before } = scene();
    const other = new OutgoingMessage(client, target, publish());
    client.inflight.restore(9, other);
    const slip = { name: "2", record: record("released", 9, 2) } as Slip;
    const discarded: Slip[] = [];
    client.discard = (one) => void discarded.push(one);
    before.reserve(slip);
    before.free(slip);
    before.resume(slip);
    expect(client.inflight.get(9)).toBe(other);
    expect(discarded).toEqual([slip]);
  });
});

describe("retained messages for a subscription", () => {
  function scene(hasRoom: () => boolean) {
    const { context, session, pass } = room();
    const client = session("c");
    const sent: string[] = [];
    Object.defineProperty(client, "hasRoom", { get: hasRoom });
    client.attach(
      {
        writer: { unsent: 0 },
        channel: { phase: "open", packetBytesMax: Infinity },
      } as unknown as Connection,
      10,
    );
    client.write = (message) =>
      void sent.push(new TextDecoder().decode(message.payloadBytes.subarray(message.payloadStart)));
    const keep = (topic: string, text: string, from: "here" | "elsewhere" = "here") => {
      const kept = makePublish(encodeUtf8(topic), encodeUtf8(text), { qos: 1, retain: true });
      context.retained.set(topic, kept, from);
      return kept;
    };
    const feeds = new RetainedFeeds(client);
    const subscribe = (text: string, qos: 0 | 1 = 1) => {
      const filter = parseFilter(text)!;
      const subscription = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;
      feeds.add(subscription, context.retained.lastNumber);
      feeds.pump();
    };
    return { client, context, keep, feeds, pass, sent, subscribe };
  }

  test("go out as there is room, feed after feed, in the order of the subscriptions", () => {
    let left = 2;
    const { keep, feeds, sent, subscribe } = scene(() => left-- > 0);
    for (const name of ["a", "b"]) keep(`one/${name}`, name);
    keep("two", "c");
    subscribe("one/+");
    subscribe("two");
    expect(sent.length).toBe(2);
    left = 1;
    feeds.pump();
    expect(sent.toSorted()).toEqual(["a", "b", "c"]);
    expect(sent.at(-1)).toBe("c");
  });

  test("that are replaced while they wait are left out: the newer one came as a message", () => {
    let isOpen = false;
    const { keep, feeds, sent, subscribe } = scene(() => isOpen);
    keep("one/a", "old");
    keep("one/b", "stays");
    subscribe("one/+");
    keep("one/a", "new");
    isOpen = true;
    feeds.pump();
    expect(sent).toEqual(["stays"]);
  });

  test("are searched through in several turns, though none of them is sent", () => {
    const { client, context, keep, sent, subscribe, pass } = scene(() => true);
    for (let count = 0; count < 200; count++) keep(`one/${count}`, "x");
    let looked = 0;
    client.mayReceive = () => ++looked < 0;
    // The turn has lasted for as long as it may.
    context.slices.isOver = () => true;
    subscribe("one/+");
    expect(looked).toBeLessThan(200);
    const before = looked;
    context.slices.isOver = () => false;
    pass(10);
    expect([looked, looked - before > 0, sent]).toEqual([200, true, []]);
  });

  test("are not those that were retained since SUBACK: they came as messages, wherever they were published", () => {
    let isOpen = false;
    const { keep, feeds, sent, subscribe } = scene(() => isOpen);
    keep("one/a", "held");
    subscribe("one/+");
    keep("one/b", "published here", "here");
    keep("one/c", "published at another broker", "elsewhere");
    isOpen = true;
    feeds.pump();
    expect(sent).toEqual(["held"]);
  });
});

describe("connections that wait for the store", () => {
  function scene() {
    const { store } = room();
    const journal = { full: false };
    const resumed: string[] = [];
    const waiting = new StoreBackPressure(
      { journal: journal as unknown as Journal, coordinator: store },
      (connection) => void resumed.push(nameOf(connection)),
    );
    const connection = (name: string) => ({ name, hold: () => {} }) as unknown as Connection;
    return { store, journal, resumed, waiting, connection };
  }
  const nameOf = (connection: Connection) => (connection as unknown as { name: string }).name;

  test("do not, while it is there and not behind", () => {
    const { waiting, connection } = scene();
    let gone = 0;
    waiting.pass(connection("a"), () => gone++);
    waiting.hold(connection("b"));
    expect([gone, waiting.isWaiting(connection("b"))]).toEqual([1, false]);
  });

  test("go on in their order, and only until it is behind again", () => {
    const { journal, resumed, waiting, connection } = scene();
    journal.full = true;
    const [a, b, c] = ["a", "b", "c"].map(connection);
    waiting.hold(a!);
    waiting.pass(b!, () => {
      resumed.push("b");
      journal.full = true;
    });
    waiting.hold(c!);
    journal.full = false;
    waiting.relieved();
    expect(resumed).toEqual(["a", "b"]);
    journal.full = false;
    waiting.relieved();
    expect(resumed).toEqual(["a", "b", "c"]);
  });

  test("wait for contact, and are not carried out when they have gone meanwhile", () => {
    const { store, waiting, connection } = scene();
    store.turn("SUSPENDED");
    const [gone, there] = [connection("gone"), connection("there")];
    const done: string[] = [];
    for (const one of [gone, there]) waiting.pass(one, () => void done.push(nameOf(one)));
    waiting.forget(gone);
    store.turn("LOST");
    expect(done).toEqual([]);
    store.turn("CONNECTED");
    expect(done).toEqual(["there"]);
  });
});

describe("the watch over mail that nobody sends", () => {
  function scene(stored: number) {
    const { context, store, lines, pass } = room();
    for (let number = 0; number < stored; number++) store.put(`${mailPath("c")}/000000000${number}`);
    const loads: number[] = [];
    const mailbox = { moves: 0, load: () => void loads.push(mailbox.moves) };
    const client = {
      ...{ handle: 1, hasRoom: true, mailbox, session: { clientId: "c" } },
      slipsInFlight: () => new Set<string>(),
    };
    const watch = new MailWatch(context, new Map([[1, client as unknown as LocalSession]]));
    watch.wake();
    return { client, mailbox, loads, lines, pass, store };
  }

  test("reads a mailbox anew that has not moved between two looks, and says so", () => {
    const { loads, lines, pass } = scene(2);
    pass(mailWatchMs);
    expect([loads, lines]).toEqual([[], []]);
    pass(mailWatchMs);
    expect(loads.length).toBe(1);
    expect(lines[0]).toMatchObject({ level: "error", facts: { client: "c", stored: 2 } });
  });

  test.each<[string, (seen: ReturnType<typeof scene>) => void]>([
    ["is empty", ({ store }) => store.remove(`${mailPath("c")}/0000000000`)],
    ["has a client that takes nothing", ({ client }) => Object.assign(client, { hasRoom: false })],
    ["has a client that is gone", ({ client }) => Object.assign(client, { handle: 0 })],
    ["holds what is on its way", ({ client }) => Object.assign(client, { slipsInFlight: () => new Set(["0"]) })],
  ])("leaves one alone that %s", (_, change) => {
    const seen = scene(1);
    change(seen);
    seen.pass(5 * mailWatchMs);
    expect([seen.loads, seen.lines]).toEqual([[], []]);
  });
  test("leaves one alone that moves", () => {
    const { mailbox, loads, pass } = scene(1);
    for (let look = 0; look < 50; look++) {
      mailbox.moves++;
      pass(mailWatchMs / 5);
    }
    expect(loads).toEqual([]);
  });
});
