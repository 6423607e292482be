/** MQTT-SN 1.2's messages, byte for byte as the standard has them (5.2 to 5.5), and whatever else may come. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { SnQoS } from "../../src/mqttsn/constants.ts";
import type { SnMessage, TopicChoice } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage, encodeMessage, publishSizeOf } from "../../src/mqttsn/messages.ts";

const bytesOf = (hex: string): Uint8Array => Uint8Array.fromHex(hex.replace(/ /g, ""));
const dataOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Each message of the standard, with its fields by hand. */
const golden: readonly (readonly [string, SnMessage])[] = [
  ["05 00 07 0384", { kind: "advertise", gatewayId: 7, duration: 900 }],
  ["03 01 02", { kind: "searchgw", radius: 2 }],
  ["03 02 07", { kind: "gwinfo", gatewayId: 7, address: new Uint8Array(0) }],
  ["07 02 07 c0a80001", { kind: "gwinfo", gatewayId: 7, address: bytesOf("c0a80001") }],
  [
    "0a 04 0c 01 003c 64657631",
    { kind: "connect", will: true, clean: true, protocolId: 1, duration: 60, clientId: "dev1" },
  ],
  [
    "08 04 00 01 ffff 6131",
    { kind: "connect", will: false, clean: false, protocolId: 1, duration: 65_535, clientId: "a1" },
  ],
  ["03 05 00", { kind: "connack", code: 0 }],
  ["02 06", { kind: "willtopicreq" }],
  ["06 07 30 61 2f 62", { kind: "willtopic", topic: "a/b", qos: 1, retain: true }],
  ["02 07", { kind: "willtopic", topic: "", qos: 0, retain: false }],
  ["02 08", { kind: "willmsgreq" }],
  ["06 09 676f6e65", { kind: "willmsg", data: dataOf("gone") }],
  ["09 0a 0000 0102 612f62", { kind: "register", topicId: 0, messageId: 0x102, topic: "a/b" }],
  ["07 0b 0011 0102 00", { kind: "regack", topicId: 0x11, messageId: 0x102, code: 0 }],
  [
    "09 0c 20 0011 0102 6869",
    {
      ...{ kind: "publish", dup: false, qos: 1, retain: false, topicKind: 0 },
      ...{ topicId: 0x11, messageId: 0x102, data: dataOf("hi") },
    },
  ],
  [
    "07 0c f2 6162 0000",
    {
      ...{ kind: "publish", dup: true, qos: -1, retain: true, topicKind: 2 },
      ...{ topicId: 0x6162, messageId: 0, data: new Uint8Array(0) },
    },
  ],
  ["07 0d 0011 0102 02", { kind: "puback", topicId: 0x11, messageId: 0x102, code: 2 }],
  ["04 0e 0102", { kind: "pubcomp", messageId: 0x102 }],
  ["04 0f 0102", { kind: "pubrec", messageId: 0x102 }],
  ["04 10 0102", { kind: "pubrel", messageId: 0x102 }],
  ["08 12 a0 0102 612f23", { kind: "subscribe", dup: true, qos: 1, messageId: 0x102, topicKind: 0, topic: "a/#" }],
  ["07 12 41 0102 0009", { kind: "subscribe", dup: false, qos: 2, messageId: 0x102, topicKind: 1, topicId: 9 }],
  ["07 12 02 0102 6162", { kind: "subscribe", dup: false, qos: 0, messageId: 0x102, topicKind: 2, topic: "ab" }],
  ["08 13 20 0011 0102 00", { kind: "suback", qos: 1, topicId: 0x11, messageId: 0x102, code: 0 }],
  ["08 14 00 0102 612f23", { kind: "unsubscribe", messageId: 0x102, topicKind: 0, topic: "a/#" }],
  ["07 14 01 0102 0009", { kind: "unsubscribe", messageId: 0x102, topicKind: 1, topicId: 9 }],
  ["04 15 0102", { kind: "unsuback", messageId: 0x102 }],
  ["02 16", { kind: "pingreq", clientId: "" }],
  ["06 16 64657631", { kind: "pingreq", clientId: "dev1" }],
  ["02 17", { kind: "pingresp" }],
  ["02 18", { kind: "disconnect", duration: undefined }],
  ["04 18 012c", { kind: "disconnect", duration: 300 }],
  ["06 1a 40 61 2f 62", { kind: "willtopicupd", topic: "a/b", qos: 2, retain: false }],
  ["02 1a", { kind: "willtopicupd", topic: "", qos: 0, retain: false }],
  ["03 1b 00", { kind: "willtopicresp", code: 0 }],
  ["06 1c 676f6e65", { kind: "willmsgupd", data: dataOf("gone") }],
  ["03 1d 00", { kind: "willmsgresp", code: 0 }],
  ["05 fe 01 aa01 02 17", { kind: "encapsulated", radius: 1, node: bytesOf("aa01"), inner: bytesOf("0217") }],
];

test.each(golden)("%s", (hex, message) => {
  expect(decodeMessage(bytesOf(hex))).toEqual(message);
  expect(Buffer.from(encodeMessage(message)).toString("hex")).toBe(hex.replace(/ /g, ""));
});

test("more than 255 bytes have a length of three", () => {
  const head = { kind: "publish", dup: false, qos: 0, retain: false, topicKind: 0, topicId: 1, messageId: 0 } as const;
  for (const [count, size, first] of [
    [248, 255, [255]],
    [249, 258, [1, 1, 2]],
    [60_000, 60_009, [1, 0xea, 0x69]],
  ] as const) {
    const message = { ...head, data: new Uint8Array(count) };
    const bytes = encodeMessage(message);
    expect(bytes.length).toBe(size);
    expect(publishSizeOf(count)).toBe(size);
    expect([...bytes.subarray(0, first.length)]).toEqual([...first]);
    expect(decodeMessage(bytes)).toEqual(message);
  }
  // The long form of a short message is one, too (5.2.1).
  expect(decodeMessage(bytesOf("01 0004 17"))).toEqual({ kind: "pingresp" });
});

const malformed = [
  "",
  "02",
  "01",
  "01 00",
  "03 17",
  "02 17 00",
  "02 03",
  "02 19",
  "02 1e",
  "02 ff",
  "02 05",
  "06 0c 00 0001 00",
  "07 0c 03 0001 0001",
  "05 04 00 01 00",
  "06 0a 0000 0001",
  "08 0a 0000 0001 c328",
  "07 0a 0000 0001 00",
  "05 12 00 0001",
  "06 12 01 0001 00",
  "06 12 02 0001 61",
  "08 12 02 0001 616263",
  "08 12 03 0001 616263",
  "03 18 00",
  "05 18 0000 00",
  "02 fe",
  "09 fe 00 aa",
];

test.each(malformed)("malformed: %p", (hex) => {
  expect(decodeMessage(bytesOf(hex)).kind).toBe("malformed");
});

const word = fc.integer({ min: 0, max: 0xffff });
const byte = fc.integer({ min: 0, max: 255 });
const qos = fc.constantFrom<SnQoS>(-1, 0, 1, 2);
const text = fc.string({ minLength: 1, maxLength: 300 }).filter((value) => !value.includes("\0"));
const data = fc.uint8Array({ maxLength: 400 });
const short = fc.string({ unit: "grapheme-ascii", minLength: 2, maxLength: 2 });
const choice: fc.Arbitrary<TopicChoice> = fc.oneof(
  fc.record({ topicKind: fc.constant(0 as const), topic: text }),
  fc.record({ topicKind: fc.constant(2 as const), topic: short }),
  fc.record({ topicKind: fc.constant(1 as const), topicId: word }),
);
const message: fc.Arbitrary<SnMessage> = fc.oneof(
  fc.record({
    kind: fc.constant("publish" as const),
    dup: fc.boolean(),
    qos,
    retain: fc.boolean(),
    topicKind: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    topicId: word,
    messageId: word,
    data,
  }),
  fc.record({
    kind: fc.constant("connect" as const),
    will: fc.boolean(),
    clean: fc.boolean(),
    protocolId: byte,
    duration: word,
    clientId: text,
  }),
  fc.record({ kind: fc.constant("register" as const), topicId: word, messageId: word, topic: text }),
  fc.record({
    kind: fc.constantFrom("regack" as const, "puback" as const),
    topicId: word,
    messageId: word,
    code: byte,
  }),
  fc.record({
    kind: fc.constantFrom("willtopic" as const, "willtopicupd" as const),
    topic: text,
    qos,
    retain: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("willmsg" as const, "willmsgupd" as const), data }),
  fc.record({ kind: fc.constant("suback" as const), qos, topicId: word, messageId: word, code: byte }),
  fc.record({ kind: fc.constant("disconnect" as const), duration: fc.option(word, { nil: undefined }) }),
  fc
    .tuple(choice, fc.boolean(), qos, word)
    .map(([topic, dup, level, messageId]) => ({ kind: "subscribe" as const, dup, qos: level, messageId, ...topic })),
  fc.tuple(choice, word).map(([topic, messageId]) => ({ kind: "unsubscribe" as const, messageId, ...topic })),
);

test("what is encoded is decoded as it was, and is malformed when it is cut off or goes on", () => {
  fc.assert(
    fc.property(message, (given) => {
      const bytes = encodeMessage(given);
      expect(decodeMessage(bytes)).toEqual(given);
      expect(decodeMessage(bytes.subarray(0, -1)).kind).toBe("malformed");
      expect(decodeMessage(Uint8Array.of(...bytes, 0)).kind).toBe("malformed");
    }),
    { numRuns: 500 },
  );
});

test("whatever comes is decoded or malformed, and what is decoded is what its encoding says", () => {
  const framed = fc.tuple(byte, fc.uint8Array({ maxLength: 40 })).map(([type, body]) => {
    return Uint8Array.of(2 + body.length, type, ...body);
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), framed), (bytes) => {
      const decoded = decodeMessage(bytes);
      if (decoded.kind === "malformed") return expect(decoded.why).not.toBe("");
      expect(decodeMessage(encodeMessage(decoded))).toEqual(decoded);
    }),
    { numRuns: 5_000 },
  );
});
