/**
 * Strangers' bytes where records stand: each decoder says that they are none of ours, in one kind of error, and in no
 * other.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { isBadFormat } from "../../src/base/errors.ts";
import { createLog } from "../../src/base/log.ts";
import { Strangers } from "../../src/broker/core/strangers.ts";
import { decodeStored } from "../../src/mail/parts.ts";
import {
  decodeMessageHead,
  decodeSession,
  decodeSlip,
  decodeSubscription,
  encodeMessage,
  encodeSession,
  encodeSlip,
} from "../../src/mail/records.ts";
import { decodeWill, encodeWill } from "../../src/mail/will-record.ts";
import { makePublish } from "../../src/mqtt/publish.ts";

// A content type, and a user property.
const properties = Uint8Array.from([3, 0, 1, 0x61, 38, 0, 1, 0x62, 0, 1, 0x63]);
const publish = makePublish(encodeUtf8("t/ö"), encodeUtf8("payload"), { qos: 2, retain: true, properties });
const head = { credits: 5, keepUntil: 1e12, branch: "b", recipients: 2, parts: { id: "00ab-1", count: 3 } };
const slip = {
  state: "sent",
  qos: 2,
  retain: true,
  packetId: 7,
  recipients: 2,
  keepUntil: 1e12,
  subscriptionIds: [1, 2],
  branch: "b",
  messagePath: "/topics/t/=x",
  hasParts: false,
  groupMark: 0,
} as const;
const session = { owner: "b", epoch: 3, connected: false, version: 5, expiryInterval: 60, expiresAt: null } as const;
const json = (value: unknown): Uint8Array => encodeUtf8(JSON.stringify(value));

const kinds: readonly (readonly [string, Uint8Array, (bytes: Uint8Array) => unknown])[] = [
  ["message head", encodeMessage(publish, head), decodeMessageHead],
  [
    "message head that tells what its payload costs",
    encodeMessage(publish, { ...head, payloadCredits: 3 }),
    decodeMessageHead,
  ],
  ["message", encodeMessage(publish, head), (bytes) => decodeStored("t/ö", bytes)],
  ["slip", encodeSlip(slip), decodeSlip],
  ["session", encodeSession(session), decodeSession],
  ["will", encodeWill({ publish, delay: 5, expiryMs: 7, epoch: 1 }), decodeWill],
  [
    "subscription",
    json({ qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 0, id: 3 }),
    (bytes) => decodeSubscription("a/+", bytes),
  ],
];

test.each(kinds)("%s: ours is read, whatever else is said to be none", (_, ours, decode) => {
  const check = (bytes: Uint8Array): void => {
    try {
      decode(bytes);
    } catch (error) {
      if (!isBadFormat(error)) throw error;
    }
  };
  decode(ours);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), check));
  fc.assert(fc.property(fc.json(), (text) => check(encodeUtf8(text))));
  for (let end = 0; end < ours.length; end++) check(ours.subarray(0, end));
  const bends = fc.array(fc.tuple(fc.nat(ours.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  const bend = (changes: [number, number][]): void => {
    const bent = ours.slice();
    for (const [at, byte] of changes) bent[at] = byte;
    check(bent);
  };
  fc.assert(fc.property(bends, bend), { numRuns: 3000 });
});

test("a slip names a message, or it is none: what it names is removed with it", () => {
  for (const messagePath of ["/bank", "/sessions/00/x", "/topics", "/topics/t", "", "/topicsx/=1"])
    expect(() => decodeSlip(encodeSlip({ ...slip, messagePath }))).toThrow("is a slip for what is no message");
});

test("strangers are named once, and not many in a while; one of ours in a place makes it ours", () => {
  const lines: string[] = [];
  let now = 0;
  const log = createLog({ level: "info", format: "text", write: (line) => void lines.push(line) });
  const strangers = new Strangers({ log, clock: { now: () => now, wall: () => 0 } });
  for (let index = 0; index < 3000; index++) strangers.note(`/brokers/${index}`, "is empty");
  expect(lines.length).toBe(10);
  expect(strangers.count).toBe(1000);
  expect(strangers.words).toBe([0, 1, 2, 3, 4].map((index) => `/brokers/${index} is empty`).join("; "));
  now += 60_000;
  expect(strangers.read("/x\u001b[31m", () => decodeSession(new Uint8Array(0)))).toBeUndefined();
  expect(lines.length).toBe(11);
  expect(lines[10]).toContain("unnamed=2990");
  expect(lines[10]).not.toContain("\u001b");
  expect(strangers.read("/brokers/0", () => 7)).toBe(7);
  expect(strangers.words).toStartWith("/brokers/1 is empty; ");
  expect(() => strangers.read("/brokers/2", () => Reflect.ownKeys(0 as never))).toThrow(TypeError);
});
