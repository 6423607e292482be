/** The client side of MQTT-SN without IO, against a gateway that does as each test says. */
import { describe, expect, test } from "bun:test";
import { SnClient } from "../../src/mqttsn/client.ts";
import type { SnClientOptions } from "../../src/mqttsn/client-terms.ts";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage, encodeMessage } from "../../src/mqttsn/messages.ts";

type Kind = SnMessage["kind"];

function setUp(given: Partial<SnClientOptions> = {}) {
  let now = 1000;
  const sent: SnMessage[] = [];
  const got: string[] = [];
  const lost: string[] = [];
  const client = new SnClient(
    { clientId: "tool", clean: true, keepAlive: 60, will: undefined, retryMs: 2000, window: 1, firstId: 6, ...given },
    {
      clock: { now: () => now },
      send: (bytes) => void sent.push(decodeMessage(bytes) as SnMessage),
      received: ({ topic, payload }) => void got.push(`${topic} ${new TextDecoder().decode(payload)}`),
      lost: (why) => void lost.push(why),
    },
  );
  const tell = (message: SnMessage): void => client.receive(encodeMessage(message));
  const pass = (ms: number): void => {
    const until = now + ms;
    while (client.nextDeadline() <= until) {
      now = Math.max(now, client.nextDeadline());
      client.tick(now);
    }
    now = until;
  };
  const last = <K extends Kind>(kind: K) => {
    const message = sent.at(-1)!;
    expect(message.kind).toBe(kind);
    return message as Extract<SnMessage, { kind: K }>;
  };
  const connect = (): void => {
    client.connect(() => {});
    tell({ kind: "connack", code: 0 });
    expect(client.state).toBe("active");
  };
  const publish = (topic: string, text: string, qos: 0 | 1 | 2, codes: (number | undefined)[]): void =>
    client.publish({ topic, payload: new TextEncoder().encode(text), qos, retain: false }, (answer) => {
      codes.push(answer?.code);
    });
  return { client, sent, got, lost, tell, pass, last, connect, publish };
}

test("CONNECT with a will is asked for both its halves", () => {
  const will = { topic: "will", qos: 1 as const, retain: true, data: Uint8Array.of(7) };
  const { client, sent, tell, last } = setUp({ will });
  const codes: (number | undefined)[] = [];
  client.connect((answer) => codes.push(answer?.code));
  expect(last("connect")).toMatchObject({ will: true, clean: true, duration: 60, clientId: "tool" });
  tell({ kind: "willtopicreq" });
  expect(last("willtopic")).toMatchObject({ topic: "will", qos: 1, retain: true });
  tell({ kind: "willmsgreq" });
  expect([...last("willmsg").data]).toEqual([7]);
  tell({ kind: "connack", code: 0 });
  expect(codes).toEqual([0]);
  expect(sent.length).toBe(3);
});

describe("publishing", () => {
  test("a topic is registered once; short names never are", () => {
    const { connect, publish, sent, tell, last } = setUp();
    connect();
    const codes: (number | undefined)[] = [];
    publish("a/topic", "1", 1, codes);
    publish("a/topic", "2", 0, codes);
    publish("ab", "3", 0, codes);
    const { messageId, topic } = last("register");
    expect(topic).toBe("a/topic");
    tell({ kind: "regack", topicId: 9, messageId, code: 0 });
    const first = last("publish");
    expect(first).toMatchObject({ topicId: 9, topicKind: 0, qos: 1 });
    tell({ kind: "puback", topicId: 9, messageId: first.messageId, code: 0 });
    expect(codes).toEqual([0, 0, 0]);
    expect(sent.slice(-2)).toMatchObject([
      { qos: 0, messageId: 0, topicKind: 0, topicId: 9 },
      { qos: 0, messageId: 0, topicKind: 2, topicId: 0x6162 },
    ]);
  });

  test("QoS 2 has its four messages, and a doubled answer changes nothing", () => {
    const { connect, publish, tell, last, sent } = setUp();
    connect();
    const codes: (number | undefined)[] = [];
    publish("ab", "x", 2, codes);
    const { messageId } = last("publish");
    tell({ kind: "pubrec", messageId });
    expect(last("pubrel")).toEqual({ kind: "pubrel", messageId });
    tell({ kind: "pubcomp", messageId });
    expect(codes).toEqual([0]);
    const before = sent.length;
    tell({ kind: "pubcomp", messageId });
    expect(sent.length).toBe(before);
    // Its PUBREL was lost on the gateway's side of the world.
    tell({ kind: "pubrec", messageId });
    expect(last("pubrel")).toEqual({ kind: "pubrel", messageId });
    expect(codes).toEqual([0]);
  });

  test("congestion is waited out, an id that is gone is registered again, a refusal is told", () => {
    const { connect, publish, tell, last, pass, sent } = setUp();
    connect();
    const codes: (number | undefined)[] = [];
    publish("a/topic", "x", 1, codes);
    tell({ kind: "regack", topicId: 9, messageId: last("register").messageId, code: 0 });
    const { messageId } = last("publish");
    tell({ kind: "puback", topicId: 9, messageId, code: 1 });
    const before = sent.length;
    pass(1999);
    expect(sent.length).toBe(before);
    pass(1);
    expect(last("publish")).toMatchObject({ messageId, dup: true });
    tell({ kind: "puback", topicId: 9, messageId, code: 2 });
    tell({ kind: "regack", topicId: 10, messageId: last("register").messageId, code: 0 });
    expect(last("publish")).toMatchObject({ messageId, topicId: 10 });
    tell({ kind: "puback", topicId: 10, messageId, code: 3 });
    expect(codes).toEqual([3]);
  });

  test("a gateway that knows no id, however often it is asked, is no reason to go on for ever", () => {
    const { connect, publish, tell, sent } = setUp();
    connect();
    const codes: (number | undefined)[] = [];
    publish("a/topic", "x", 1, codes);
    for (let round = 0; round < 100 && codes.length === 0; round++) {
      const asked = sent.at(-1)!;
      if (asked.kind === "register") tell({ kind: "regack", topicId: 9, messageId: asked.messageId, code: 0 });
      if (asked.kind === "publish") tell({ kind: "puback", topicId: 9, messageId: asked.messageId, code: 2 });
    }
    expect(codes).toEqual([2]);
    expect(sent.length).toBeLessThan(20);
  });

  test("one request at a time, or as many as the window has", () => {
    for (const window of [1, 3]) {
      const { connect, publish, sent } = setUp({ window });
      connect();
      const codes: (number | undefined)[] = [];
      for (let index = 0; index < 5; index++) publish("ab", `${index}`, 1, codes);
      expect(sent.filter(({ kind }) => kind === "publish").length).toBe(window);
    }
  });
});

describe("what is not answered", () => {
  test("is sent again, later each time, and then the connection is lost", () => {
    const { connect, publish, sent, pass, lost, client } = setUp();
    connect();
    const codes: (number | undefined)[] = [];
    publish("ab", "x", 1, codes);
    publish("ab", "y", 1, codes);
    pass(2000 + 3000 + 4500 + 6750);
    const publishes = sent.filter((message) => message.kind === "publish");
    expect(publishes.map(({ dup }) => dup)).toEqual([false, true, true, true, true]);
    pass(10_124);
    expect(lost).toEqual([]);
    pass(1);
    expect(lost).toEqual(["PUBLISH was not answered"]);
    expect(codes).toEqual([undefined, undefined]);
    expect(client.nextDeadline()).toBe(Infinity);
  });

  test("a silent client is heard of before its Keep Alive is over", () => {
    const { connect, pass, last, sent, tell } = setUp();
    connect();
    pass(44_999);
    expect(sent.length).toBe(1);
    pass(1);
    expect(last("pingreq")).toEqual({ kind: "pingreq", clientId: "" });
    tell({ kind: "pingresp" });
    expect(sent.length).toBe(2);
  });

  test("DISCONNECT that nobody has asked for is the end", () => {
    const { connect, tell, lost, client } = setUp();
    connect();
    tell({ kind: "disconnect", duration: undefined });
    expect(lost).toEqual(["the gateway has ended the connection"]);
    expect(client.state).toBe("over");
  });
});

describe("messages for it", () => {
  test("are acknowledged; of topics that it does not know it says so", () => {
    const { connect, tell, got, last } = setUp();
    connect();
    const data = new TextEncoder().encode("x");
    const head = { kind: "publish", dup: false, retain: false, topicKind: 0, topicId: 4, data } as const;
    tell({ ...head, qos: 1, messageId: 1 });
    expect(last("puback")).toEqual({ kind: "puback", topicId: 4, messageId: 1, code: 2 });
    tell({ kind: "register", topicId: 4, messageId: 2, topic: "some/topic" });
    expect(last("regack")).toEqual({ kind: "regack", topicId: 4, messageId: 2, code: 0 });
    tell({ ...head, qos: 1, messageId: 1 });
    expect(last("puback")).toMatchObject({ messageId: 1, code: 0 });
    for (const dup of [false, true]) {
      tell({ ...head, qos: 2, messageId: 3, dup });
      expect(last("pubrec")).toEqual({ kind: "pubrec", messageId: 3 });
    }
    tell({ kind: "pubrel", messageId: 3 });
    expect(last("pubcomp")).toEqual({ kind: "pubcomp", messageId: 3 });
    expect(got).toEqual(["some/topic x", "some/topic x"]);
  });

  test("are left to come again while it is paused", () => {
    const { client, connect, tell, got, sent } = setUp();
    connect();
    const data = new TextEncoder().encode("x");
    const message = { kind: "publish", dup: false, retain: false, topicKind: 2, topicId: 0x6162, data } as const;
    client.isPaused = true;
    tell({ ...message, qos: 1, messageId: 1 });
    expect(sent.length).toBe(1);
    client.isPaused = false;
    tell({ ...message, qos: 1, messageId: 1 });
    expect(got).toEqual(["ab x"]);
  });
});

test("a sleeper wakes by itself, fetches what waits, and sleeps again", () => {
  const { client, connect, pass, last, tell, got, sent, lost } = setUp();
  connect();
  client.sleep(300, () => {});
  expect(last("disconnect")).toEqual({ kind: "disconnect", duration: 300 });
  tell({ kind: "disconnect", duration: undefined });
  expect(client.state).toBe("asleep");
  for (const round of [1, 2]) {
    const before = sent.length;
    pass(299_999);
    expect(sent.length).toBe(before);
    pass(1);
    expect(last("pingreq")).toEqual({ kind: "pingreq", clientId: "tool" });
    expect(client.state).toBe("awake");
    tell({
      ...{ kind: "publish", dup: false, qos: 1, retain: false, topicKind: 2, topicId: 0x6162, messageId: round },
      data: new TextEncoder().encode(`${round}`),
    });
    tell({ kind: "pingresp" });
    expect(client.state).toBe("asleep");
  }
  expect(got).toEqual(["ab 1", "ab 2"]);
  // A gateway that knows it no more says so.
  tell({ kind: "disconnect", duration: undefined });
  expect(lost.length).toBe(1);
});
