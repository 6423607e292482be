/** Messages on their way to sessions that other brokers keep, or come to keep: by which way, and in which order. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { linkPatienceMs } from "../../../src/base/limits.ts";
import { Forwarding } from "../../../src/broker/peers/forwarding.ts";
import { Interest } from "../../../src/broker/peers/interest.ts";
import type { LinkSender } from "../../../src/broker/peers/link-sender.ts";
import type { Membership } from "../../../src/broker/peers/membership.ts";
import { type GroupsEnd, Peer } from "../../../src/broker/peers/peer.ts";
import type { RemoteSession, RemoteTarget } from "../../../src/broker/peers/remote-session.ts";
import { SubscriptionDirectory } from "../../../src/broker/peers/subscription-directory.ts";
import { mailPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { deliveryFrame } from "../../../src/link/delivery-frame.ts";
import { FrameType } from "../../../src/link/frames.ts";
import type { JournalOperation } from "../../../src/mail/operations.ts";
import { decodeSlip } from "../../../src/mail/records.ts";
import { Settlement } from "../../../src/mail/settlement.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import type { Subscription } from "../../../src/mqtt/subscription.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { room, settled } from "../../support/room.ts";

function scene() {
  const made = room();
  const { context, store } = made;
  store.put("/topics");
  const forwarding = new Forwarding(context, {
    linkSender: { release() {} } as unknown as LinkSender,
    idle: (session) => directory.forget(session),
    groupsEnd: {} as GroupsEnd,
    retainedLate: () => {},
  });
  const directory = new SubscriptionDirectory(context, {
    membership: {} as Membership,
    interest: new Interest(context),
    moves: {
      adopted: (remote) => forwarding.moveToMailbox(remote),
      released: (remote) => forwarding.waitForMailbox(remote),
    },
  });
  /** A message to a session; `guard`: what must hold for it to be stored. */
  const message = (session: RemoteSession, guard?: JournalOperation) => {
    const publish = makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 1, retain: false });
    const settlement = new Settlement(publish, context.mail.nextOrder());
    if (guard !== undefined) settlement.guard = { check: guard, isRevoked: () => false, revoke: () => {} };
    const target: RemoteTarget = { session, qos: 1, retain: false, subscriptionIds: [], group: undefined };
    return { target, settlement };
  };
  const slips = (clientId: string): number =>
    [...store.tree.nodes.keys()].filter((path) => path.startsWith(`${mailPath(clientId)}/`)).length;
  return { ...made, forwarding, directory, message, slips };
}

describe("a message that waits for a session on the move", () => {
  test("is stored when those before it have arrived, unless its publisher's session is another broker's by then", async () => {
    for (const isOurs of [true, false]) {
      const { store, forwarding, directory, message, slips } = scene();
      for (const clientId of ["c", "publisher"]) store.put(sessionPath(clientId), "{}");
      const session = directory.session("c");
      const first = message(session);
      expect(session.startDelivery(first.target)).toBe("mail");
      const second = message(session, { kind: "check", path: sessionPath("publisher"), version: () => 0 });
      let isClosed = false;
      second.settlement.payment = {
        take: () => 0,
        close: () => {
          isClosed = true;
        },
      };
      forwarding.wait(second.target, second.settlement);
      if (!isOurs) store.put(sessionPath("publisher"), "theirs");
      forwarding.mailed([first.target], store.seenZxid);
      await settled();
      // It is acknowledged where it is stored; where it was refused its publisher publishes it at the other broker.
      expect([slips("c"), second.settlement.isSettled, isClosed, session.underWay]).toEqual([
        isOurs ? 1 : 0,
        isOurs,
        true,
        0,
      ]);
    }
  });
});

describe("messages of which a broker has sent some back", () => {
  /** Three messages over the link to the session's broker, which sends the second one back. */
  function sent() {
    const made = scene();
    const { store, forwarding, directory, message } = made;
    store.put(sessionPath("c"), "{}");
    let isLinked = true;
    const peer = Object.defineProperty(new Peer("there"), "isLinked", { get: () => isLinked });
    const session = directory.session("c");
    session.connectedAt(peer, 5);
    const messages = [1, 2, 3].map((id) => {
      const { target, settlement } = message(session);
      expect(session.startDelivery(target)).toBe("link");
      const delivery = { id, zxid: 0, toInterest: false, handles: [5], groups: [] };
      const frame = deliveryFrame(FrameType.publish, delivery, encodeUtf8("x"));
      const sessions = new Map([[5, target]]);
      peer.pending.set(id, { settlement, sessions, groups: [], toInterest: false, frame, sentAt: 0 });
      settlement.waitFor();
      return settlement;
    });
    forwarding.remain(peer, { id: 2, handles: [5], groups: [] });
    const stored = (): string[] =>
      [...store.tree.nodes]
        .filter(([path]) => path.startsWith(`${mailPath("c")}/`))
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([, { data }]) => decodeSlip(data).messagePath);
    const breakOff = (): void => {
      isLinked = false;
    };
    return { ...made, peer, session, messages, stored, breakOff };
  }

  test("are stored in order when it dies, or its link stays down: those that it has sent back are not the last", async () => {
    for (const how of ["dies", "is cut off"] as const) {
      const { forwarding, peer, session, messages, stored, breakOff, pass } = sent();
      expect([session.underWay, session.waiting, stored()]).toEqual([2, 1, []]);
      breakOff();
      if (how === "dies") forwarding.left(peer);
      else {
        forwarding.linkDown(peer);
        pass(linkPatienceMs + 1);
      }
      await settled();
      expect(stored().length).toBe(3);
      expect(stored()).toEqual(stored().toSorted());
      expect(messages.map(({ isSettled }) => isSettled)).toEqual([true, true, true]);
      expect([session.underWay, session.waiting, peer.pending.size]).toEqual([0, 0, 0]);
    }
  });
});

const subscription: Subscription = {
  ...{ filter: parseFilter("t")!, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 },
};

describe("a session that becomes another broker's", () => {
  test("is remembered with its subscriptions, also where nothing is on its way to it", () => {
    const { context, directory, session } = scene();
    const client = session("c", 100);
    client.session.subscribe(subscription);
    context.router.subscribe(client, subscription);
    directory.release(client);
    expect([...context.remoteSessions.keys()]).toEqual(["c"]);
    const remote = context.remoteSessions.get("c")!;
    expect([...remote.subscriptions.keys()]).toEqual(["t"]);
    expect(context.router.route(encodeUtf8("t"), 0, 1)!.elsewhere.map(({ subscriber }) => subscriber)).toEqual([
      remote,
    ]);
  });

  test("gets what is published now behind what is still being stored for it", async () => {
    const { context, store, directory, session, message, forwarding, slips } = scene();
    const client = session("c", 100);
    store.put(sessionPath("c"), "{}");
    client.session.subscribe(subscription);
    context.router.subscribe(client, subscription);
    store.answers = false;
    context.journal.commit([{ kind: "create", path: `${mailPath("c")}/`, data: encodeUtf8("1"), mode: "sequential" }]);
    directory.release(client);
    const remote = context.remoteSessions.get("c")!;
    const late = message(remote);
    expect(remote.startDelivery(late.target)).toBe("mail");
    // It is on its way to the mailbox as well: a link to its new broker would be another way, which has to wait.
    expect(remote.underWay).toBe(2);
    forwarding.mailed([late.target], 0);
    expect(remote.underWay).toBe(1);
    store.answers = true;
    for (; store.waiting > 0; await settled()) store.answer();
    expect([remote.underWay, remote.mailZxid, slips("c")]).toEqual([0, store.seenZxid, 1]);
  });
});

describe("a session that begins here anew", () => {
  test("gets nothing by the subscriptions that an earlier one of its client had elsewhere", () => {
    const { context, directory, session, message } = scene();
    const before = session("c", 100);
    before.session.subscribe(subscription);
    context.router.subscribe(before, subscription);
    directory.release(before);
    const remote = context.remoteSessions.get("c")!;
    const { target } = message(remote);
    expect(remote.startDelivery(target)).toBe("mail");
    const anew = session("c", 100);
    directory.begin(anew);
    expect(context.localSessions.get("c")).toBe(anew);
    expect(anew.session.subscriptions.size).toBe(0);
    const route = context.router.route(encodeUtf8("t"), 0, 1);
    expect([route?.targets.length ?? 0, route?.elsewhere.length ?? 0]).toEqual([0, 0]);
    // What is on its way to the earlier one still is.
    expect([...context.remoteSessions.keys()]).toEqual(["c"]);
    remote.arrived();
    directory.begin(anew);
    expect([...context.remoteSessions.keys()]).toEqual([]);
  });
});
