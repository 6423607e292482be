/** Sessions of other brokers: messages go one way at a time, so that nothing overtakes, and are counted. */
import { describe, expect, test } from "bun:test";
import { noBytes } from "../../../src/base/bytes.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession, type RemoteTarget } from "../../../src/broker/peers/remote-session.ts";
import { Settlement } from "../../../src/mail/settlement.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";

function scene() {
  const session = new RemoteSession("c");
  const linked = (id: string): Peer & { isLinked: boolean } =>
    Object.defineProperty(new Peer(id), "isLinked", { value: true, writable: true }) as Peer & { isLinked: boolean };
  const target = (how: Partial<RemoteTarget> = {}): RemoteTarget => ({
    ...{ session, qos: 1, retain: false, subscriptionIds: [], group: undefined },
    ...how,
  });
  const start = (how?: Partial<RemoteTarget>): string => session.startDelivery(target(how));
  const message = (order: number) => ({
    target: target(),
    settlement: new Settlement(makePublish(noBytes, noBytes, { qos: 1, retain: false }), order),
  });
  return { session, linked, start, message };
}

describe("a message to a session of another broker", () => {
  test("goes over the link where its client is connected, and else into the mailbox", () => {
    const { session, linked, start } = scene();
    expect(start()).toBe("mail");
    session.arrived();
    const host = linked("b");
    session.connectedAt(host, 4);
    expect(start()).toBe("link");
    session.arrived();
    host.isLinked = false;
    expect(start()).toBe("mail");
  });

  test("goes into the mailbox at QoS 2, uncounted, and where its broker could not pay", () => {
    const { session, linked, start } = scene();
    session.connectedAt(linked("b"), 4);
    expect([start({ qos: 2 }), session.underWay]).toEqual(["mail", 0]);
    expect([start({ mustBeStored: true }), session.underWay]).toEqual(["mail", 1]);
  });

  test("waits while others are under way another way: to the mailbox, to another broker, to an earlier connection", () => {
    const { session, linked, start } = scene();
    const [b, c] = [linked("b"), linked("c")];
    start();
    session.connectedAt(b, 4);
    expect(start()).toBe("wait");
    session.arrived();
    expect([start(), start()]).toEqual(["link", "link"]);
    session.connectedAt(c, 4);
    expect(start()).toBe("wait");
    session.connectedAt(b, 5);
    expect(start()).toBe("wait");
    session.connectedAt(b, 4);
    expect(start()).toBe("link");
  });

  test("waits behind those that wait, which go on in the order of their publishes", () => {
    const { session, start, message } = scene();
    start();
    expect([session.wait(message(7)), session.wait(message(5))]).toEqual([1, 2]);
    expect(start()).toBe("wait");
    expect(session.arrived()).toBe(true);
    expect(session.takeWaiting().map(({ settlement }) => settlement.order)).toEqual([5, 7]);
    expect([start(), session.waiting]).toEqual(["mail", 0]);
  });

  test("is the last of all under way only when each has arrived, those that waited too", () => {
    const { session, start, message } = scene();
    start();
    session.wait(message(1));
    session.startWaiting();
    session.startMail();
    expect([session.arrived(), session.arrived(), session.arrived()]).toEqual([false, false, true]);
  });
});

describe("a session of another broker", () => {
  test("has left a broker only if it was there, under that number", () => {
    const { session, linked } = scene();
    const [b, c] = [linked("b"), linked("c")];
    session.connectedAt(b, 4);
    expect([session.disconnectedFrom(c, 4), session.disconnectedFrom(b, 3), session.host]).toEqual([false, false, b]);
    expect([session.disconnectedFrom(b, 4), session.host]).toEqual([true, undefined]);
  });

  test("is remembered while it is connected, and while a message is on its way or waits", () => {
    const { session, linked, start, message } = scene();
    expect(session.isInUse).toBe(false);
    const host = linked("b");
    session.connectedAt(host, 4);
    expect(session.isInUse).toBe(true);
    session.disconnectedFrom(host, 4);
    start();
    expect(session.isInUse).toBe(true);
    session.arrived();
    session.wait(message(1));
    expect(session.isInUse).toBe(true);
    session.takeWaiting();
    expect(session.isInUse).toBe(false);
  });

  test("is known to have what this broker has stored for it, up to the newest transaction", () => {
    const { session } = scene();
    session.mailed(9);
    session.mailed(6);
    expect([session.mailZxid, session.mailCount]).toEqual([9, 2]);
    session.mailedUpTo(12);
    expect([session.mailZxid, session.mailCount]).toEqual([12, 2]);
  });
});
