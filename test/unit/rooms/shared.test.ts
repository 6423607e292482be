/** Shared subscriptions in the room `publish`: whose turn it is, and who gets what a member has left behind. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { reassignmentsMax, refusedRetryMs, regroupBytesMax } from "../../../src/base/limits.ts";
import { finish } from "../../../src/base/slices.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { OutgoingMessage } from "../../../src/broker/delivery/outgoing-message.ts";
import { type Group, Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession } from "../../../src/broker/peers/remote-session.ts";
import { Fanout } from "../../../src/broker/publish/fanout.ts";
import { PublishAdmission } from "../../../src/broker/publish/publish-admission.ts";
import { Regrouping } from "../../../src/broker/publish/regrouping.ts";
import type { RetainedStore } from "../../../src/broker/publish/retained-store.ts";
import { SharedSubscriptions } from "../../../src/broker/publish/shared-subscription.ts";
import { children } from "../../../src/coordinator/mirror.ts";
import { mailPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { encodeSlip, groupMarkOf, type SlipRecord } from "../../../src/mail/records.ts";
import { Settlement } from "../../../src/mail/settlement.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import type { Subscription } from "../../../src/mqtt/subscription.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { blankSlip } from "../../support/blank-slip.ts";
import { type RoomOptions, room, settled } from "../../support/room.ts";

/** A message on topic t that waits. */
const slipRecord: SlipRecord = { ...blankSlip, branch: "here", messagePath: "/topics/t/=1" };

type Member = LocalSession | Peer | RemoteSession;

const message = (qos: 0 | 1 | 2 = 1, size = 1) =>
  makePublish(encodeUtf8("t"), new Uint8Array(size), { qos, retain: false });
const subscription: Subscription = {
  filter: parseFilter("$share/g/t")!,
  qos: 2,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  id: 0,
};

function scene(options: RoomOptions = {}) {
  const made = room({ maxQueued: 3, ...options });
  const { context } = made;
  const shared = new SharedSubscriptions(context);
  const group = (): Group => context.router.route(encodeUtf8("t"), 0, 1)!.groups[0]!;
  const join = <One extends Member>(member: One): One => {
    context.router.subscribe(member, subscription);
    return member;
  };
  /** A member here; connected unless it is away. */
  const local = (clientId: string, { expiry = 0, isAway = false } = {}): LocalSession => {
    const member = made.session(clientId, expiry);
    if (!isAway) member.attach({ writer: { unsent: 0 }, channel: { phase: "open" } } as unknown as Connection, 2);
    return join(member);
  };
  const linked = (id: string, isLinked = true): Peer => {
    const peer = new Peer(id);
    Object.defineProperty(peer, "isLinked", { get: () => isLinked });
    return peer;
  };
  const remote = (clientId: string, host?: Peer): RemoteSession => {
    const member = new RemoteSession(clientId);
    if (host !== undefined) member.connectedAt(host, 1);
    return join(member);
  };
  const nameOf = (member: Member | undefined): string | undefined =>
    member === undefined
      ? undefined
      : "id" in member
        ? member.id
        : "session" in member
          ? member.session.clientId
          : member.clientId;
  const choose = (isUnfit?: (member: Member) => boolean): string | undefined =>
    nameOf(shared.choose(group(), message(), isUnfit as never)?.subscriber as Member | undefined);
  return { ...made, shared, group, join, local, linked, remote, nameOf, choose };
}

describe("the member whose turn it is", () => {
  test("is each in turn, as long as all have room", () => {
    const { local, choose } = scene();
    for (const name of ["a", "b", "c"]) local(name);
    const chosen = Array.from({ length: 6 }, () => choose());
    expect(new Set(chosen.slice(0, 3)).size).toBe(3);
    expect(chosen.slice(3)).toEqual(chosen.slice(0, 3));
  });

  test("is one with room before one without, and that before one that is away", () => {
    const { local, choose } = scene();
    local("away", { expiry: 100, isAway: true });
    expect(choose()).toBe("away");
    const full = local("full");
    for (let count = 0; count < 2; count++) full.inflight.add(new OutgoingMessage(full, subscriptionTarget, undefined));
    expect([choose(), choose()]).toEqual(["full", "full"]);
    local("free");
    expect([choose(), choose(), choose()]).toEqual(["free", "free", "free"]);
  });

  test("is nobody who ends with a connection that is gone, may not read the topic, or has a full mailbox", () => {
    const { store, local, remote, choose } = scene({ mailboxFull: "refuse" });
    local("brief", { isAway: true });
    const forbidden = local("forbidden");
    Object.defineProperty(forbidden, "permissions", { get: () => ({ mayReceive: () => false }) });
    const full = local("full", { expiry: 100 });
    full.mailbox!.count = 3;
    const elsewhere = remote("elsewhere");
    elsewhere.endCount(3);
    for (let number = 0; number < 2; number++) store.put(`${mailPath("elsewhere")}/000000000${number}`);
    expect(choose()).toBeUndefined();
    // It was counted anew: its broker has emptied it meanwhile.
    expect(choose()).toBe("elsewhere");
  });

  test("is one whose mailbox is full only if nobody else can take it, and no publish is refused for that", () => {
    const { store, context, local, remote, shared, group, choose } = scene();
    const full = local("full", { expiry: 100, isAway: true });
    full.mailbox!.count = 3;
    expect([choose(), choose(), shared.isBlocked(group(), message())]).toEqual(["full", "full", false]);
    local("away", { expiry: 100, isAway: true });
    expect([choose(), choose()]).toEqual(["away", "away"]);
    // A session that is being ended is no member any more.
    context.localSessions.get("away")!.end();
    expect(choose()).toBe("full");
    full.end();
    expect(choose()).toBeUndefined();
    // Its broker does not end sessions.
    const elsewhere = remote("elsewhere");
    elsewhere.endCount(3);
    for (let number = 0; number < 3; number++) store.put(`${mailPath("elsewhere")}/000000000${number}`);
    elsewhere.refuseWhenFull(true);
    expect([choose(), shared.isBlocked(group(), message())]).toEqual([undefined, true]);
  });

  test("is another broker only if it is reached, and a session there before one that is nowhere", () => {
    const { linked, join, remote, choose } = scene();
    join(linked("cut", false));
    expect(choose()).toBeUndefined();
    remote("nowhere");
    expect(choose()).toBe("nowhere");
    remote("there", linked("b"));
    expect([choose(), choose()]).toEqual(["there", "there"]);
    join(linked("c"));
    expect(new Set([choose(), choose()])).toEqual(new Set(["there", "c"]));
  });

  test("is nobody's while all who could take it are full, also beside a broker that is not reached: it is refused", () => {
    const { context, shared, linked, join, local, group, choose } = scene({ mailboxFull: "refuse" });
    const retainedStore = { isFull: () => false, priceOf: () => 0 } as unknown as RetainedStore;
    const admission = new PublishAdmission(context, { shared, retainedStore });
    const admit = () => admission.admit(message(), context.router.route(encodeUtf8("t"), 0, 1)!, undefined);
    join(linked("cut", false));
    // There is nobody who is owed the message.
    expect([choose(), shared.isBlocked(group(), message())]).toEqual([undefined, false]);
    const full = local("full", { expiry: 100 });
    full.mailbox!.count = 3;
    expect([choose(), shared.isBlocked(group(), message())]).toEqual([undefined, true]);
    expect(admit()).toMatchObject({ cause: "mailbox" });
    full.mailbox!.count = 2;
    expect([choose(), shared.isBlocked(group(), message())]).toEqual(["full", false]);
    expect(admit()).not.toHaveProperty("why");
  });

  test("is none of those who are out of the question, and the turn stays theirs", () => {
    const { local, nameOf, choose } = scene();
    for (const name of ["a", "b"]) local(name);
    const first = choose();
    const isFirst = (member: Member): boolean => nameOf(member) === first;
    expect(choose(isFirst)).not.toBe(first);
    expect(choose(isFirst)).not.toBe(first);
    expect(choose(() => true)).toBeUndefined();
  });
});

test("a message of another broker is stored for a member here, but not at QoS 2: that broker does it", () => {
  for (const qos of [1, 2] as const) {
    const { context, shared, local } = scene();
    const others = { backPressure: {}, linkSender: {}, forwarding: { mailed: () => {} } };
    const fanout = new Fanout(context, { shared, ...others } as unknown as ConstructorParameters<typeof Fanout>[1]);
    const member = local("away", { expiry: 100, isAway: true });
    const addressees = { toInterest: false, handles: new Set<number>(), groups: new Set([subscription.filter.text]) };
    const route = context.router.route(encodeUtf8("t"), 0, 1)!;
    fanout.deliverHere(message(qos), route, addressees, context.bankAccount.reserve(1_000_000));
    expect([addressees.groups.size, member.mailbox!.count]).toEqual(qos === 1 ? [0, 1] : [1, 0]);
  }
});

test("what the broker says of itself goes to a member here, and to no other broker", () => {
  const { context, shared, linked, join, local } = scene();
  const sent: string[] = [];
  for (const id of ["b", "c"]) join(linked(id));
  const others = { backPressure: {}, linkSender: { offer: () => void sent.push("elsewhere") }, forwarding: {} };
  const fanout = new Fanout(context, { shared, ...others } as unknown as ConstructorParameters<typeof Fanout>[1]);
  const route = context.router.route(encodeUtf8("t"), 0, 1)!;
  finish(fanout.tell(message(0), route));
  expect(sent).toEqual([]);
  const member = local("here");
  member.sendQoS0 = () => void sent.push("here");
  for (let count = 0; count < 3; count++) finish(fanout.tell(message(0), context.router.route(encodeUtf8("t"), 0, 1)!));
  expect(sent).toEqual(["here", "here", "here"]);
});

const subscriptionTarget = { qos: 1 as const, retain: false, subscriptionIds: [], group: undefined };

describe("what a member has left", () => {
  function regrouping(options: RoomOptions = {}) {
    const made = scene(options);
    const given: { to: string | undefined; how: string; reassigned: number; done: () => void }[] = [];
    const fanout = {
      redeliver: (
        _: unknown,
        { subscriber }: { subscriber: Member },
        what: { done: () => void; how: string; reassigned: number },
      ) => void given.push({ to: made.nameOf(subscriber), ...what }),
    } as unknown as Fanout;
    const { context, shared } = made;
    return { ...made, given, regroup: new Regrouping(context, { fanout, shared }) };
  }
  const left = (client: LocalSession, group: Group, { qos = 1 as 1 | 2, packetId = 0, size = 1 } = {}) => {
    const settlement = new Settlement(message(qos, size), 1);
    const target = { qos, retain: false, subscriptionIds: [], group };
    const outgoing = new OutgoingMessage(client, target, message(qos, size), settlement);
    outgoing.packetId = packetId;
    return { outgoing, settlement };
  };

  test("goes to another one, and is settled when that has it", () => {
    const { local, group, given, regroup } = regrouping();
    const [leaver] = [local("leaver"), local("stayer")];
    const { outgoing, settlement } = left(leaver, group());
    expect(regroup.reassign(outgoing, "anyone")).toBe(true);
    expect([given.map(({ to, how }) => [to, how]), settlement.isSettled]).toEqual([[["stayer", "sent"]], false]);
    given[0]!.done();
    expect([settlement.isSettled, outgoing.isTakenCareOf]).toEqual([true, true]);
  });

  test("is not looked for among all groups of its topic, as long as its own has members", () => {
    const { context, local, group, regroup, given } = regrouping();
    const [leaver] = [local("leaver"), local("stayer")];
    const { outgoing } = left(leaver, group());
    context.router.route = () => {
      throw new Error("the topic was routed");
    };
    expect(regroup.reassign(outgoing, "anyone")).toBe(true);
    expect(given.map(({ to }) => to)).toEqual(["stayer"]);
  });

  test("stays with it if there is nobody else, or it was sent at QoS 2, or was for no group", () => {
    const { local, group, given, regroup } = regrouping();
    const alone = local("alone");
    expect(regroup.reassign(left(alone, group()).outgoing, "anyone")).toBe(false);
    local("other");
    expect(regroup.reassign(left(alone, group(), { qos: 2, packetId: 5 }).outgoing, "anyone")).toBe(false);
    expect(regroup.reassign(left(alone, undefined as never).outgoing, "anyone")).toBe(false);
    expect(given).toEqual([]);
    // What was not sent yet may go at QoS 2 as well.
    expect(regroup.reassign(left(alone, group(), { qos: 2 }).outgoing, "anyone")).toBe(true);
  });

  test("goes only to who can be sent it now, while the member may come back", () => {
    const { local, group, regroup, given } = regrouping();
    const [leaver] = [local("leaver"), local("away", { expiry: 100, isAway: true })];
    expect(regroup.reassign(left(leaver, group()).outgoing, "there")).toBe(false);
    expect(regroup.reassign(left(leaver, group()).outgoing, "anyone")).toBe(true);
    expect(given[0]!.to).toBe("away");
  });

  test("waits in memory while nobody can pay for it, within a limit, and is tried again", () => {
    const { context, local, group, given, regroup, pass } = regrouping();
    const [leaver] = [local("leaver"), local("lasting", { expiry: 100 })];
    context.bankAccount.account.grant = 0;
    const { outgoing } = left(leaver, group());
    expect(regroup.reassign(outgoing, "anyone")).toBe(true);
    const large = left(leaver, group(), { size: regroupBytesMax });
    expect(regroup.reassign(large.outgoing, "anyone")).toBe(true);
    // The second was one too many.
    expect([given, large.settlement.isSettled, context.metrics.refused]).toEqual([[], true, 1]);
    // Its session has ended.
    context.router.unsubscribe(leaver!, subscription);
    pass(refusedRetryMs);
    expect(given).toEqual([]);
    context.bankAccount.account.grant = Number.MAX_SAFE_INTEGER;
    pass(refusedRetryMs);
    expect(given.map(({ to }) => to)).toEqual(["lasting"]);
  });

  test("that other brokers could not place is given on so often, and stored from here in the end", () => {
    const { remote, linked, group, given, regroup } = regrouping();
    const [b, c] = [linked("b"), linked("c")];
    remote("at-b", b);
    remote("at-c", c);
    const settlement = new Settlement(message(), 1);
    regroup.notPlaced(settlement, group(), b);
    expect(given.at(-1)).toMatchObject({ to: "at-c", how: "sent", reassigned: 1 });
    settlement.reassigned = reassignmentsMax;
    regroup.notPlaced(settlement, group(), c);
    expect(given.at(-1)).toMatchObject({ how: "stored" });
    // At QoS 2 it might arrive twice, where it is not known what has become of it.
    const before = given.length;
    expect(regroup.inDoubt(new Settlement(message(2), 2), group(), b)).toBe(false);
    expect(regroup.inDoubt(new Settlement(message(1), 3), group(), b)).toBe(true);
    expect(given.length).toBe(before + 1);
  });

  test("in its mailbox goes to another one's, unless the session is another broker's by now", async () => {
    for (const isOurs of [true, false]) {
      const { context, store, local, group, regroup } = regrouping();
      local("heir", { expiry: 100, isAway: true });
      const record = { ...slipRecord, groupMark: groupMarkOf(group().text) };
      const fencingToken = { path: sessionPath("leaver"), version: 0 };
      for (const path of [sessionPath("leaver"), mailPath("leaver"), sessionPath("heir"), mailPath("heir")])
        store.put(path);
      store.put(`${mailPath("leaver")}/0000000001`, encodeSlip(record));
      const [slip] = context.slips.named("leaver", ["0000000001"]);
      await new Promise<void>((done) => context.slips.readRecords([slip!], done));
      if (!isOurs) store.put(sessionPath("leaver"), "{}");
      const ended: boolean[] = [];
      regroup.reassignSlip({ clientId: "leaver", fencingToken }, slip!, (isGone) => ended.push(isGone));
      await settled();
      const places = [mailPath("leaver"), mailPath("heir")];
      const counts = await Promise.all(places.map(async (path) => (await children(store, path)).length));
      expect([counts, ended]).toEqual([isOurs ? [0, 1] : [1, 0], [true]]);
    }
  });
});
