/** Messages that wait for a session at another broker: the way that they go in the end, and what goes with them. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { Forwarding } from "../../../src/broker/peers/forwarding.ts";
import { LinkSender } from "../../../src/broker/peers/link-sender.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession, type RemoteTarget } from "../../../src/broker/peers/remote-session.ts";
import { sessionPath } from "../../../src/coordinator/paths.ts";
import { decodeDelivery } from "../../../src/link/delivery-frame.ts";
import { Link } from "../../../src/link/link.ts";
import { Settlement } from "../../../src/mail/settlement.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { MemorySink } from "../../../src/mqtt/sink.ts";
import { room, settled } from "../../support/room.ts";

function scene() {
  const { context, store } = room();
  store.put("/topics");
  store.put(sessionPath("c"), "{}");
  const linkSender = new LinkSender(context, () => {});
  const groupsEnd = { notPlaced: () => {}, inDoubt: () => false };
  const forwarding = new Forwarding(context, { linkSender, groupsEnd, idle: () => {}, retainedLate: () => {} });
  const session = new RemoteSession("c");
  const target: RemoteTarget = { session, qos: 1, retain: false, subscriptionIds: [], group: undefined };
  /** Another broker with its link, and the transactions that the deliveries it is sent name. */
  const linked = (id: string) => {
    const peer = new Peer(id);
    const sink = Object.assign(new MemorySink(), { unsent: 0 });
    peer.link = new Link(1);
    peer.link.up(sink, 0);
    const zxids: number[] = [];
    peer.link.send = (bytes) => void zxids.push(decodeDelivery(bytes, 5, bytes.length).zxid);
    return { peer, zxids };
  };
  const message = (order: number): Settlement =>
    new Settlement(makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 1, retain: false }), order);
  return { context, store, forwarding, linkSender, session, target, linked, message };
}

describe("a message that waits for a session at another broker", () => {
  test("is sent no sooner than what was stored in its publisher's name has been read", () => {
    const { forwarding, session, target, linked, message } = scene();
    const { peer, zxids } = linked("b");
    session.startDelivery(target);
    session.connectedAt(peer, 4);
    forwarding.wait(target, Object.assign(message(1), { afterZxid: 77 }));
    expect(zxids).toEqual([]);
    forwarding.mailed([target], 50);
    expect(zxids).toEqual([77]);
  });

  test("is not sent when the store has refused one before it: its publisher is another broker's by now", async () => {
    const { forwarding, session, target, linked, message } = scene();
    const { peer, zxids } = linked("b");
    let isRevoked = false;
    const guard = {
      check: { kind: "check", path: sessionPath("p"), version: () => 3 },
      isRevoked: () => isRevoked,
      revoke: () => {
        isRevoked = true;
      },
    } as const;
    const [first, second] = [message(1), message(2)].map((one) => Object.assign(one, { guard }));
    session.startDelivery(target);
    forwarding.wait(target, first!);
    forwarding.mailed([target], 50);
    // The first one is being stored; the second one may go over the link.
    session.connectedAt(peer, 4);
    forwarding.wait(target, second!);
    await settled();
    expect([isRevoked, zxids, session.underWay]).toEqual([true, [], 0]);
  });

  test("is not stored for a broker that is gone, either, when its publisher is known to be another broker's", async () => {
    const { context, store, forwarding, linkSender, session, target, linked, message } = scene();
    const { peer } = linked("b");
    session.connectedAt(peer, 4);
    session.startDelivery(target);
    const check = { kind: "check", path: sessionPath("c"), version: () => 0 } as const;
    const settlement = Object.assign(message(1), { guard: { check, isRevoked: () => true, revoke: () => {} } });
    const share = { toInterest: false, sessions: [target], groups: [] };
    linkSender.deliver(peer, share, settlement, linkSender.encode(settlement.publish, 1));
    forwarding.left(peer);
    await settled();
    expect([session.underWay, settlement.isSettled, context.mail.stored]).toEqual([0, false, 0]);
    expect([...store.tree.nodes.keys()].filter((path) => path.startsWith("/topics/"))).toEqual([]);
  });

  test("waits for what the session's former broker may have stored, also where many move at once", async () => {
    const { store, forwarding, session, target, linked, message } = scene();
    const [b, c] = [linked("b"), linked("c")];
    session.connectedAt(b.peer, 4);
    expect(session.startDelivery(target)).toBe("link");
    session.arrived();
    store.tree.zxid = 90;
    const sync = store.sync.bind(store);
    let syncs = 0;
    store.sync = (done) => {
      syncs++;
      sync(done);
    };
    const other = new RemoteSession("d");
    other.connectedAt(b.peer, 5);
    other.startDelivery({ ...target, session: other });
    other.arrived();
    const sessions = new Map([session, other].map((one) => [one.clientId, one]));
    const handles = [...sessions.keys()].map((clientId, handle) => [handle, clientId] as const);
    forwarding.hosted(c.peer, handles, (clientId) => sessions.get(clientId)!);
    expect(session.startDelivery(target)).toBe("wait");
    forwarding.wait(target, message(1));
    await settled();
    expect([c.zxids, b.zxids, other.mailZxid, syncs]).toEqual([[90], [], 90, 1]);
  });
});
