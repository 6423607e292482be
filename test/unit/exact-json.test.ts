/** JSON through `sub -F %J`: no number comes out as another one. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatMessage, parseFormat } from "../../cli/output/format.ts";
import type { Message } from "../../src/client/connection-options.ts";

function printed(payload: string, isPretty = false): string {
  const message = { topic: "t", payload: Buffer.from(payload), qos: 0, retain: false } as unknown as Message;
  const text = formatMessage(parseFormat("%J"), message, { isPretty, now: new Date(0) }).toString();
  return /"payload":\s*(.*)\}$/s.exec(text)![1]!.trim();
}

test.each([
  ["9223372036854775807", "9223372036854775807"],
  ["-9223372036854775808", "-9223372036854775808"],
  ["18446744073709551615", "18446744073709551615"],
  ["9007199254740993", "9007199254740993"],
  ["0.1234567890123456789", "0.1234567890123456789"],
  ["1e400", "1e400"],
  ["-1e-400", "-1e-400"],
  // As cJSON prints them, where nothing is lost.
  ["1.0", "1"],
  ["2.50", "2.5"],
  ["0.0", "0"],
])("%s", (given, expected) => {
  for (const isPretty of [false, true]) {
    expect(printed(given, isPretty)).toBe(expected);
    expect(printed(`[${given}]`, isPretty)).toBe(`[${expected}]`);
  }
  expect(printed(`{"a":{"b":${given}}}`)).toBe(`{"a":{"b":${expected}}}`);
  expect(printed(`{"a":${given}}`, true)).toBe(`{\n\t\t"a":\t${expected}\n\t}`);
});

test("every number of 64 bits, and every double", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (number) => {
      expect(printed(`{"n":${number}}`)).toBe(`{"n":${number}}`);
    }),
  );
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      expect(Number(printed(String(number)))).toBe(number === 0 ? 0 : number);
    }),
  );
});

test("what is no JSON is none", () => {
  for (const text of ["nonsense", "1e", "01", "[1,]"]) expect(() => printed(text)).toThrow("not valid JSON");
});
