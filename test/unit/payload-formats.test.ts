/** Payloads in other formats: what they are shown as, what is made of what is written, and bytes that are neither. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { layOut } from "../../cli/output/json-text.ts";
import { nameOf } from "../../cli/output/message-folder.ts";
import { codecOf, NotOfFormat, type PayloadFormat, payloadFormats } from "../../cli/output/payload-formats.ts";

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

describe("shown", () => {
  test.each<[PayloadFormat, string, string]>([
    ["text", "c3a9 0a", "é\n"],
    ["hex", "00ff a5", "00ffa5"],
    ["base64", "00ff a5", "AP+l"],
    ["json", Buffer.from('{"a": 12345678901234567890}').toString("hex"), '{"a": 12345678901234567890}'],
    // RFC 8949, Appendix A.
    ["cbor", "1bffffffffffffffff", "18446744073709551615"],
    ["cbor", "c249010000000000000000", "18446744073709551616"],
    ["cbor", "3bffffffffffffffff", "-18446744073709551616"],
    ["cbor", "c349010000000000000000", "-18446744073709551617"],
    ["cbor", "f93e00", "1.5"],
    ["cbor", "f97e00", "null"],
    ["cbor", "f97c00", "null"],
    ["cbor", "f7", "null"],
    ["cbor", "f0", "null"],
    ["cbor", "c074323031332d30332d32315432303a30343a30305a", '"2013-03-21T20:04:00Z"'],
    ["cbor", "c11a514b67b0", "1363896240"],
    ["cbor", "d818456449455446", '"ZElFVEY"'],
    ["cbor", "4401020304", '"AQIDBA"'],
    ["cbor", "bf61610161629f0203ffff", '{"a":1,"b":[2,3]}'],
    ["cbor", "a201020304", '{"1":2,"3":4}'],
    ["cbor", "a2 6131 01 6130 02", '{"1":1,"0":2}'],
    ["cbor", "a1 695f5f70726f746f5f5f 01", '{"__proto__":1}'],
    ["msgpack", "cfffffffffffffffff", "18446744073709551615"],
    ["msgpack", "d38000000000000000", "-9223372036854775808"],
    ["msgpack", "82a13101a13002", '{"1":1,"0":2}'],
    ["msgpack", "8201a1619101c0", '{"1":"a","[1]":null}'],
    ["msgpack", "d6ff514b67b0", '"2013-03-21T20:04:00.000Z"'],
    ["msgpack", "c70305010203", '{"type":5,"data":"AQID"}'],
    ["msgpack", "c403010203", '"AQID"'],
    ["msgpack", "ca3fc00000", "1.5"],
  ])("%s %s as %s", async (format, hex, text) => {
    expect((await codecOf(format)).show(bytes(hex))).toBe(text);
  });

  test.each<[PayloadFormat, string]>([
    ["text", "ff"],
    ["json", "7b"],
    ["json", "ff"],
    ["cbor", ""],
    ["cbor", "0102"],
    ["cbor", "5b00ffffffffffffff"],
    ["cbor", "9b00ffffffffffffff"],
    ["cbor", "bb00ffffffffffffff"],
    ["cbor", "1c"],
    ["cbor", `${"81".repeat(200_000)}01`],
    ["msgpack", "c1"],
    ["msgpack", "ddffffffff"],
    ["msgpack", "dfffffffff"],
    ["msgpack", "c6ffffffff"],
    ["msgpack", `${"91".repeat(200_000)}01`],
  ])("%s: what is none, %#", async (format, hex) => {
    const codec = await codecOf(format);
    expect(() => codec.show(bytes(hex))).toThrow(NotOfFormat);
    try {
      codec.show(bytes(hex));
    } catch (error) {
      expect((error as Error).message).toMatch(/^.{1,110}$/);
    }
  });
});

describe("made of what is written", () => {
  test.each<[PayloadFormat, string, string]>([
    ["hex", "a5 01\nFF", "a501ff"],
    ["hex", "", ""],
    ["base64", "AP+l\n", "00ffa5"],
    ["base64", "AP-l", "00ffa5"],
    ["base64", "AA", "00"],
    ["json", '{"a": 1}', Buffer.from('{"a": 1}').toString("hex")],
    ["cbor", '{"a": 21.5}', "a16161f94d60"],
    ["cbor", "18446744073709551615", "1bffffffffffffffff"],
    ["cbor", "18446744073709551616", "c249010000000000000000"],
    ["cbor", "-9223372036854775808", "3b7fffffffffffffff"],
    ["msgpack", "18446744073709551615", "cfffffffffffffffff"],
    ["msgpack", "[1,-1,null,true]", "9401ffc0c3"],
  ])("%s of %j", async (format, written, hex) => {
    expect(Buffer.from((await codecOf(format)).read(Buffer.from(written))).toString("hex")).toBe(hex);
  });

  test.each<[PayloadFormat, string]>([
    ["hex", "a"],
    ["hex", "0x01"],
    ["base64", "A"],
    ["base64", "A*=="],
    ["base64", "=="],
    ["json", "{a:1}"],
    ["json", ""],
    ["cbor", "{"],
    ["cbor", "1e999"],
    ["cbor", `${"[".repeat(200_000)}`],
    ["msgpack", "18446744073709551616"],
    ["msgpack", "-9223372036854775809"],
  ])("%s: what is written is refused, %#", async (format, written) => {
    const codec = await codecOf(format);
    expect(() => codec.read(Buffer.from(written))).toThrow(NotOfFormat);
  });
});

/** Values that JSON holds, its writer keeps apart, and MessagePack has numbers for. */
const value = fc
  .jsonValue({ maxDepth: 4 })
  .map(
    (one) =>
      JSON.parse(JSON.stringify(one), (_, inner) =>
        Number.isInteger(inner) && Math.abs(inner) >= 2 ** 63 ? 1 : inner,
      ) as unknown,
  );

test.each(["json", "cbor", "msgpack"] as const)("what is made as %s is shown as it was written", async (format) => {
  const codec = await codecOf(format);
  fc.assert(
    fc.property(value, (one) => {
      const text = JSON.stringify(one);
      expect(JSON.parse(codec.show(codec.read(Buffer.from(text))))).toEqual(JSON.parse(text));
    }),
    { numRuns: 200 },
  );
});

test("bytes at random are shown, or are not of the format", async () => {
  for (const format of payloadFormats) {
    const codec = await codecOf(format);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (payload) => {
        try {
          const text = codec.show(payload);
          if (codec.isJson) JSON.parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(NotOfFormat);
        }
        try {
          codec.read(payload);
        } catch (error) {
          expect(error).toBeInstanceOf(NotOfFormat);
        }
      }),
      { numRuns: 1000 },
    );
  }
});

describe("JSON laid out", () => {
  test("means the same, in one line and over several", () => {
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 1, "\t"), (one, indent) => {
        const text = JSON.stringify(one, undefined, indent);
        expect(layOut(text, { isPretty: false })).toBe(JSON.stringify(one));
        expect(layOut(text, { isPretty: true })).toBe(JSON.stringify(one, undefined, 2));
      }),
      { numRuns: 500 },
    );
  });

  test("keeps numbers, order and members that are there twice", () => {
    const text = '{"b" : 1.0e2, "1":12345678901234567890,"b":-0 , "s":"\\"{,\\\\" }';
    expect(layOut(text, { isPretty: false })).toBe('{"b":1.0e2,"1":12345678901234567890,"b":-0,"s":"\\"{,\\\\"}');
  });

  test("does not become much longer when it is nested deep", () => {
    const text = `${"[".repeat(20_000)}1${"]".repeat(20_000)}`;
    const laid = layOut(text, { isPretty: true });
    expect(laid.length).toBeLessThan(text.length + 10_000);
    expect(laid.replaceAll(/\s/g, "")).toBe(text);
  });
});

test("names of files are harmless, whatever the topic", () => {
  expect(nameOf("home/kitchen/temp-1.5_x")).toBe("home%2Fkitchen%2Ftemp-1.5_x");
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 400 }), fc.constant("../".repeat(100))), (topic) => {
      expect(nameOf(topic)).toMatch(/^[A-Za-z0-9._%~-]{0,160}$/);
    }),
  );
  expect(nameOf(`${"a".repeat(300)}1`)).not.toBe(nameOf(`${"a".repeat(300)}2`));
});
