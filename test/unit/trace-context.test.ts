/** Trace Context in user properties: what is read, what counts as absent, what is passed on. */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { makePublish, type Publish } from "../../src/mqtt/publish.ts";
import { mentionsTrace, traceContextOf, withTraceContext } from "../../src/mqtt/trace-context.ts";

const text = (value: string): number[] => [value.length >> 8, value.length & 255, ...encodeUtf8(value)];
const pair = (name: string, value: string): number[] => [0x26, ...text(name), ...text(value)];
const contentType = [0x03, ...text("text/plain")];
const message = (...properties: readonly number[][]): Publish =>
  makePublish(encodeUtf8("t"), encodeUtf8("x"), {
    qos: 1,
    retain: false,
    properties: new Uint8Array(properties.flat()),
  });
const sectionOf = ({ propertyBytes, propertiesStart, propertiesEnd }: Publish): number[] => [
  ...propertyBytes.subarray(propertiesStart, propertiesEnd),
];

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const spanId = "00f067aa0ba902b7";
const parent = `00-${traceId}-${spanId}-01`;

test("a traceparent is read wherever it stands among the properties", () => {
  const context = { traceId, spanId, flags: 1 };
  expect(traceContextOf(message(contentType, pair("a", "b"), pair("traceparent", parent)))).toEqual(context);
  expect(traceContextOf(message(pair("traceparent", parent.replace(/01$/, "00")), contentType))).toEqual({
    ...context,
    flags: 0,
  });
  // A later version may say more at the end.
  expect(traceContextOf(message(pair("traceparent", `01${parent.slice(2)}-more`)))).toEqual(context);
});

test.each([
  ["no properties", []],
  ["other properties", [contentType, pair("b3", traceId)]],
  ["the name as a value", [pair("a", "traceparent")]],
  ["the name with more behind", [pair("traceparent2", parent)]],
  ["capital letters", [pair("traceparent", parent.toUpperCase())]],
  ["a part of it", [pair("traceparent", parent.slice(0, 50))]],
  ["more than version 00 says", [pair("traceparent", `${parent}-more`)]],
  ["version ff", [pair("traceparent", `ff${parent.slice(2)}`)]],
  ["a trace id of zeros", [pair("traceparent", parent.replace(traceId, "0".repeat(32)))]],
  ["a span id of zeros", [pair("traceparent", parent.replace(spanId, "0".repeat(16)))]],
  ["two of them", [pair("traceparent", parent), pair("traceparent", parent)]],
])("%s: there is no context", (_, properties) => {
  expect(traceContextOf(message(...properties))).toBeUndefined();
});

test("another context takes the place of the old one; all else stays, in its order", () => {
  const next = { traceId, spanId: "b7ad6b7169203331", flags: 1 };
  const state = pair("tracestate", "vendor=1");
  const publish = message(state, pair("traceparent", parent), contentType, pair("a", "1"), pair("a", "2"));
  const passedOn = withTraceContext(publish, next);
  const own = pair("traceparent", `00-${traceId}-b7ad6b7169203331-01`);
  expect(sectionOf(passedOn)).toEqual([...state, ...contentType, ...pair("a", "1"), ...pair("a", "2"), ...own]);
  expect(traceContextOf(passedOn)).toEqual(next);
  expect(sectionOf(withTraceContext(message(), next))).toEqual(own);
});

test("bytes in which there is none are told apart by a look", () => {
  const bytes = encodeUtf8(`xx${"traceparent"}xx`);
  expect([mentionsTrace(bytes, 0, bytes.length), mentionsTrace(bytes, 3, bytes.length)]).toEqual([true, false]);
  expect(mentionsTrace(bytes, 0, 5)).toBe(false);
  // Few bytes and many are searched in different ways, and each as far as it says.
  for (const length of [20, 254, 255, 256, 257, 258, 5000]) {
    const long = new Uint8Array(length).fill(0x74);
    long.set(encodeUtf8("traceparent"), length - 11);
    const found = [0, length - 11, length - 10].map((start) => mentionsTrace(long, start, length));
    expect([length, ...found, mentionsTrace(long, 0, length - 1)]).toEqual([length, true, true, false, false]);
  }
});
