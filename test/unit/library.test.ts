/**
 * The small parts of the client library, each against what it must agree with: mqtt-packet, the standard's matcher, the
 * broker.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import mqttPacket, { type IPublishPacket } from "mqtt-packet";
import { describeShortage, readShortage } from "../../src/bank/shortage.ts";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { parseReference, parseTarget } from "../../src/client/address.ts";
import { idOf } from "../../src/client/interest.ts";
import { toPublish } from "../../src/client/outgoing-publish.ts";
import { paramsOf, parsePattern } from "../../src/client/topic-pattern.ts";
import { TopicTexts } from "../../src/client/topic-texts.ts";
import { Envelope, Publish, parsePublish, writePublish } from "../../src/mqtt/publish.ts";
import { readSection } from "../../src/mqtt/publish-section.ts";
import { MemorySink } from "../../src/mqtt/sink.ts";
import { filterMatches } from "../../src/mqtt/topic.ts";

const text = fc.string({ unit: "grapheme", maxLength: 20 }).filter((value) => !value.includes("\0"));
const bytes = fc.uint8Array({ maxLength: 20 });
const options = fc.record(
  {
    contentType: text,
    responseTopic: fc.constantFrom("answers", "answers/\u00e4/1"),
    correlationData: bytes,
    isText: fc.boolean(),
    userProperties: fc.array(fc.tuple(text, text), { maxLength: 4 }),
    expiry: fc.integer({ min: 1, max: 100_000 }),
  },
  { requiredKeys: [] },
);

function parsed(packet: Uint8Array): Publish {
  const publish = new Publish();
  // Lengths below 128 take one byte.
  const body = packet[1]! < 0x80 ? 2 : 3;
  parsePublish(publish, packet, packet[0]!, body, packet.length, 5);
  return publish;
}

describe("a publish's properties", () => {
  test("are read by mqtt-packet as the application gave them, and by ourselves", () => {
    fc.assert(
      fc.property(options, (given) => {
        const sink = new MemorySink();
        const envelope = new Envelope();
        envelope.version5 = true;
        writePublish(sink, toPublish("t", "payload", given), envelope, Date.now());
        let packet: IPublishPacket | undefined;
        const parser = mqttPacket.parser({ protocolVersion: 5 });
        parser.on("packet", (found) => {
          packet = found as IPublishPacket;
        });
        parser.parse(Buffer.from(sink.take()));
        const { properties = {} } = packet!;
        expect(packet!.payload.toString()).toBe("payload");
        expect(properties.contentType).toBe(given.contentType);
        expect(properties.responseTopic).toBe(given.responseTopic);
        expect(properties.messageExpiryInterval).toBe(given.expiry);
        expect(properties.payloadFormatIndicator ?? false).toBe(given.isText ?? false);
        expect(properties.correlationData && [...properties.correlationData]).toEqual(
          given.correlationData && [...given.correlationData],
        );
        const ours = parsed(sink.take());
        const section = readSection(ours.propertyBytes.subarray(ours.propertiesStart, ours.propertiesEnd));
        expect(section).toEqual({
          contentType: given.contentType,
          responseTopic: given.responseTopic,
          correlationData: given.correlationData && Uint8Array.from(given.correlationData),
          isText: given.isText ?? false,
          userProperties: given.userProperties ?? [],
        });
      }),
    );
  });

  test("one subscription identifier, read the short way, is what the long way reads", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 268_435_455 }), fc.boolean(), (id, isAlone) => {
        const properties = { subscriptionIdentifier: id, ...(isAlone ? {} : { contentType: "x" }) };
        const packet = { cmd: "publish", topic: "t", payload: "p", qos: 0, dup: false, retain: false, properties };
        const publish = parsed(mqttPacket.generate(packet as IPublishPacket, { protocolVersion: 5 }));
        expect(publish.subscriptionIds).toEqual([id]);
        expect(publish.propertiesEnd - publish.propertiesStart).toBe(isAlone ? 0 : 4);
        expect(publish.payloadLength).toBe(1);
        // It is the receiver's own, and not handed on.
        expect(publish.verbatim).toBe(false);
      }),
    );
  });
});

describe("patterns", () => {
  const level = fc.constantFrom("a", "b", "{x}", "{y}", "+");

  test("match what their filters match, and name what stands there", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(level, { minLength: 1, maxLength: 4, comparator: (a, b) => a === b && a.startsWith("{") }),
        fc.boolean(),
        fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 6 }),
        (levels, hasRest, topic) => {
          const pattern = parsePattern([...levels, ...(hasRest ? ["{...rest}"] : [])].join("/"));
          expect(pattern.text).toBe(
            [...levels.map((one) => (one.startsWith("{") ? "+" : one)), ...(hasRest ? ["#"] : [])].join("/"),
          );
          if (!filterMatches(pattern.filter.levels, topic)) return;
          const params = paramsOf(pattern, topic.join("/"));
          for (const [at, one] of levels.entries())
            if (one.startsWith("{")) expect(params[one.slice(1, -1)]).toBe(topic[at]!);
          if (hasRest) expect(params.rest).toBe(topic.slice(levels.length).join("/"));
        },
      ),
    );
  });

  test("of shared subscriptions name levels of the topic", () => {
    const pattern = parsePattern("$share/group/jobs/{id}/{...more}");
    expect([pattern.text, pattern.filter.group]).toEqual(["$share/group/jobs/+/#", "group"]);
    expect(paramsOf(pattern, "jobs/7/a/b")).toEqual({ id: "7", more: "a/b" });
  });
});

test("topics come out as they went in, also where many share a slot", () => {
  const texts = new TopicTexts();
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 50 }), (topics) => {
      for (const topic of [...topics, ...topics]) {
        const encoded = encodeUtf8(`..${topic}.`);
        expect(texts.of(encoded, 2, encoded.length - 1)).toBe(topic);
      }
    }),
  );
});

test("a filter's identifier is the same in every process, and no other filter's", () => {
  expect(idOf("room/+/temp", () => false)).toBe(idOf("room/+/temp", () => false));
  const first = idOf("a", () => false);
  expect(idOf("a", (id) => id === first)).not.toBe(first);
  fc.assert(
    fc.property(text, (filter) => {
      const id = idOf(filter, () => false);
      expect(id >= 1 && id <= 268_435_455).toBe(true);
    }),
  );
});

describe("addresses", () => {
  test.each([
    ["mqtt://a", [["mqtt", "a", 1883, "/"]]],
    [
      "mqtts://a,b:1",
      [
        ["mqtts", "a", 8883, "/"],
        ["mqtts", "b", 1, "/"],
      ],
    ],
    ["ws://[::1]:8080", [["ws", "::1", 8080, "/mqtt"]]],
    ["wss://a/own?x=1", [["wss", "a", 443, "/own?x=1"]]],
  ])("%s", (url, expected) => {
    const { addresses } = parseTarget(url);
    expect(addresses.map(({ scheme, host, port, path }) => [scheme, host, port, path])).toEqual(expected as never);
  });

  test("a login may hold anything, percent-encoded, and is never told", () => {
    expect(parseTarget("mqtt://al%40ice:p%3A%2Fw@a")).toMatchObject({ username: "al@ice", password: "p:/w" });
    expect(parseTarget(["mqtt://a", "mqtt://u@b"])).toMatchObject({ username: "u", password: undefined });
    expect(() => parseTarget("mqtt://alice:secret@a:b")).toThrow(/^"a:b" is not host/);
    expect(() => parseTarget("http://alice:secret@a")).toThrow(/^(?!.*secret)/);
  });

  test("where a broker sends us: ports may be left out, nonsense is", () => {
    const [like] = parseTarget("mqtts://a:1").addresses;
    expect(parseReference("b c:2 ::: [::1]:3", like!).map(({ scheme, host, port }) => [scheme, host, port])).toEqual([
      ["mqtts", "b", 1],
      ["mqtts", "c", 2],
      ["mqtts", "::1", 3],
    ]);
  });
});

test("what a publisher is told of an empty bank, its client reads", () => {
  const tenth = fc.integer({ min: 0, max: 1e9 }).map((value) => value / 10);
  fc.assert(
    fc.property(tenth, tenth, fc.nat(1000), (price, balance, retryAfter) => {
      const shortage = { price, balance, retryAfter };
      expect(readShortage(describeShortage({ ...shortage, most: price }))).toEqual(shortage);
      const tooDear = describeShortage({ ...shortage, most: price - 0.1 });
      expect(readShortage(tooDear)).toEqual({ ...shortage, retryAfter: undefined });
    }),
  );
  expect(readShortage("a mailbox is full")).toBeUndefined();
});
