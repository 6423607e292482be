/** The mailbox of a session, and the plan of a delivery: who gets a message now, who later, in which order. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import type { Forwarding } from "../../../src/broker/peers/forwarding.ts";
import type { LinkSender } from "../../../src/broker/peers/link-sender.ts";
import { DeliveryPlan } from "../../../src/broker/publish/delivery-plan.ts";
import { isSlipName, mailPath, nameOf, sessionPath } from "../../../src/coordinator/paths.ts";
import type { JournalOperation } from "../../../src/mail/operations.ts";
import { PacketType } from "../../../src/mqtt/constants.ts";
import { makePublish, type Publish } from "../../../src/mqtt/publish.ts";
import { MemorySink } from "../../../src/mqtt/sink.ts";
import { room, settled } from "../../support/room.ts";

const textOf = (publish: Publish): string =>
  new TextDecoder().decode(publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd));

interface Sent {
  readonly text: string;
  readonly id: number;
  readonly dup: boolean;
}

function scene() {
  const made = room({ settleAfter: 20 });
  const { context, store } = made;
  store.put("/topics");
  /** A session that lasts, and what its client is sent. */
  const session = (clientId: string) => {
    const client = made.session(clientId, 100);
    store.put(sessionPath(clientId), "{}");
    const sent: Sent[] = [];
    client.transmit = (outgoing, dup) =>
      void sent.push({ text: textOf(outgoing.publish!), id: outgoing.packetId, dup });
    const connect = (receiveMaximum = 100): void => {
      const writer = Object.assign(new MemorySink(), { unsent: 0 });
      const channel = { phase: "open", version: 5, packetBytesMax: Infinity };
      client.attach({ writer, channel, transport: { address: "" } } as unknown as Connection, receiveMaximum);
      client.mailbox!.load();
    };
    const acknowledge = (at: number): Promise<void> => {
      client.acknowledge(PacketType.puback, sent[at]!.id, 0);
      return settled();
    };
    const texts = (): string[] => sent.map(({ text }) => text);
    return { client, sent, connect, acknowledge, texts };
  };
  const forwarding = { mailed: () => {}, withdrawn: () => {} } as unknown as Forwarding;
  /** Delivers a message to sessions; `guard`: a path whose version must be 0. */
  const deliver = (
    to: readonly LocalSession[],
    text: string,
    { qos = 1 as 0 | 1 | 2, guard = "", operations = [] as JournalOperation[], refused = () => {} } = {},
  ) => {
    const publish = makePublish(encodeUtf8("t"), encodeUtf8(text), { qos, retain: false });
    const check: JournalOperation = { kind: "check", path: guard, version: () => 0 };
    const plan = new DeliveryPlan(
      context,
      { forwarding, linkSender: {} as LinkSender },
      {
        publish,
        payment: undefined,
        guard: guard === "" ? undefined : { check, isRevoked: () => false, revoke: () => {} },
      },
    );
    for (const subscriber of to)
      plan.add({ subscriber, qos: 2, retainAsPublished: false, subscriptionIds: [], group: undefined } as never);
    plan.commit(operations, { connection: undefined, refused } as never);
    return plan;
  };
  const slipsOf = (clientId: string): string[] =>
    [...store.tree.nodes.keys()].filter(
      (path) => path.startsWith(`${mailPath(clientId)}/`) && isSlipName(nameOf(path)),
    );
  const messages = (): string[] => [...store.tree.nodes.keys()].filter((path) => /^\/topics\/t\/=[^/]*$/.test(path));
  return { ...made, session, deliver, slipsOf, messages };
}

describe("what is stored is counted, for mailboxes", () => {
  test("when it is committed, at once or late, each copy once", async () => {
    const { context, store, session, deliver, pass } = scene();
    const [here, away] = [session("here"), session("away")];
    here.connect();
    await settled();
    store.answers = false;
    deliver([here.client, away.client], "x");
    await settled();
    expect(context.mail.stored).toBe(0);
    store.answers = true;
    store.answer();
    await settled();
    expect(context.mail.stored).toBe(1);
    // The first one does not acknowledge it in time.
    pass(20);
    await settled();
    expect(context.mail.stored).toBe(2);
    deliver([here.client], "y", { qos: 2 });
    await settled();
    expect(context.mail.stored).toBe(3);
  });

  test("and not when the store has refused it", async () => {
    const { context, session, deliver } = scene();
    deliver([session("away").client], "x", { guard: "/nowhere" });
    await settled();
    expect(context.mail.stored).toBe(0);
  });
});

describe("a message for a session that is connected", () => {
  test("is sent at once, and never stored if it is acknowledged in time", async () => {
    const { session, deliver, slipsOf, pass } = scene();
    const { client, sent, connect, acknowledge } = session("c");
    connect();
    await settled();
    const { settlement } = deliver([client], "x");
    expect([sent.map(({ text, dup }) => [text, dup]), settlement!.isSettled]).toEqual([[["x", false]], false]);
    await acknowledge(0);
    expect(settlement!.isSettled).toBe(true);
    pass(1000);
    await settled();
    expect(slipsOf("c")).toEqual([]);
  });

  test("is stored when it is not, which settles it; it goes with its acknowledgement, and is not sent again", async () => {
    const { session, deliver, slipsOf, messages, pass } = scene();
    const { client, sent, connect, acknowledge } = session("c");
    connect();
    await settled();
    const { settlement } = deliver([client], "x");
    pass(20);
    await settled();
    expect([settlement!.isSettled, slipsOf("c").length, messages().length]).toEqual([true, 1, 1]);
    await acknowledge(0);
    expect([slipsOf("c"), messages(), sent.length]).toEqual([[], [], 1]);
  });

  test("at QoS 2 is sent when it is committed, not before", async () => {
    const { store, session, deliver, slipsOf } = scene();
    const { client, sent, connect } = session("c");
    connect();
    await settled();
    store.answers = false;
    const { settlement } = deliver([client], "x", { qos: 2 });
    await settled();
    expect([sent, settlement!.isSettled]).toEqual([[], false]);
    for (; store.waiting > 0; await settled()) store.answer(1);
    expect([sent.length, settlement!.isSettled, slipsOf("c").length]).toEqual([1, true, 1]);
  });

  test("waits in the mailbox where the window is full, and nothing overtakes it", async () => {
    const { session, deliver, pass } = scene();
    const { client, texts, connect, acknowledge } = session("c");
    connect(1);
    await settled();
    for (const text of ["1", "2", "3"]) deliver([client], text);
    await settled();
    expect(texts()).toEqual(["1"]);
    await acknowledge(0);
    // There is room, but the second and third come first.
    deliver([client], "4");
    for (let at = 1; at < 4; at++) {
      pass(20);
      await settled();
      expect(texts().length).toBe(at + 1);
      await acknowledge(at);
    }
    expect(texts()).toEqual(["1", "2", "3", "4"]);
  });
});

describe("a message for a session that is away", () => {
  test("is stored before it is settled, and sent in its order when the client is back", async () => {
    const { store, session, deliver, slipsOf } = scene();
    const { client, sent, texts, connect } = session("c");
    store.answers = false;
    const plans = ["1", "2", "3"].map((text) => deliver([client], text));
    expect(plans.map(({ settlement }) => settlement!.isSettled)).toEqual([false, false, false]);
    store.answers = true;
    for (; store.waiting > 0; await settled()) store.answer();
    expect(plans.map(({ settlement }) => settlement!.isSettled)).toEqual([true, true, true]);
    expect([slipsOf("c").length, client.mailbox!.count, sent.length]).toEqual([3, 3, 0]);
    connect();
    await settled();
    expect([texts(), sent.some(({ dup }) => dup)]).toEqual([["1", "2", "3"], false]);
  });

  test("is not overtaken while the mailbox is read", async () => {
    const { store, session, deliver } = scene();
    const { client, texts, connect } = session("c");
    deliver([client], "1");
    await settled();
    store.answers = false;
    connect();
    deliver([client], "2");
    await settled();
    expect(texts()).toEqual([]);
    store.answers = true;
    for (let step = 0; step < 5; step++) {
      store.answer();
      await settled();
    }
    expect(texts()).toEqual(["1", "2"]);
  });

  test("that was sent before is sent again, under its identifier, before anything newer", async () => {
    const { session, deliver, pass } = scene();
    const { client, sent, connect } = session("c");
    connect();
    await settled();
    deliver([client], "1");
    deliver([client], "2");
    pass(20);
    await settled();
    client.detach();
    deliver([client], "3");
    await settled();
    connect();
    await settled();
    expect(sent.slice(2).map(({ text, dup }) => [text, dup])).toEqual([
      ["1", true],
      ["2", true],
      ["3", false],
    ]);
    expect(sent.slice(2, 4).map(({ id }) => id)).toEqual(sent.slice(0, 2).map(({ id }) => id));
  });

  test("that other brokers have stored is sent in the order of the commits, heard of or read", async () => {
    const { context, session, deliver } = scene();
    const { client, texts, connect } = session("c");
    connect();
    await settled();
    // As another broker stores it: this one hears of the names.
    const publish = (text: string) => makePublish(encodeUtf8("t"), encodeUtf8(text), { qos: 1, retain: false });
    const names: string[] = [];
    for (const text of ["1", "2"]) {
      const draft = { clientId: "c", qos: 1, retain: false, subscriptionIds: [], packetId: 0, groupMark: 0 } as const;
      const name = { order: context.mail.nextOrder(), from: 0 };
      const [unit] = context.mail.store(publish(text), name, [draft], undefined);
      context.journal.commit(unit!.operations);
      await settled();
      names.push(unit!.slips[0]!.name!);
    }
    for (const name of names.toReversed()) client.mailbox!.slipAdded(name);
    for (let step = 0; step < 5; step++) await settled();
    deliver([client], "3");
    await settled();
    expect(texts().toSorted()).toEqual(["1", "2", "3"]);
    expect(texts().at(-1)).toBe("3");
  });

  test("that was stored elsewhere while there was no contact is not overtaken by one that is being stored", async () => {
    const { context, store, session, deliver } = scene();
    const { client, texts, connect } = session("c");
    connect();
    await settled();
    // Another broker stores it, and nobody tells.
    const draft = { clientId: "c", qos: 2, retain: false, subscriptionIds: [], packetId: 0, groupMark: 0 } as const;
    const first = makePublish(encodeUtf8("t"), encodeUtf8("1"), { qos: 2, retain: false });
    const [unit] = context.mail.store(first, { order: context.mail.nextOrder(), from: 0 }, [draft], undefined);
    context.journal.commit(unit!.operations);
    await settled();
    store.answers = false;
    deliver([client], "2", { qos: 2 });
    // Contact again: the mailbox is read, behind what is under way.
    client.mailbox!.load();
    for (await settled(); store.waiting > 0; await settled()) store.answer(1);
    expect(texts()).toEqual(["1", "2"]);
  });

  test("is left out when its time is over, and its slip goes", async () => {
    const { context, session, slipsOf, pass } = scene();
    const { client, texts, connect } = session("c");
    const forwarding = { mailed: () => {} } as unknown as Forwarding;
    for (const [text, ms] of [
      ["short", 1000],
      ["long", 100_000],
    ] as const) {
      const publish = makePublish(encodeUtf8("t"), encodeUtf8(text), { qos: 1, retain: false });
      publish.expiresAt = context.clock.wall() + ms;
      const plan = new DeliveryPlan(
        context,
        { forwarding, linkSender: {} as LinkSender },
        { publish, payment: undefined, guard: undefined },
      );
      plan.add({
        subscriber: client,
        qos: 1,
        retainAsPublished: false,
        subscriptionIds: [],
        group: undefined,
      } as never);
      plan.commit([], { connection: undefined, refused: undefined } as never);
    }
    await settled();
    pass(2000);
    connect();
    for (let step = 0; step < 5; step++) await settled();
    expect([texts(), slipsOf("c").length]).toEqual([["long"], 1]);
  });
});

describe("a plan", () => {
  test("stores one message for all who need it stored, and is settled when the last of them has it", async () => {
    const { session, deliver, slipsOf, messages } = scene();
    const [away, other, here] = [session("away"), session("other"), session("here")];
    here.connect();
    await settled();
    const { settlement, receivers } = deliver([away.client, other.client, here.client], "x");
    await settled();
    expect([receivers, messages().length, slipsOf("away").length, slipsOf("other").length]).toEqual([3, 1, 1, 1]);
    expect([here.texts(), settlement!.isSettled]).toEqual([["x"], false]);
    await here.acknowledge(0);
    expect(settlement!.isSettled).toBe(true);
    away.connect();
    await settled();
    await away.acknowledge(0);
    // The other is still owed it.
    expect([messages().length, slipsOf("away"), slipsOf("other").length]).toEqual([1, [], 1]);
    other.connect();
    await settled();
    await other.acknowledge(0);
    expect([messages(), slipsOf("other")]).toEqual([[], []]);
  });

  test("that is refused leaves nothing: no slip, no message, no place, and says so first", async () => {
    const { store, session, deliver, slipsOf, messages } = scene();
    const { client, connect, sent } = session("c");
    store.put("/sessions/publisher", "theirs");
    store.put("/sessions/publisher", "theirs");
    connect(1);
    await settled();
    let isTold = false;
    const { settlement } = deliver([client], "x", {
      qos: 2,
      guard: "/sessions/publisher",
      refused: () => {
        isTold = true;
      },
    });
    await settled();
    expect([isTold, settlement!.isSettled, sent.length]).toEqual([true, false, 0]);
    expect([slipsOf("c"), messages(), client.mailbox!.count, client.mailbox!.isEmpty]).toEqual([[], [], 0, true]);
    // Its place in the window is free.
    expect(client.hasRoom).toBe(true);
  });

  test("commits what goes with it in the same commit: all of it, or nothing", async () => {
    const { store, session, deliver, slipsOf } = scene();
    const { client } = session("c");
    const operations: JournalOperation[] = [
      { kind: "create", path: `${sessionPath("c")}/in`, data: encodeUtf8("7"), mode: "persistent" },
    ];
    deliver([client], "x", { qos: 2, operations });
    await settled();
    const commit = store.commits.find((one) => one.some(({ path }) => path.endsWith("/in")))!;
    expect(commit.some(({ path }) => path.startsWith(mailPath("c")))).toBe(true);
    expect(slipsOf("c").length).toBe(1);
  });

  test("for a session that ends with its connection stores nothing, and is not waited for", () => {
    const { session: lasting, deliver, context } = scene();
    const { client } = lasting("c");
    const offered: string[] = [];
    const brief = Object.assign(Object.create(client), {
      mailbox: undefined,
      offer: (publish: Publish) => void offered.push(textOf(publish)),
      sendQoS0: (publish: Publish) => void offered.push(`${textOf(publish)} at QoS 0`),
    }) as LocalSession;
    expect(deliver([brief], "x").settlement).toBeUndefined();
    deliver([brief], "y", { qos: 0 });
    expect([offered, context.mail.stored]).toEqual([["x", "y at QoS 0"], 0]);
  });
});
