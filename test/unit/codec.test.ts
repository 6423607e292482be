/** The hand-written codec against mqtt-packet, and the framer against every way to cut a stream. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import mqttPacket, { type ISubscribePacket, type IUnsubscribePacket, type Packet } from "mqtt-packet";
import { concatBytes, encodeUtf8, isMqttText, readVarint, varintSize, writeVarint } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { filtersPerPacketMax, propertiesPerPacketMax } from "../../src/base/limits.ts";
import { ackReason, parseAck, writeAck, writeAckWithText } from "../../src/mqtt/acks.ts";
import { PacketType, type ProtocolVersion, type QoS } from "../../src/mqtt/constants.ts";
import { decodeConnect, decodeControl } from "../../src/mqtt/control.ts";
import { encodeFilterAck } from "../../src/mqtt/filter-acks.ts";
import type { FilterList } from "../../src/mqtt/filter-list.ts";
import { Framer } from "../../src/mqtt/framer.ts";
import { Envelope, makePublish, Publish, parsePublish, publishSize, writePublish } from "../../src/mqtt/publish.ts";
import { MemorySink } from "../../src/mqtt/sink.ts";

const version = fc.constantFrom<ProtocolVersion>(4, 5);
const topic = fc
  .string({ minLength: 1, maxLength: 40, unit: "grapheme" })
  .filter((text) => !/[\0+#]/.test(text) && isMqttText(encodeUtf8(text), 0, encodeUtf8(text).length));
const payload = fc.uint8Array({ maxLength: 300 });
const packetId = fc.integer({ min: 1, max: 65_535 });
const text = fc.string({ maxLength: 20 }).filter((value) => !value.includes("\0"));
const properties = fc.record(
  {
    payloadFormatIndicator: fc.boolean(),
    contentType: text,
    responseTopic: topic,
    correlationData: fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  },
  { requiredKeys: [] },
);

function decodeOne(bytes: Uint8Array, protocolVersion: ProtocolVersion): Packet {
  const parser = mqttPacket.parser({ protocolVersion });
  let found: Packet | undefined;
  parser.on("packet", (packet: Packet) => {
    found = packet;
  });
  parser.parse(Buffer.from(bytes));
  return found!;
}

function parse(bytes: Uint8Array, protocolVersion: ProtocolVersion): Publish {
  const framer = new Framer(1_000_000);
  framer.feed(bytes);
  expect(framer.next()).toBe(true);
  const publish = new Publish();
  parsePublish(publish, framer.bytes, framer.bytes[framer.start]!, framer.body, framer.end, protocolVersion);
  return publish;
}

test("PUBLISH: what mqtt-packet writes we read, and what we write it reads", () => {
  const qosOf = fc.constantFrom<QoS>(0, 1, 2);
  fc.assert(
    fc.property(
      version,
      topic,
      payload,
      qosOf,
      packetId,
      fc.boolean(),
      properties,
      (protocolVersion, name, body, qos, messageId, retain, props) => {
        const packet = {
          cmd: "publish",
          topic: name,
          payload: Buffer.from(body),
          qos,
          retain,
          dup: false,
          messageId,
        } as const;
        const bytes = mqttPacket.generate(protocolVersion === 5 ? { ...packet, properties: props } : packet, {
          protocolVersion,
        });
        const publish = parse(bytes, protocolVersion);
        expect(publish).toMatchObject({ qos, retain, packetId: qos === 0 ? 0 : messageId, verbatim: true });
        const sink = new MemorySink();
        const envelope = Object.assign(new Envelope(), {
          qos,
          retain,
          packetId: messageId,
          version5: protocolVersion === 5,
        });
        writePublish(sink, publish.kept(), envelope, 0);
        expect(sink.take()).toEqual(new Uint8Array(bytes));
        expect(publishSize(publish, envelope)).toBe(bytes.length);
        // To the other kind of receiver: without, or with empty, properties.
        const other: ProtocolVersion = protocolVersion === 5 ? 4 : 5;
        const crossed = new MemorySink();
        writePublish(
          crossed,
          publish,
          Object.assign(new Envelope(), { qos, retain, packetId: messageId, version5: other === 5 }),
          0,
        );
        const read = decodeOne(crossed.take(), other) as Extract<Packet, { cmd: "publish" }>;
        expect(read.topic).toBe(name);
        expect(Buffer.compare(Buffer.from(read.payload), Buffer.from(body))).toBe(0);
      },
    ),
    { numRuns: 500 },
  );
});

test("expiry, alias and subscription identifiers are written where mqtt-packet finds them", () => {
  const publish = makePublish(encodeUtf8("a/b"), encodeUtf8("x"), { qos: 1, retain: false });
  publish.expiresAt = 10_500;
  const envelope = Object.assign(new Envelope(), {
    qos: 1,
    packetId: 9,
    version5: true,
    alias: 3,
    subscriptionIds: [1, 300],
  });
  const sink = new MemorySink();
  writePublish(sink, publish, envelope, 2000);
  expect(decodeOne(sink.take(), 5)).toMatchObject({
    topic: "a/b",
    properties: { messageExpiryInterval: 9, topicAlias: 3, subscriptionIdentifier: [1, 300] },
  });
});

test("acks: the same bytes as mqtt-packet's, and back", () => {
  const kinds = fc.constantFrom(["puback", 4], ["pubrec", 5], ["pubrel", 6], ["pubcomp", 7]) as fc.Arbitrary<
    ["puback", number]
  >;
  fc.assert(
    fc.property(kinds, packetId, fc.constantFrom(0, 0x92), ([cmd, type], messageId, reason) => {
      const said = type <= 5 && reason !== 0 ? 0x97 : reason;
      const sink = new MemorySink();
      writeAck(sink, type, messageId, said);
      const bytes = sink.take();
      expect(decodeOne(bytes, 5)).toMatchObject({ cmd, messageId, reasonCode: said });
      expect(parseAck(bytes, 2, bytes.length, { type, version: 5 })).toBe(messageId);
      expect(ackReason(bytes, 2, bytes.length)).toBe(said);
    }),
  );
  const sink = new MemorySink();
  writeAckWithText(sink, 4, 5, { reason: 0x97, text: "x".repeat(200) });
  expect(decodeOne(sink.take(), 5)).toMatchObject({
    messageId: 5,
    reasonCode: 0x97,
    properties: { reasonString: "x".repeat(200) },
  });
});

test("SUBACK and UNSUBACK: the same bytes as mqtt-packet's", () => {
  const codes = fc.array(fc.constantFrom(0, 1, 2), { minLength: 1, maxLength: 300, size: "max" });
  fc.assert(
    fc.property(version, packetId, codes, fc.option(text, { nil: undefined }), (protocolVersion, id, granted, said) => {
      for (const cmd of ["suback", "unsuback"] as const) {
        const wanted = said === undefined ? {} : { properties: { reasonString: said } };
        const theirs = mqttPacket.generate({ cmd, messageId: id, granted, ...wanted } as Packet, { protocolVersion });
        const ack = { type: PacketType[cmd], packetId: id, codes: granted, reasonString: said };
        expect(Buffer.from(encodeFilterAck(ack, protocolVersion)).toString("hex")).toBe(theirs.toString("hex"));
      }
    }),
    { numRuns: 500 },
  );
});

test("packets have a limit of filters and of properties, however small each is", () => {
  const packetOf = (type: number, section: Buffer, rest: Buffer): Framer => {
    const length = new Uint8Array(varintSize(section.length));
    writeVarint(length, 0, section.length);
    const id = type === PacketType.subscribe ? Uint8Array.of(0, 1) : Uint8Array.of(0);
    const body = Buffer.concat([id, length, section, rest]);
    const head = new Uint8Array(1 + varintSize(body.length));
    head[0] = (type << 4) | (type === PacketType.subscribe ? 2 : 0);
    writeVarint(head, 1, body.length);
    const framer = new Framer(10_000_000);
    framer.feed(new Uint8Array(Buffer.concat([head, body])));
    expect(framer.next()).toBe(true);
    return framer;
  };
  const filters = (count: number): Buffer => Buffer.alloc(4 * count, Buffer.from([0, 1, 0x61, 0]));
  const named = (count: number): Buffer => Buffer.alloc(7 * count, Buffer.from([0x26, 0, 1, 0x6b, 0, 1, 0x76]));
  const none = Buffer.alloc(0);
  const { subscribe, disconnect } = PacketType;
  const decoded = decodeControl(packetOf(subscribe, none, filters(filtersPerPacketMax)), 5) as { filters: FilterList };
  expect(decoded.filters.count()).toBe(filtersPerPacketMax);
  expect(() => decodeControl(packetOf(subscribe, none, filters(filtersPerPacketMax + 1)), 5)).toThrow("filters");
  expect(decodeControl(packetOf(disconnect, named(propertiesPerPacketMax), none), 5)).toMatchObject({ reasonCode: 0 });
  for (const type of [subscribe, disconnect])
    expect(() =>
      decodeControl(packetOf(type, named(propertiesPerPacketMax + 1), type === subscribe ? filters(1) : none), 5),
    ).toThrow("properties");
});

test("any way to cut a stream gives the same packets", () => {
  const packet = fc.tuple(fc.integer({ min: 1, max: 15 }), fc.uint8Array({ maxLength: 400 })).map(([type, body]) => {
    const head = new Uint8Array(1 + varintSize(body.length));
    head[0] = type << 4;
    writeVarint(head, 1, body.length);
    return concatBytes([head, body]);
  });
  fc.assert(
    fc.property(
      fc.array(packet, { maxLength: 20, size: "max" }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 40, size: "max" }),
      (packets, cuts) => {
        const stream = concatBytes(packets);
        const framer = new Framer(1_000_000);
        const seen: Uint8Array[] = [];
        for (let at = 0, cut = 0; at < stream.length; cut++) {
          const size = cuts[cut % cuts.length]!;
          framer.feed(stream.slice(at, at + size));
          at += size;
          // Now and then the chunk is left unread for a while, as a held connection does.
          if (cut % 3 === 1 && at < stream.length) continue;
          for (let isLast = false; !isLast && framer.next(); ) {
            // One that cannot be handled yet is found again, perhaps when more has come.
            isLast = at < stream.length && seen.length % 4 === cut % 5;
            if (isLast) framer.putBack();
            else seen.push(framer.bytes.slice(framer.start, framer.end));
          }
        }
        expect(seen).toEqual(packets);
      },
    ),
    { numRuns: 300 },
  );
});

test("variable byte integers: every size, and what is forbidden", () => {
  const bytes = new Uint8Array(4);
  for (const value of [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455]) {
    const end = writeVarint(bytes, 0, value);
    expect(end).toBe(varintSize(value));
    expect(readVarint(bytes, 0, end)).toBe(value);
    if (end > 1) expect(readVarint(bytes, 0, end - 1)).toBe(-1);
  }
  expect(readVarint(Uint8Array.of(0x80, 0x00), 0, 2)).toBe(-2);
  expect(readVarint(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0, 4)).toBe(-2);
});

test("memory for a packet grows with what has come, not with what was announced", () => {
  const framer = new Framer(268_435_460);
  framer.feed(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3));
  expect(framer.next()).toBe(false);
  expect(framer.heldLength).toBe(8);
  const small = new Framer(100);
  small.feed(Uint8Array.of(0x30, 0xff));
  expect(small.next()).toBe(false);
  small.feed(Uint8Array.of(0x7f));
  expect(() => small.next()).toThrow(ProtocolError);
});

test("what a bridge's CONNECT has said does not count for the packets of others", () => {
  const frameOf = (hex: string): Framer => {
    const framer = new Framer(1000);
    framer.feed(new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex")));
    expect(framer.next()).toBe(true);
    return framer;
  };
  for (let round = 0; round < 3; round++) {
    expect(decodeConnect(frameOf("100d 0004 4d515454 84 02 0000 0001 62")).facts).toMatchObject({ bridge: true });
    const packet = decodeControl(frameOf("8206 0001 0001 74 01"), 4);
    expect((packet as { filters: FilterList }).filters.next()).toEqual({
      topic: "t",
      qos: 1,
      noLocal: undefined,
      retainAsPublished: undefined,
      retainHandling: 0,
    });
  }
});

type Asked = Pick<ISubscribePacket, "subscriptions" | "properties"> & Pick<IUnsubscribePacket, "unsubscriptions">;

test("the filters of a packet are read one by one as mqtt-packet reads them all, also when their chunk is written over", () => {
  const asked = fc.record({
    topic,
    qos: fc.constantFrom<QoS>(0, 1, 2),
    nl: fc.boolean(),
    rap: fc.boolean(),
    rh: fc.constantFrom(0, 1, 2),
  });
  const many = fc.array(asked, { minLength: 1, maxLength: 20, size: "max" });
  fc.assert(
    fc.property(
      version,
      packetId,
      many,
      fc.integer({ min: 0, max: 268_435_455 }),
      (protocolVersion, id, all, number) => {
        const properties = { userProperties: { a: ["b", "c"] }, ...(number > 0 && { subscriptionIdentifier: number }) };
        const subscribe = { cmd: "subscribe", messageId: id, subscriptions: all, properties } as Packet;
        const unsubscribe = {
          cmd: "unsubscribe",
          messageId: id,
          unsubscriptions: all.map((one) => one.topic),
        } as Packet;
        for (const packet of [subscribe, unsubscribe]) {
          const bytes = new Uint8Array(mqttPacket.generate(packet, { protocolVersion }));
          const framer = new Framer(1_000_000);
          framer.feed(bytes);
          expect(framer.next()).toBe(true);
          const { filters } = decodeControl(framer, protocolVersion) as { filters: FilterList };
          const expected = decodeOne(bytes, protocolVersion) as Partial<Asked>;
          bytes.fill(0xff);
          expect(filters.packetId).toBe(id);
          expect(filters.subscriptionId).toBe(expected.properties?.subscriptionIdentifier ?? 0);
          const { subscriptions, unsubscriptions = [] } = expected;
          for (const one of subscriptions ?? unsubscriptions.map((name) => ({ topic: name, qos: 0 }))) {
            const { nl, rap, rh = 0 } = one as { nl?: boolean; rap?: boolean; rh?: number };
            const isNew = protocolVersion === 5;
            expect(filters.next()).toEqual({
              topic: one.topic,
              qos: one.qos as QoS,
              noLocal: isNew ? nl === true : undefined,
              retainAsPublished: isNew ? rap === true : undefined,
              retainHandling: rh as 0 | 1 | 2,
            });
          }
          expect(filters.next()).toBeUndefined();
        }
      },
    ),
  );
});
