/** `mosquitto.db` byte by byte, and what of it is kept; what is wrong is refused, or counted and left out. */
import { describe, expect, test } from "bun:test";
import { OperatingError } from "../../src/base/errors.ts";
import { readForeignDatabase } from "../../src/mosquitto/database.ts";
import { type Plan, planImport } from "../../src/mosquitto/plan.ts";
import { topicOf } from "../../src/mqtt/publish.ts";
import { chunksOf } from "../support/mosquitto-db.ts";

const now = 1_800_000_000_000;
const planned = (bytes: Uint8Array): Plan => planImport(readForeignDatabase(bytes), now);
const mailIn = ({ mail }: Plan): string[] =>
  mail.map(({ publish, receivers }) => `${topicOf(publish)} ${receivers.map(({ clientId }) => clientId).join(",")}`);

describe.each([5, 6] as const)("format %i", (format) => {
  const of = chunksOf(format);

  test("sessions, subscriptions, retained messages and mail", () => {
    const plan = planned(
      of.file(
        of.settings(),
        of.message(3, "a/b", "hällo", { qos: 2, user: "alice", expiresAt: now / 1000 + 60 }),
        of.message(1, "r", "retained", { retain: 1 }),
        of.client("one", 300, { user: "bob" }),
        of.client("two"),
        of.subscription("one", "a/#", 2, 0x0c, 7),
        of.subscription("two", "$share/g/a/+"),
        of.retained(1),
        of.delivery("one", 3, { qos: 2, packetId: 9, state: 5, properties: Uint8Array.of(3, 0x0b, 0x80, 0x01) }),
        of.delivery("two", 3, { packetId: 4 }),
        of.strange(),
      ),
    );
    const [one, two] = plan.sessions;
    expect(one!.client).toEqual({ id: "one", user: format === 6 ? "bob" : "", expiryInterval: 300, expiresAt: 0 });
    expect(one!.subscriptions[0]).toMatchObject({
      filter: "a/#",
      qos: 2,
      noLocal: true,
      retainAsPublished: true,
      id: 7,
    });
    expect(two!.subscriptions[0]).toMatchObject({ filter: "$share/g/a/+", noLocal: false, id: 0 });
    expect(plan.retained.map(({ publish }) => [topicOf(publish), publish.retain, publish.qos])).toEqual([
      ["r", true, 1],
    ]);
    const [mail] = plan.mail;
    expect([mail!.user, mail!.publish.expiresAt, mail!.publish.payloadLength]).toEqual(["alice", now + 60_000, 6]);
    expect(mail!.receivers).toEqual([
      { clientId: "one", qos: 2, retain: false, subscriptionIds: [128], packetId: 9 },
      { clientId: "two", qos: 1, retain: false, subscriptionIds: [], packetId: 0 },
    ]);
    expect([...plan.leftOut]).toEqual([["chunks of kinds that are not known", 1]]);
  });

  test("a file that is cut anywhere is refused, but between two chunks", () => {
    const parts = [of.file(), of.settings(), of.message(1, "a", "b"), of.client("c"), of.subscription("c", "a")];
    const whole = Buffer.concat([...parts, of.retained(1), of.delivery("c", 1)]);
    let refused = 0;
    for (let length = 0; length < whole.length; length++) {
      try {
        readForeignDatabase(whole.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(OperatingError);
        refused++;
      }
    }
    // The head, and whole chunks behind it.
    expect(whole.length - refused).toBe(6);
  });
});

test("a chunk that is shorter than what its numbers say is refused, however much of it there is", () => {
  const of = chunksOf(6);
  const chunks = [of.message(1, "a", "payload", { user: "u" }), of.client("c", 1, { user: "u" }), of.retained(1)];
  for (const whole of [...chunks, of.subscription("c", "a/b"), of.delivery("client", 1), of.settings()])
    for (let length = 8; length < Math.min(whole.length, whole[3] === 1 ? 17 : Infinity); length++) {
      const cut = Buffer.from(whole.subarray(0, length));
      cut.writeUInt32BE(length - 8, 4);
      expect(() => readForeignDatabase(of.file(cut))).toThrow(OperatingError);
    }
});

const of = chunksOf(6);

test.each([
  ["no magic", Buffer.from("sqlite format 3 and more"), "it is no mosquitto.db"],
  ["another format", Buffer.concat([of.file().subarray(0, 22), Uint8Array.of(4)]), "its format is 4; 5 and 6 are read"],
  ["ids of another machine", of.file(of.settings(4)), "not of 8 bytes"],
  ["a text that is none", of.file(of.client("x\xff")), "the chunk at byte 23"],
  ["QoS 3", of.file(of.delivery("c", 1, { qos: 3 })), "another QoS"],
  ["a message without a topic", of.file(of.message(1, "", "x")), "without a topic"],
])("%s is refused, with its place", (_, bytes, words) => {
  expect(() => readForeignDatabase(bytes)).toThrow(words);
});

test("what has ended, is nobody's, or none of MQTT's is counted and left out", () => {
  const plan = planned(
    of.file(
      of.client("over", 10, { expiresAt: now / 1000 - 1 }),
      of.client("short", 0),
      of.client(""),
      of.client("c"),
      of.subscription("nobody", "a"),
      of.subscription("c", "a#"),
      of.message(1, "old", "x", { expiresAt: now / 1000 }),
      of.message(2, "a/+", "x"),
      of.message(3, "p", "x", { properties: Uint8Array.of(2, 0xff, 0) }),
      of.delivery("c", 1),
      of.delivery("c", 2),
      of.delivery("c", 3),
      of.delivery("c", 4),
      of.delivery("nobody", 1),
    ),
  );
  expect([plan.sessions.length, plan.mail]).toEqual([1, []]);
  expect(Object.fromEntries(plan.leftOut)).toEqual({
    "sessions whose time is over": 1,
    "sessions that end with their connections": 1,
    "sessions without a client id": 1,
    "subscriptions of sessions that are not there": 1,
    "subscriptions to what is no topic filter": 1,
    "messages for sessions that are not there": 1,
    "messages whose time is over": 1,
    "messages that are none of MQTT's": 2,
    "messages that are not there any more": 1,
  });
});

test("each client keeps the order in which it was to be sent its messages, also where that is not the order of their ids", () => {
  const messages = [1, 2, 3].map((id) => of.message(id, `t${id}`, "x"));
  const clients = ["a", "b", "c"].map((id) => of.client(id));
  const inOrder = ["a", "b"].flatMap((id) => [of.delivery(id, 1), of.delivery(id, 3)]);
  // It has subscribed late, so that a retained message came behind a newer one.
  const late = [of.delivery("c", 3), of.delivery("c", 1), of.delivery("c", 2)];
  expect(mailIn(planned(of.file(...messages, ...clients, ...inOrder, ...late)))).toEqual([
    ...["t1 a,b", "t3 a,b"],
    ...["t3 c", "t1 c", "t2 c"],
  ]);
});

test("what was sent at QoS 2 and not released has not been published yet; at QoS 0 and 1 nothing comes in", () => {
  const plan = planned(
    of.file(
      of.client("c"),
      of.message(1, "t", "x", { qos: 2 }),
      of.delivery("c", 1, { direction: 0, state: 7, packetId: 5, qos: 2 }),
      of.delivery("c", 1, { direction: 0, state: 11, packetId: 6, qos: 2 }),
      of.delivery("c", 1, { qos: 0 }),
    ),
  );
  expect(plan.unreleased.map(({ clientId, packetId }) => [clientId, packetId])).toEqual([["c", 5]]);
  expect(plan.mail).toEqual([]);
});
