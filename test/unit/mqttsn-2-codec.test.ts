/** MQTT-SN 2.0's packets, byte for byte as the draft's figures have them, and whatever else may come. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import type { ConnectOf2, SnMessage } from "../../src/mqttsn/message-kinds.ts";

const bytesOf = (hex: string): Uint8Array => Uint8Array.fromHex(hex.replace(/ /g, ""));
const dataOf = (text: string): Uint8Array => new TextEncoder().encode(text);

const plain: ConnectOf2 = {
  ...{ messageId: 0x102, will: undefined, expiry: 0, packetBytesMax: 0, allowsMoves: false, method: undefined },
  awakeMax: 0,
};
const connect = (clean: boolean, clientId: string, of2: Partial<ConnectOf2> = {}): SnMessage => ({
  ...{ kind: "connect", will: false, clean, protocolId: 2, duration: 60, clientId },
  of2: { ...plain, ...of2 },
});
const options = { noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

/** Each packet of the draft, by its figure. */
const golden: readonly (readonly [string, SnMessage])[] = [
  // 3-1: the smallest, and one with all that it may have; the authentication data is empty.
  ["0a 01 01 0102 02 003c 0000", connect(true, "")],
  [
    "2c 01 3e 1b 0102 02 003c 0400 05 00000e10 0003 612f62 0004 676f6e65 05 504c41494e 0000 6465766963652d3031",
    connect(false, "device-01", {
      will: { topic: "a/b", qos: 2, retain: true, data: dataOf("gone") },
      ...{ expiry: 3600, packetBytesMax: 1024, allowsMoves: true, method: "PLAIN", awakeMax: 5 },
    }),
  ],
  // 3-3
  ["06 02 01 0102 00", { kind: "connack", code: 0, messageId: 0x102, reason: 0, sessionPresent: true }],
  [
    "09 02 00 0102 00 736e31",
    { kind: "connack", code: 0, messageId: 0x102, reason: 0, sessionPresent: false, assignedId: "sn1" },
  ],
  ["06 02 00 0102 8c", { kind: "connack", code: 3, messageId: 0x102, reason: 0x8c, sessionPresent: false }],
  // 3-4
  ["08 0f 0102 18 02 4142", { kind: "auth", messageId: 0x102, reason: 0x18, method: "AB" }],
  // 3-5: by a client, by a gateway
  ["08 10 00 0102 612f62", { kind: "register", topicId: 0, messageId: 0x102, topic: "a/b" }],
  ["0a 10 01 0102 0011 612f62", { kind: "register", topicId: 0x11, messageId: 0x102, topic: "a/b" }],
  ["08 11 04 0102 0011 00", { kind: "regack", topicId: 0x11, messageId: 0x102, code: 0 }],
  ["08 11 05 0102 0011 1a", { kind: "regack", topicId: 0x11, messageId: 0x102, code: 0, isPredefined: true }],
  // PUBLISH: an alias, a name, a predefined alias
  [
    "09 03 20 0102 0011 6869",
    {
      ...{ kind: "publish", dup: false, qos: 1, retain: false, topicKind: 0 },
      ...{ topicId: 0x11, messageId: 0x102, data: dataOf("hi") },
    },
  ],
  [
    "0a 03 13 0003 612f62 6869",
    {
      ...{ kind: "publish", dup: false, qos: 0, retain: true, topicKind: 0, topicId: 0, topic: "a/b" },
      ...{ messageId: 0, data: dataOf("hi") },
    },
  ],
  [
    "07 03 c1 0102 0009",
    {
      ...{ kind: "publish", dup: true, qos: 2, retain: false, topicKind: 1, topicId: 9 },
      ...{ messageId: 0x102, data: new Uint8Array(0) },
    },
  ],
  [
    "09 12 13 0002 6162 6869",
    {
      ...{ kind: "publish", dup: false, qos: -1, retain: true, topicKind: 0, topicId: 0, topic: "ab" },
      ...{ messageId: 0, data: dataOf("hi") },
    },
  ],
  ["05 04 0102 f0", { kind: "puback", topicId: 0, messageId: 0x102, code: 2 }],
  ["04 05 0102", { kind: "pubrec", messageId: 0x102 }],
  ["04 06 0102", { kind: "pubrel", messageId: 0x102 }],
  ["04 07 0102", { kind: "pubcomp", messageId: 0x102 }],
  // SUBSCRIBE: a filter with all options, an alias, a predefined one
  [
    "08 08 bb 0102 612f23",
    {
      ...{ kind: "subscribe", dup: false, qos: 1, messageId: 0x102, topicKind: 0, topic: "a/#" },
      of2: { noLocal: true, retainAsPublished: true, retainHandling: 2 },
    },
  ],
  [
    "07 08 40 0102 0011",
    { kind: "subscribe", dup: false, qos: 2, messageId: 0x102, topicKind: 3, topicId: 0x11, of2: options },
  ],
  [
    "07 08 01 0102 0009",
    { kind: "subscribe", dup: false, qos: 0, messageId: 0x102, topicKind: 1, topicId: 9, of2: options },
  ],
  ["08 09 04 0102 0011 02", { kind: "suback", qos: 2, topicId: 0x11, messageId: 0x102, code: 0 }],
  ["06 09 01 0102 f1", { kind: "suback", qos: 0, topicId: 0, messageId: 0x102, code: 1 }],
  ["08 0a 03 0102 612f23", { kind: "unsubscribe", messageId: 0x102, topicKind: 0, topic: "a/#" }],
  ["05 0b 0102 00", { kind: "unsuback", messageId: 0x102 }],
  ["04 0c 0102", { kind: "pingreq", clientId: "", messageId: 0x102 }],
  ["04 0d 0102", { kind: "pingresp", messageId: 0x102 }],
  ["05 0d 0102 ff", { kind: "pingresp", messageId: 0x102, hasMore: true }],
  ["03 0e 00", { kind: "disconnect", duration: undefined }],
  ["08 0e 06 0000003c 04", { kind: "disconnect", duration: undefined, expiry: 60, reason: 4 }],
  ["09 13 01 0102 0000012c", { kind: "sleepreq", messageId: 0x102, duration: 300, keepsTopics: true }],
  ["06 14 00 0102 00", { kind: "sleepresp", messageId: 0x102, code: 0 }],
  ["05 16 07 0384", { kind: "advertise", gatewayId: 7, duration: 900 }],
  ["02 17", { kind: "searchgw", radius: 0 }],
  ["03 18 07", { kind: "gwinfo", gatewayId: 7, address: new Uint8Array(0) }],
  ["09 fc 02 aa01 04 0c 0102", { kind: "encapsulated", radius: 0, node: bytesOf("aa01"), inner: bytesOf("040c0102") }],
  ["0a fe 0002 6131 04 0c 0102", { kind: "identified", clientId: "a1", inner: bytesOf("040c0102") }],
];

test.each(golden)("%s", (hex, message) => {
  expect(decodeMessage2(bytesOf(hex))).toEqual(message);
  expect(Buffer.from(encodeMessage2(message)).toString("hex")).toBe(hex.replace(/ /g, ""));
});

test.each([
  ["a DISCONNECT with a packet id and a reason in words", "0a 0e 05 0102 8b 62796521", { reason: 0x8b }],
  ["a PUBACK without a reason", "04 04 0102", { kind: "puback", code: 0 }],
  ["a PUBREC that refuses", "05 05 0102 83", { kind: "puback", code: 3 }],
  ["a long header", "01 0006 0c 0102", { kind: "pingreq", messageId: 0x102 }],
  ["a SLEEPRESP with another duration", "0a 14 01 0102 0000003c 00", { kind: "sleepresp" }],
])("%s", (_, hex, message) => {
  expect(decodeMessage2(bytesOf(hex))).toMatchObject(message);
});

const malformed = [
  ...["", "02", "01", "02 00", "03 0c 00", "05 0c 0102 00", "02 19", "02 fb", "02 0c"],
  // CONNECT: a reserved flag, Keep Alive 0, another version, a packet size below 10, cut off
  ...["0a 01 80 0102 02 003c 0000", "0a 01 01 0102 02 0000 0000", "0a 01 01 0102 03 003c 0000"],
  ...["0a 01 01 0102 02 003c 0009", "09 01 01 0102 02 003c 00", "0a 01 03 0102 02 003c 0000"],
  // PUBLISH: QoS 3, a reserved flag, a reserved topic type, a name longer than the packet
  ...["07 03 60 0102 0011", "05 03 04 0011", "05 03 02 0011", "06 03 03 0009 61", "05 03 03 0000"],
  // PUBWOS with a session's alias; SUBSCRIBE with Retain Handling 3; SLEEPREQ for no time
  ...["05 12 00 0011", "08 08 0f 0102 612f23", "09 13 00 0102 00000000", "03 0e 08", "05 08 03 0102"],
  ...["04 fc 05 aa", "05 fe 0009 61"],
];

test.each(malformed)("malformed: %p", (hex) => {
  expect(decodeMessage2(bytesOf(hex)).kind).toBe("malformed");
});

const word = fc.integer({ min: 0, max: 0xffff });
const id = fc.integer({ min: 1, max: 0xffff });
const byte = fc.integer({ min: 0, max: 255 });
const long = fc.integer({ min: 1, max: 0xffff_ffff });
const qos = fc.constantFrom<0 | 1 | 2>(0, 1, 2);
const text = fc.string({ minLength: 1, maxLength: 300 }).filter((value) => !value.includes("\0"));
const data = fc.uint8Array({ maxLength: 400 });
const will = fc.oneof(
  fc.record({ topic: text, qos, retain: fc.boolean(), data }),
  fc.record({ topicId: word, qos, retain: fc.boolean(), data }),
);
const of2: fc.Arbitrary<ConnectOf2> = fc.record({
  messageId: word,
  will: fc.option(will, { nil: undefined }),
  expiry: fc.oneof(fc.constant(0), long),
  packetBytesMax: fc.oneof(fc.constant(0), fc.integer({ min: 10, max: 0xffff })),
  allowsMoves: fc.boolean(),
  method: fc.option(fc.string({ unit: "grapheme-ascii", maxLength: 40 }), { nil: undefined }),
  awakeMax: byte,
});
const topic = fc.oneof(
  fc.record({ topicKind: fc.constantFrom<0 | 1>(0, 1), topicId: word }),
  fc.record({ topicKind: fc.constant(0 as const), topicId: fc.constant(0), topic: text }),
);
const message: fc.Arbitrary<SnMessage> = fc.oneof(
  fc
    .tuple(fc.boolean(), id, fc.oneof(fc.constant(""), text), of2)
    .map(
      ([clean, duration, clientId, more]) =>
        ({ ...(connect(clean, clientId) as object), duration, of2: more }) as SnMessage,
    ),
  fc.tuple(topic, qos, fc.boolean(), id, data).map(([named, level, retain, messageId, bytes]) => ({
    ...{ kind: "publish" as const, dup: false, qos: level, retain, ...named },
    ...{ messageId: level === 0 ? 0 : messageId, data: bytes },
  })),
  fc.record({ kind: fc.constant("register" as const), topicId: word, messageId: word, topic: text }),
  fc.record({ kind: fc.constant("sleepreq" as const), messageId: word, duration: long, keepsTopics: fc.boolean() }),
  fc.record({ kind: fc.constant("identified" as const), clientId: text, inner: data }),
  fc.tuple(fc.constantFrom<1 | 3>(1, 3), word, qos, word).map(([topicKind, topicId, level, messageId]) => ({
    ...{ kind: "subscribe" as const, dup: false, qos: level, messageId, topicKind, topicId },
    of2: options,
  })),
);

test("what is encoded is decoded as it was", () => {
  fc.assert(
    fc.property(message, (given) => {
      const bytes = encodeMessage2(given);
      expect(decodeMessage2(bytes)).toEqual(given);
      expect(decodeMessage2(Uint8Array.of(...bytes, 0)).kind).toBe("malformed");
    }),
    { numRuns: 500 },
  );
});

test("whatever comes is decoded or malformed", () => {
  const framed = fc.tuple(byte, fc.uint8Array({ maxLength: 40 })).map(([type, body]) => {
    return Uint8Array.of(2 + body.length, type, ...body);
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), framed), (bytes) => {
      const decoded = decodeMessage2(bytes);
      if (decoded.kind === "malformed") expect(decoded.why).not.toBe("");
    }),
    { numRuns: 5_000 },
  );
});
