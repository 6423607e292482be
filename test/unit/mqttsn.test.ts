/** The gateway of MQTT-SN without a broker: what it keeps for strangers, when clients count as lost, its files. */
import { describe, expect, test } from "bun:test";
import { snUnprovenMax, snWillsPendingMax } from "../../src/base/sn-limits.ts";
import { encodeControl } from "../../src/mqtt/control.ts";
import { Gateway, type GatewayOptions } from "../../src/mqttsn/gateway.ts";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage, encodeMessage } from "../../src/mqttsn/messages.ts";
import { Peer } from "../../src/mqttsn/peer.ts";
import { PredefinedTopics } from "../../src/mqttsn/predefined-topics.ts";
import type { Transport, TransportEvents } from "../../src/net/transport.ts";
import { seeded } from "../simulation/world.ts";

/** A broker that lets everybody in, and notes what it is sent. */
class OpenBroker implements TransportEvents<Transport> {
  readonly packets: number[] = [];

  opened(transport: Transport): Transport {
    return transport;
  }

  received(transport: Transport, bytes: Uint8Array): void {
    this.packets.push(bytes[0]! >> 4);
    const connack = encodeControl({ cmd: "connack", sessionPresent: true, reasonCode: 0 }, 5);
    if (bytes[0] === 0x10) transport.write(connack, 0, connack.length);
    if (bytes[0]! >> 4 === 14) transport.close();
  }

  drained(): void {}
  closed(): void {}
}

function setUp(options: Partial<GatewayOptions> = {}) {
  let now = 1000;
  const broker = new OpenBroker();
  const sent: SnMessage[] = [];
  const later: (() => void)[] = [];
  const gateway = new Gateway<Transport>(
    { gatewayId: 1, user: undefined, anonymousUser: undefined, retryMs: 10_000, datagramBytesMax: 1_232, ...options },
    {
      events: broker,
      later: (go) => void later.push(go),
      clock: { now: () => now },
      random: seeded(1),
      send: (bytes) => void sent.push(decodeMessage(bytes) as SnMessage),
      predefined: new PredefinedTopics(),
      mailWaits: () => false,
      knows: () => true,
      tooLarge() {},
    },
  );
  const tell = (message: SnMessage, port = 1, address = "10.0.0.1"): void => {
    gateway.receive(encodeMessage(message), { address, port });
    for (const go of later.splice(0)) go();
  };
  const connect = (clientId: string, port: number, { will = false, duration = 100 } = {}): void =>
    tell({ kind: "connect", will, clean: true, protocolId: 1, duration, clientId }, port);
  /** Lets time pass, from deadline to deadline. */
  const pass = (ms: number): void => {
    const until = now + ms;
    while (gateway.nextDeadline() <= until) {
      now = Math.max(now, gateway.nextDeadline());
      gateway.tick(now);
    }
    now = until;
    for (const go of later.splice(0)) go();
  };
  return { gateway, broker, sent, tell, connect, pass };
}

const disconnect = 14;

describe("a client that is silent", () => {
  test.each([
    [10, 15_000],
    [60, 90_000],
    [100, 110_000],
    [65_535, 72_088_500],
  ])("for longer than %i s is lost after %i ms, awake or asleep", (duration, ms) => {
    const { gateway, broker, connect, tell, pass } = setUp();
    connect("awake", 1, { duration });
    connect("asleep", 2, { duration: 30 });
    tell({ kind: "disconnect", duration }, 2);
    expect(gateway.sleeping).toBe(1);
    pass(ms - 1);
    expect(gateway.clients).toBe(2);
    expect(broker.packets.filter((type) => type === disconnect)).toEqual([]);
    pass(1);
    expect(gateway.clients).toBe(0);
    expect(gateway.metrics.lost).toBe(2);
    expect(broker.packets.filter((type) => type === disconnect).length).toBe(2);
  });
});

describe("strangers", () => {
  test("that connect from more addresses than prove themselves make room for each other", () => {
    const { gateway, connect } = setUp();
    for (let index = 0; index < snUnprovenMax + 50; index++) connect(`client-${index}`, index);
    expect(gateway.clients).toBe(snUnprovenMax);
    expect(gateway.metrics.refused).toBe(50);
  });

  test("that owe their wills are so many, and no more", () => {
    const { gateway, broker, connect, sent, pass } = setUp();
    for (let index = 0; index < snWillsPendingMax + 5; index++) connect(`client-${index}`, index, { will: true });
    expect(gateway.clients).toBe(snWillsPendingMax);
    expect(sent.at(-1)).toEqual({ kind: "connack", code: 1 });
    expect(broker.packets).toEqual([]);
    pass(30_000);
    expect(gateway.clients).toBe(0);
    connect("another", 1, { will: true });
    expect(sent.at(-1)).toEqual({ kind: "willtopicreq" });
  });
});

test("an address that has not proved itself is sent as many bytes as it has sent, and then none", () => {
  const sent: number[] = [];
  const from = { address: "10.0.0.1", port: 1, node: undefined };
  const peer = new Peer("key", from, (bytes) => void sent.push(bytes.length));
  peer.credit = 17;
  const answer: SnMessage = { kind: "regack", topicId: 1, messageId: 1, code: 0 };
  expect([1, 2, 3].map(() => peer.tell(answer))).toEqual([true, true, false]);
  expect(peer.tell({ kind: "connack", code: 0 })).toBe(true);
  expect(peer.tell({ kind: "pingresp" })).toBe(false);
  peer.isProven = true;
  expect(peer.tell(answer)).toBe(true);
  expect(sent).toEqual([7, 7, 3, 7]);
});

describe("predefined topics", () => {
  test("a client's own come before everybody's", () => {
    const topics = new PredefinedTopics();
    topics.load("# a comment\n\n*, a/b , 1\n* ,c, 2\ndev, d, 1\ndev,with, comma,3\r\n");
    expect(topics.topicOf("other", 1)?.topic).toBe("a/b");
    expect(topics.topicOf("dev", 1)?.topic).toBe("d");
    expect(topics.topicOf("dev", 2)?.topic).toBe("c");
    expect(topics.topicOf("dev", 3)?.topic).toBe("with, comma");
    expect(topics.topicOf("dev", 4)).toBeUndefined();
    expect(topics.find("other", "a/b")?.id).toBe(1);
    // Its id means something else with that client.
    expect(topics.find("dev", "a/b")).toBeUndefined();
  });

  test.each([
    ["*,a/b", "three parts"],
    ["*,a/+,1", "without wildcards"],
    ["*,a,0", "1 to 65534"],
    ["*,a,65535", "1 to 65534"],
    ["*,a,x", "1 to 65534"],
    [",a,1", "names no client"],
    ["*,a,1\n*,b,1", "line 2"],
  ])("%p is refused, and what was there stays", (text, why) => {
    const topics = new PredefinedTopics();
    topics.load("*,kept,7");
    expect(() => topics.load(text)).toThrow(why);
    expect(topics.topicOf("x", 7)?.topic).toBe("kept");
  });
});

describe("a client whose address is fixed", () => {
  const elsewhere = "10.0.0.2";
  const connectOf = (clientId: string): SnMessage => ({
    ...{ kind: "connect", will: false, clean: false, protocolId: 1, duration: 100 },
    clientId,
  });
  const ping = (clientId: string): SnMessage => ({ kind: "pingreq", clientId });

  function asleep(options: Partial<GatewayOptions>) {
    const made = setUp(options);
    made.tell(connectOf("c"), 1);
    made.tell({ kind: "disconnect", duration: 100 }, 1);
    made.sent.length = 0;
    return made;
  }

  test("cannot be had from another one, by waking it or by connecting as it; behind another port it goes on", () => {
    const { gateway, sent, tell } = asleep({ fixesAddresses: true });
    tell(ping("c"), 7, elsewhere);
    tell(connectOf("c"), 7, elsewhere);
    expect(sent.map(({ kind }) => kind)).toEqual(["disconnect", "connack"]);
    expect(sent[1]).toMatchObject({ code: 3 });
    expect([gateway.clients, gateway.sleeping]).toEqual([1, 1]);
    sent.length = 0;
    tell(ping("c"), 2);
    expect(sent.map(({ kind }) => kind)).toEqual(["pingresp"]);
    // Others have their own.
    tell(connectOf("d"), 7, elsewhere);
    expect([gateway.clients, sent.at(-1)]).toEqual([2, expect.objectContaining({ kind: "connack", code: 0 })]);
  });

  test("connects again where its address is not known any more", () => {
    const { gateway, sent, tell } = setUp({ fixesAddresses: true });
    tell(ping("stored"), 7, elsewhere);
    expect([gateway.clients, sent.map(({ kind }) => kind)]).toEqual([0, ["disconnect"]]);
  });

  test("is found anywhere where that was not asked for", () => {
    const { sent, tell } = asleep({});
    tell(ping("c"), 7, elsewhere);
    expect(sent.map(({ kind }) => kind)).toEqual(["pingresp"]);
  });
});
