/** The way from bytes to handlers: what is gathered, in which order packets are handled, when a client is not read. */
import { describe, expect, test } from "bun:test";
import mqttPacket from "mqtt-packet";
import { Bucket } from "../../../src/base/bucket.ts";
import type { ProtocolError } from "../../../src/base/errors.ts";
import { fanoutAtOnceMax, quickPacketsMax, sliceMs } from "../../../src/base/limits.ts";
import { type Connection, PauseReason } from "../../../src/broker/delivery/connection.ts";
import { type Flows, Inbound } from "../../../src/broker/inbound.ts";
import type { ClusterRoute } from "../../../src/broker/peers/cluster-context.ts";
import type { Run } from "../../../src/broker/publish/run.ts";
import { type Publish, topicOf } from "../../../src/mqtt/publish.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { nearClient } from "../../support/near-client.ts";
import { bytesOf } from "../../support/packet-bytes.ts";
import type { AnyPacket } from "../../support/raw-client.ts";
import { type RoomOptions, room } from "../../support/room.ts";

/** Handlers that only note their calls, in order. */
function flowsTo(
  handled: string[],
  state: { isVerbatim: boolean; isBundled: boolean; isBehind: boolean; isUnderWay: boolean; work(): void },
) {
  const note =
    (what: string) =>
    (_: unknown, publish: Publish): void =>
      void handled.push(`${what} ${topicOf(publish)}`);
  const end =
    (what: string) =>
    ({ channel }: Connection, why: string): void => {
      handled.push(`${what}: ${why}`);
      channel.close();
    };
  return {
    connectHandler: {
      receive({ channel }: Connection) {
        handled.push("connect");
        channel.connecting();
      },
    },
    admission: { auth: (_: unknown, { reasonCode }: AnyPacket) => void handled.push(`auth ${reasonCode}`) },
    publishHandler: {
      receive: note("receive"),
      forbid: note("forbid"),
      refuseTopic: note("refuse"),
      gather: note("gather"),
      flush: () => {},
      release: (_: unknown, packetId: number) => void handled.push(`release ${packetId}`),
    },
    subscribeHandler: {
      subscribe() {
        handled.push("subscribe");
        state.work();
      },
      unsubscribe: () => void handled.push("unsubscribe"),
    },
    connectionEnd: {
      lose: end("lose"),
      leave: (connection: Connection) => end("leave")(connection, "DISCONNECT"),
      fail: (connection: Connection, { message }: ProtocolError) => end("fail")(connection, message),
    },
    fanout: {
      takesVerbatim: () => state.isVerbatim,
      takesBundles: () => state.isBundled,
      copyRun: ({ route, count }: Run) => void handled.push(`run ${route.topic} ${count}`),
      live: (publish: Publish) => void handled.push(`live ${topicOf(publish)}`),
      holdWhileUnderWay(_: ClusterRoute, connection: Connection) {
        if (state.isUnderWay) connection.hold(PauseReason.fanout);
        return state.isUnderWay;
      },
    },
    backPressure: {
      holdIfBehind(connection: Connection) {
        if (state.isBehind) connection.hold(PauseReason.stalled);
        return state.isBehind;
      },
    },
    storeBackPressure: { hold: () => {} },
  } as unknown as Flows;
}

function scene(options: RoomOptions = {}) {
  const made = room(options);
  const { context } = made;
  const handled: string[] = [];
  const state = { isVerbatim: true, isBundled: false, isBehind: false, isUnderWay: false, work: () => {} };
  const inbound = new Inbound(context, flowsTo(handled, state));
  const client = (phase: "new" | "open" = "open") => {
    const near = nearClient(context.turn);
    const { connection } = near;
    const session = made.session("c");
    if (phase === "open") {
      connection.client = session;
      connection.channel.open();
      session.attach(connection, 100);
    }
    const send = (...packets: readonly (AnyPacket | string)[]): void => {
      const chunks = packets.map((packet) =>
        typeof packet === "string" ? bytesOf(packet) : mqttPacket.generate(packet, { protocolVersion: 5 }),
      );
      inbound.receive(connection, new Uint8Array(Buffer.concat(chunks)));
    };
    return { ...near, session, send };
  };
  const noted = (): string[] => handled.splice(0);
  return { ...made, inbound, state, client, noted };
}

const publish = (topic: string, more: AnyPacket = {}): AnyPacket => ({ cmd: "publish", topic, payload: "x", ...more });
const connect: AnyPacket = { cmd: "connect", clientId: "c", protocolVersion: 5, clean: true };

describe("QoS 0 publishes", () => {
  test("that follow each other on one topic are copied as one run", () => {
    const { client, noted } = scene();
    const { send } = client();
    send(publish("a"), publish("a"), publish("a"), publish("b"), publish("a"));
    expect(noted()).toEqual(["run a 3", "run b 1", "run a 1"]);
    // A run ends with its chunk.
    send(publish("a"));
    send(publish("a"));
    expect(noted()).toEqual(["run a 1", "run a 1"]);
  });

  test("that a receiver does not take as they came are sent one by one", () => {
    const { state, client, noted } = scene();
    state.isVerbatim = false;
    client().send(publish("a"), publish("a"));
    expect(noted()).toEqual(["live a", "live a"]);
    state.isVerbatim = true;
    // Its time left is written anew for each receiver.
    client().send(publish("a"), publish("a", { properties: { messageExpiryInterval: 5 } }), publish("a"));
    expect(noted()).toEqual(["run a 1", "live a", "run a 1"]);
  });

  test("to very many receivers wait while another one is on its way to them, and are handled then, each once", () => {
    const { context, inbound, state, client, noted, session } = scene();
    const subscription = { filter: parseFilter("wide")!, qos: 0, noLocal: false, retainAsPublished: false } as const;
    for (let at = 0; at <= fanoutAtOnceMax; at++)
      context.router.subscribe(session(`r${at}`), { ...subscription, retainHandling: 0, id: 0 });
    const { connection, send } = client();
    send(publish("narrow"), publish("wide"), publish("wide"));
    expect(noted()).toEqual(["run narrow 1", "run wide 2"]);
    state.isUnderWay = true;
    send(publish("wide"), publish("narrow"));
    expect([noted(), connection.isHeldBy(PauseReason.fanout)]).toEqual([[], true]);
    state.isUnderWay = false;
    inbound.resume(connection, PauseReason.fanout);
    expect(noted()).toEqual(["run wide 1", "run narrow 1"]);
    expect([context.metrics.publishesReceived, context.metrics.packetsReceived]).toEqual([5, 5]);
  });

  test("on a topic of the broker's own reach nobody; on a mail drop's they are stored", () => {
    const { context, state, client, noted } = scene();
    state.isVerbatim = false;
    const { send } = client();
    send(publish("$SYS/x"));
    const route = context.router.route.bind(context.router);
    context.router.route = (...bytes) => Object.assign(route(...bytes)!, { isMailDrop: true });
    send(publish("drop/x"));
    expect(noted()).toEqual(["forbid $SYS/x", "receive drop/x"]);
  });

  test("are on their way before any other packet is handled", () => {
    const { client, noted } = scene();
    const { received, send } = client();
    const subscribe = { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a", qos: 0 }] };
    send(publish("a"), subscribe, publish("a"), publish("a", { qos: 1, messageId: 1 }), publish("a"), {
      cmd: "pingreq",
    });
    expect(noted()).toEqual(["run a 1", "subscribe", "run a 1", "receive a", "run a 1"]);
    expect(received()).toMatchObject([{ cmd: "pingresp" }]);
  });

  test("before a malformed packet are delivered, it and what follows are not", () => {
    const { context, client, noted } = scene();
    const { send } = client();
    send(publish("a"), "36 05 0001 61 0007", publish("a"));
    expect(noted()).toEqual(["run a 1", expect.stringMatching(/^fail: /)]);
    const before = context.metrics.bytesReceived;
    send(publish("a"));
    expect([noted(), context.metrics.bytesReceived]).toEqual([[], before]);
  });
});

describe("publishes with a promise", () => {
  test("are gathered where their route takes bundles, if they are plain QoS 1", () => {
    const { state, client, noted } = scene();
    state.isBundled = true;
    const { send } = client();
    const [first, second, third] = [
      { qos: 1, messageId: 1 },
      { qos: 2, messageId: 2 },
      { qos: 1, messageId: 3 },
    ];
    send(publish("a", first), publish("a", second), publish("a", { ...third, retain: true }));
    expect(noted()).toEqual(["gather a", "receive a", "receive a"]);
  });

  test("are counted by their QoS", () => {
    const { context, client } = scene();
    client().send(publish("a"), publish("a", { qos: 1, messageId: 1 }), publish("a", { qos: 2, messageId: 2 }));
    const { publishesReceived, receivedQoS1, receivedQoS2 } = context.metrics;
    expect([publishesReceived, receivedQoS1, receivedQoS2]).toEqual([3, 1, 1]);
  });
});

describe("the access list", () => {
  test("is asked once for a topic, and again for another one, or when it has changed", () => {
    const { client, noted } = scene();
    const { connection, session, send } = client();
    const asked: string[] = [];
    const mayPublish = (topic: string): boolean => {
      asked.push(topic);
      return topic !== "secret";
    };
    Object.defineProperty(session, "permissions", { value: { mayPublish } });
    send(publish("a"), publish("a"), publish("secret"), publish("a"));
    expect([asked.splice(0), noted()]).toEqual([
      ["a", "secret"],
      ["run a 2", "forbid secret", "run a 1"],
    ]);
    connection.allowed = undefined;
    send(publish("a"));
    expect(asked).toEqual(["a"]);
  });
});

describe("topics", () => {
  test("that no client may publish on end the connection", () => {
    const wrong = [
      publish("a", { properties: { subscriptionIdentifier: 1 } }),
      "30 06 0003 612f23 00",
      "30 03 0000 00",
    ];
    const why = wrong.map((packet) => {
      const { client, noted } = scene();
      client().send(packet);
      return noted();
    });
    expect(why).toEqual([
      ["fail: a subscription identifier in a client's PUBLISH"],
      ["fail: the topic name holds a wildcard"],
      ["fail: an empty topic without a topic alias"],
    ]);
  });

  test("with more levels than may be are refused, in their place", () => {
    const { context, client, noted } = scene({ topicLevelsMax: 3 });
    const topics = ["a", "a/b/c/d", "a/b/c", "a///", "a"];
    client().send(...topics.map((topic) => publish(topic)));
    expect(noted()).toEqual(["run a 1", "refuse a/b/c/d", "run a/b/c 1", "refuse a///", "run a 1"]);
    expect(context.router.routes).toBe(2);
  });

  test("may be named by their aliases", () => {
    const { state, client, noted } = scene();
    state.isVerbatim = false;
    const properties = { topicAlias: 3 };
    client().send(publish("a", { properties }), publish("", { properties }));
    expect(noted()).toEqual(["live a", "live a"]);
  });
});

describe("the order of packets", () => {
  test("begins with CONNECT, and with no other", () => {
    const { client, noted } = scene();
    client("new").send({ cmd: "pingreq" });
    client("new").send(connect);
    expect(noted()).toEqual(["fail: the first packet is not CONNECT", "connect"]);
  });

  test("has one CONNECT only, and no packet of a type that there is not", () => {
    const { client, noted } = scene();
    client().send(connect);
    client().send("00 00");
    expect(noted()).toEqual(["fail: a second CONNECT", expect.stringContaining("packet type 0")]);
  });

  test("allows nothing but AUTH, and to leave, before the login is over", () => {
    const { client, noted } = scene();
    const properties = { authenticationMethod: "m", authenticationData: Buffer.from("d") };
    for (const packet of [{ cmd: "auth", reasonCode: 0x18, properties }, { cmd: "disconnect" }, { cmd: "pingreq" }]) {
      const { connection, send } = client();
      connection.channel.authenticating();
      send(packet);
    }
    expect(noted()).toEqual([
      "auth 24",
      "lose: it left while it was to log in",
      "fail: pingreq before the login is over",
    ]);
  });

  test("has acks where they belong: those of the client's messages, and PUBREL of its publishes", () => {
    const { client, noted } = scene();
    const { session, send } = client();
    const acknowledged: unknown[] = [];
    session.acknowledge = (...ack) => void acknowledged.push(ack);
    send({ cmd: "puback", messageId: 5, reasonCode: 0x80 }, { cmd: "pubrel", messageId: 6 });
    expect([acknowledged, noted()]).toEqual([[[4, 5, 0x80]], ["release 6"]]);
  });
});

describe("a connection that is held", () => {
  test("has its packets wait, also those of the same chunk, and goes on where it stopped", () => {
    const { inbound, client, noted } = scene();
    const { connection, state, send } = client();
    connection.hold(PauseReason.owed);
    send(publish("a"), publish("b"));
    expect([noted(), state.isRead]).toEqual([[], false]);
    inbound.resume(connection, PauseReason.owed);
    expect([noted(), state.isRead]).toEqual([["run a 1", "run b 1"], true]);
  });

  test("for two reasons goes on after the second; one that its client has closed then ends", () => {
    const { inbound, client, noted } = scene();
    const { connection, state, send } = client();
    for (const reason of [PauseReason.owed, PauseReason.link]) connection.hold(reason);
    send(publish("a"));
    connection.ended = true;
    inbound.resume(connection, PauseReason.owed);
    expect(noted()).toEqual([]);
    inbound.resume(connection, PauseReason.link);
    expect([noted(), state.isRead]).toEqual([["run a 1", "lose: the client closed the connection"], false]);
  });

  test("since a receiver is behind is not even looked at", () => {
    const { inbound, state, client, noted } = scene();
    const { connection, send } = client();
    state.isBehind = true;
    send(publish("a"));
    expect(noted()).toEqual([]);
    inbound.resume(connection, PauseReason.stalled);
    expect(noted()).toEqual(["run a 1"]);
  });
});

describe("a client that sends too much", () => {
  test("is not read until its rate is evened out, and that is counted once", () => {
    const { context, client, noted, pass } = scene();
    const { connection, state, send } = client();
    connection.meter = { messages: new Bucket(10, context.clock.now()), bytes: undefined };
    send(...Array.from({ length: 25 }, () => publish("a")));
    expect([state.isRead, context.metrics.slowedDown]).toEqual([false, 1]);
    const first = noted();
    pass(5000);
    expect(state.isRead).toBe(true);
    const counts = [...first, ...noted()].map((run) => Number(run.split(" ")[2]));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(25);
  });

  test("in one chunk leaves the event loop to others after its slice", () => {
    const { context, state, client, noted } = scene();
    const { connection, send } = client();
    let now = context.clock.now();
    Object.assign(context.clock, { now: () => now });
    state.work = () => {
      now += sliceMs;
    };
    const subscribe = { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a", qos: 0 }] };
    send(subscribe, subscribe);
    expect([noted(), connection.isHeldBy(PauseReason.slice)]).toEqual([["subscribe"], true]);
    context.timers.tick(now);
    expect([noted(), connection.isHeldBy(PauseReason.slice)]).toEqual([["subscribe"], false]);
  });

  test("on topics whose routes take long to work out leaves it after a few of them", () => {
    const { context, client, noted } = scene();
    const { connection, send } = client();
    let now = context.clock.now();
    const { router } = context;
    const route = router.route.bind(router);
    const slowly = (bytes: Uint8Array, start: number, end: number) => {
      now += sliceMs / 2;
      return route(bytes, start, end);
    };
    Object.assign(context.clock, { now: () => now });
    Object.assign(router, { route: slowly });
    send(...["a", "b", "c", "d", "e"].map((topic) => publish(topic)));
    expect([noted(), connection.isHeldBy(PauseReason.slice)]).toEqual([["run a 1", "run b 1"], true]);
  });

  test("at QoS 0 on one topic does not have the clock asked for each packet", () => {
    const { context, client } = scene();
    let asked = 0;
    const { now } = context.clock;
    const counted = (): number => {
      asked++;
      return now();
    };
    Object.assign(context.clock, { now: counted });
    client().send(...Array.from({ length: 10 * quickPacketsMax }, () => publish("a")));
    expect(asked).toBeLessThan(10);
  });
});
