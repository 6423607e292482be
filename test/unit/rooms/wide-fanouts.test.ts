/** Messages to very many receivers: they take several turns, and nothing on their topic overtakes them. */
import { describe, expect, test } from "bun:test";
import mqttPacket from "mqtt-packet";
import { encodeUtf8, noBytes } from "../../../src/base/bytes.ts";
import { fanoutAtOnceMax, fanoutWaitingBytesMax, sliceMs, slipsPerUnitMax } from "../../../src/base/limits.ts";
import { Slices } from "../../../src/base/slices.ts";
import { Arriving } from "../../../src/broker/cluster/arriving.ts";
import { PauseReason } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import type { ClusterRoute } from "../../../src/broker/peers/cluster-context.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession } from "../../../src/broker/peers/remote-session.ts";
import { BackPressure } from "../../../src/broker/publish/back-pressure.ts";
import { Fanout } from "../../../src/broker/publish/fanout.ts";
import { PublishHandler } from "../../../src/broker/publish/handle-publish.ts";
import { emptyRun } from "../../../src/broker/publish/run.ts";
import { SharedSubscriptions } from "../../../src/broker/publish/shared-subscription.ts";
import { bundleFrame, frameHeadBytes } from "../../../src/link/frames.ts";

import { makePublish, type Publish } from "../../../src/mqtt/publish.ts";
import { Reason } from "../../../src/mqtt/reason.ts";
import type { Subscription } from "../../../src/mqtt/subscription.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { nearClient } from "../../support/near-client.ts";
import { room, settled } from "../../support/room.ts";

const many = 4 * fanoutAtOnceMax;
const textOf = ({ payloadBytes, payloadStart, payloadEnd }: Publish): string =>
  Buffer.from(payloadBytes.subarray(payloadStart, Math.min(payloadEnd, payloadStart + 8))).toString();
const message = (payload: string, qos: 0 | 1 | 2 = 1) =>
  makePublish(encodeUtf8("t"), encodeUtf8(payload), { qos, retain: false });
const packetOf = (payload: string, qos: 0 | 1): Buffer =>
  mqttPacket.generate(
    { cmd: "publish", topic: "t", payload, qos, messageId: 1, dup: false, retain: false },
    { protocolVersion: 5 },
  );
const subscription: Subscription = {
  filter: parseFilter("t")!,
  qos: 2,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  id: 0,
};

/** Receivers in a room, all of one topic. */
function crowdOf({ context, session }: ReturnType<typeof room>) {
  const subscribe = (client: LocalSession): void => {
    client.session.subscribe(subscription);
    context.router.subscribe(client, subscription);
  };
  const route = (): ClusterRoute => context.router.route(encodeUtf8("t"), 0, 1)!;
  /** Sessions that end with their connections; what each was sent stands in the lists. */
  const online = (count = many): string[][] =>
    Array.from({ length: count }, (_, at) => {
      const { connection, received } = nearClient(context.turn);
      connection.channel.open();
      const client = session(`online-${at}`);
      client.attach(connection, 100);
      connection.client = client;
      subscribe(client);
      const sent: string[] = [];
      const note = (publish: Publish): void => void sent.push(textOf(publish));
      Object.assign(client, { offer: note, sendQoS0: note });
      const { append } = connection.writer;
      connection.writer.append = (...args) => {
        append.apply(connection.writer, args);
        sent.push(...received().map(({ payload }) => String(payload)));
      };
      return sent;
    });
  const away = (count: number): LocalSession[] =>
    Array.from({ length: count }, (_, at) => {
      const client = session(`away-${at}`, 1000);
      subscribe(client);
      return client;
    });
  return { route, online, away };
}

/** A broker whose clock moves by half a slice each time that it is asked: every step of work is one too many. */
function scene() {
  const made = room();
  let ticks = 0;
  const clock = { now: () => (ticks++ * sliceMs) / 2 };
  const turns: { subject: undefined; beganAt: number | undefined } = { subject: undefined, beganAt: undefined };
  const context = { ...made.context, slices: new Slices(clock, made.context.timers, turns) };
  const says: string[] = [];
  const backPressure = new BackPressure(context.timers, () => 0, {
    resume: (held) => void says.push(held instanceof Peer ? "go" : "resumed"),
    holdPeer: () => void says.push("hold"),
  });
  const mailed: string[] = [];
  const forwarding = {
    mailed: (targets: readonly { session: RemoteSession }[]) =>
      void mailed.push(...targets.map(({ session }) => session.clientId)),
  };
  const resumed: string[] = [];
  const fanout = new Fanout(context, {
    ...{ backPressure, forwarding, linkSender: {}, shared: new SharedSubscriptions(context) },
    resume: (connection: { release(reason: number): boolean }, reason: number) => {
      connection.release(reason);
      resumed.push("publisher");
    },
  } as unknown as ConstructorParameters<typeof Fanout>[1]);
  const { route, online, away } = crowdOf(made);
  const publisher = nearClient(context.turn).connection;
  const deliver = (payload: string, qos: 1 | 2 = 1) => {
    const settlement = fanout.deliver(message(payload, qos), route(), undefined, {
      operations: [],
      connection: publisher,
    }).settlement!;
    // It is open from the beginning, or an ack could be owed to nobody.
    expect(settlement.isSettled).toBe(false);
    const told = { isSettled: false };
    settlement.whenSettled(() => {
      told.isSettled = true;
    });
    return told;
  };
  const finish = (): void => {
    while (fanout.isUnderWay(route())) made.pass(1);
  };
  return {
    ...made,
    context,
    turns,
    fanout,
    backPressure,
    says,
    mailed,
    resumed,
    route,
    online,
    away,
    publisher,
    deliver,
    finish,
  };
}

/** Returns what each has been sent, if all have been sent the same. */
function same(all: readonly string[][]): string[] {
  for (const each of all) expect(each).toEqual(all[0]!);
  return all[0]!;
}

describe("a message to very many receivers", () => {
  test("reaches all of them in several turns, is settled then, and holds its publisher until then", async () => {
    const { fanout, route, online, publisher, deliver, resumed, pass } = scene();
    const all = online();
    const told = deliver("x");
    expect(fanout.isUnderWay(route())).toBe(true);
    expect([told.isSettled, publisher.isHeldBy(PauseReason.fanout), resumed]).toEqual([false, true, []]);
    const served = all.filter(({ length }) => length > 0).length;
    expect(served).toBeWithin(1, many / 2);
    while (!told.isSettled) pass(1);
    expect([same(all), publisher.isHeld, resumed]).toEqual([["x"], false, ["publisher"]]);
  });

  test("is acknowledged with success, also if none of them was found in the turn in which it came", () => {
    const { context, turns, fanout, publisher, route, away, session, pass } = scene();
    away(many);
    const client = session("publisher");
    client.attach(publisher, 100);
    publisher.client = client;
    const acks: number[] = [];
    publisher.channel.owe = () => (outcome) => void acks.push(outcome.reason);
    const handler = new PublishHandler(context, {
      ...{ fanout, storeBackPressure: { hold() {} }, shared: new SharedSubscriptions(context), resume() {} },
    } as unknown as ConstructorParameters<typeof PublishHandler>[1]);
    // Something else has used the turn up.
    turns.beganAt = -sliceMs;
    handler.receive(publisher, Object.assign(message("x"), { packetId: 1 }), route());
    turns.beganAt = undefined;
    while (acks.length === 0) pass(1);
    expect(acks).toEqual([Reason.success]);
  });

  test("at QoS 0 too, as one piece with others, and one by one", () => {
    const { fanout, route, online, publisher, finish } = scene();
    const all = online();
    expect(fanout.takesVerbatim(route(), true)).toBe(true);
    const chunk = new Uint8Array(packetOf("run", 0));
    fanout.copyRun(
      { ...emptyRun(), route: route(), bytes: chunk, end: chunk.length, count: 1, version5: true },
      publisher,
    );
    // The chunk is somebody else's from now on.
    chunk.fill(0);
    expect(publisher.isHeldBy(PauseReason.fanout)).toBe(true);
    finish();
    fanout.live(message("live", 0), route(), publisher);
    expect(fanout.isUnderWay(route())).toBe(true);
    finish();
    expect(same(all)).toEqual(["run", "live"]);
  });

  test("of a large packet in memory of its own every receiver is sent the same bytes, and none a copy", () => {
    const { fanout, route, online, publisher } = scene();
    online(2);
    const bytes = new Uint8Array(packetOf("large".repeat(20_000), 0));
    const run = { ...emptyRun(), route: route(), bytes, end: bytes.length, count: 1, version5: true, isApart: true };
    fanout.copyRun(run, publisher);
    const writers = route().targets.map(({ subscriber }) => subscriber.connection!.writer);
    const seen = new Set<Uint8Array>();
    expect(writers.map(({ unsent }) => unsent)).toEqual([bytes.length, bytes.length]);
    expect(writers.map((writer) => writer.memoryBytes(seen))).toEqual([bytes.length, 0]);
  });

  test("is not overtaken: what comes for its topic waits, in its order, whoever has sent it", () => {
    const { fanout, route, online, deliver, finish } = scene();
    const all = online();
    deliver("1");
    // The first one begins another such fan-out; those that have waited already go before what comes then.
    fanout.whenOver(route(), () => {
      deliver("2");
      fanout.whenOver(route(), () => deliver("5"));
    });
    fanout.whenOver(route(), () => deliver("3"));
    fanout.whenOver(route(), () => deliver("4"));
    finish();
    expect(same(all)).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("is stored for all who are away, in units that others may come between", async () => {
    const { context, store, away, deliver, finish } = scene();
    away(3 * slipsPerUnitMax);
    const told = deliver("x");
    await settled();
    expect(told.isSettled).toBe(false);
    finish();
    while (!told.isSettled) await settled();
    expect(context.mail.stored).toBe(3 * slipsPerUnitMax);
    const copies = store.commits.flat().filter(({ path }) => /^\/topics\/t\/=[^/]+$/.test(path));
    expect(new Set(copies.map(({ path }) => path)).size).toBe(3);
  });

  test("at QoS 2 is stored in one unit: half of it would come twice after a crash", async () => {
    const { store, away, deliver, finish } = scene();
    away(2 * slipsPerUnitMax);
    const told = deliver("x", 2);
    finish();
    while (!told.isSettled) await settled();
    expect(store.commits.filter((commit) => commit.length > 1).length).toBe(1);
  });

  test("at QoS 2 with a packet id reaches them after the commit, again in several turns", async () => {
    const { fanout, route, online, publisher, finish, store } = scene();
    const all = online();
    store.answers = false;
    const packetId = { kind: "create", path: "/sessions/00/p/in/7", data: noBytes, mode: "persistent" } as const;
    const delivery = fanout.deliver(message("x", 2), route(), undefined, {
      ...{ operations: [packetId], connection: publisher, by: { epoch: 1, number: 1 } },
    });
    finish();
    expect(same(all)).toEqual([]);
    while (!fanout.isUnderWay(route())) {
      store.answer(1);
      await settled();
    }
    expect(all.filter(({ length }) => length > 0).length).toBeWithin(0, many / 2);
    expect(delivery.settlement!.isSettled).toBe(false);
    finish();
    expect([same(all), delivery.settlement!.isSettled]).toEqual([["x"], true]);
  });

  test("goes after a session that has moved meanwhile, and not to one that has ended", async () => {
    const { context, away, deliver, finish, mailed } = scene();
    const [ended, moved, stays] = away(many).slice(-3) as [LocalSession, LocalSession, LocalSession];
    const told = deliver("x");
    context.localSessions.delete(ended.session.clientId);
    context.router.unsubscribe(ended, subscription);
    moved.release();
    context.localSessions.delete(moved.session.clientId);
    context.router.unsubscribe(moved, subscription);
    const remote = new RemoteSession(moved.session.clientId);
    context.remoteSessions.set(remote.clientId, remote);
    context.router.subscribe(remote, subscription);
    finish();
    while (!told.isSettled) await settled();
    expect([ended, moved, stays].map((client) => client.mailbox!.count)).toEqual([0, 0, 1]);
    expect(mailed).toEqual([moved.session.clientId]);
  });

  test("goes to nobody who has lost the right to read it meanwhile", () => {
    const { context, route, online, deliver, finish } = scene();
    const all = online();
    const last = route().targets.at(-1)!.subscriber;
    deliver("x");
    Object.defineProperty(last, "permissions", { get: () => ({ mayReceive: () => false }) });
    context.router.touch();
    finish();
    expect([all.at(-1), same(all.slice(0, -1))]).toEqual([[], ["x"]]);
  });
});

describe("from another broker", () => {
  test("waits its turn, in its order; that broker sends less meanwhile; what it has left behind is dropped", () => {
    const { context, fanout, backPressure, says, online, deliver, finish, pass } = scene();
    const all = online();
    const arriving = new Arriving(context, { fanout, backPressure, registry: { has: () => true } } as never);
    const peer = new Peer("b");
    peer.epoch = 7;
    const bundle = (...payloads: string[]): Uint8Array => {
      const bytes = Buffer.concat(payloads.map((payload) => packetOf(payload, 1)));
      return bundleFrame(1, { bytes, start: 0, end: bytes.length, count: payloads.length, version5: true });
    };
    const arrive = (frame: Uint8Array): void => arriving.bundle(peer, frame, frameHeadBytes, frame.length);
    deliver("1");
    arrive(bundle("2", "3"));
    expect(says).toEqual([]);
    const long = "4".repeat(fanoutWaitingBytesMax);
    arrive(bundle(long));
    expect(says).toEqual(["hold"]);
    finish();
    pass(1);
    expect([says, same(all)]).toEqual([
      ["hold", "go"],
      ["1", "2", "3", "4".repeat(8)],
    ]);
    deliver("5");
    arrive(bundle("6"));
    peer.epoch = undefined;
    finish();
    expect(same(all).slice(4)).toEqual(["5"]);
  });
});
