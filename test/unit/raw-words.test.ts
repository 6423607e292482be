/** The words of a command line as bytes: those that are not UTF-8 are kept, and are in no text. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { bytesOf, textOf } from "../../cli/flags/raw-words.ts";

test("bytes, to a text and back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
      const text = textOf(bytes);
      expect(Buffer.from(bytesOf(text))).toEqual(Buffer.from(bytes));
      const isText = Buffer.from(Buffer.from(bytes).toString("utf8")).equals(Buffer.from(bytes));
      expect(text.isWellFormed()).toBe(isText);
    }),
    { numRuns: 2000 },
  );
});

test("texts are themselves, whatever they hold", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(textOf(Buffer.from(text))).toBe(text);
      expect(Buffer.from(bytesOf(text))).toEqual(Buffer.from(text));
    }),
  );
  expect(textOf(Buffer.from("\ufeffä\ufffd🦓"))).toBe("\ufeffä\ufffd🦓");
});
