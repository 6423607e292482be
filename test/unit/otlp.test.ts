/** OpenTelemetry is bounded, draws messages evenly, and is not loaded where nobody asks for it. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { JsonTraceSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { createLog, silentLog } from "../../src/base/log.ts";
import {
  otlpBatchMs,
  otlpManyMs,
  otlpManySpans,
  otlpSpanBatchMax,
  otlpWaitingMax,
  tracedDeliveriesMax,
  tracesPerSecondMax,
} from "../../src/base/otlp-limits.ts";
import { systemRandom } from "../../src/base/random.ts";
import { makePublish, type Publish } from "../../src/mqtt/publish.ts";
import { withTraceContext } from "../../src/mqtt/trace-context.ts";
import { Delivery } from "../../src/server/otlp-delivery.ts";
import {
  type AttributeKey,
  type AttributeValue,
  attributeKey,
  type EndedSpan,
  SpanBatches,
  spanKind,
  writeSpans,
} from "../../src/server/otlp-spans.ts";
import { Traces } from "../../src/server/otlp-traces.ts";
import { eventually } from "../support/broker.ts";

test("no static import leads from the command line to the libraries", () => {
  const root = join(import.meta.dir, "../..");
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const { path: to, kind } of transpiler.scanImports(readFileSync(path, "utf8"))) {
      if (kind !== "import-statement") continue;
      expect([path, to.startsWith("@opentelemetry")]).toEqual([path, false]);
      const file = join(dirname(path), to);
      if (to.endsWith(".ts") && existsSync(file)) visit(file);
    }
  };
  for (const start of ["cli/main.ts", "cli/broker.ts", "src/server/server.ts", "src/server/http-door.ts"])
    visit(join(root, start));
  expect(seen.size).toBeGreaterThan(150);
  expect([...seen].filter((path) => path.includes("otlp"))).toEqual([]);
});

test("what may wait is bounded; what is not taken, and what finds no room, is counted", () => {
  const delivery = new Delivery(silentLog, 3);
  const admitted = (count: number) => Array.from({ length: count }, () => delivery.admit("spans"));
  expect(admitted(5)).toEqual([true, true, true, false, false]);
  expect(delivery.dropped.spans).toBe(2);
  expect(admitted(1)).toEqual([false]);
  delivery.ended("spans", 2, undefined);
  expect([admitted(3), delivery.dropped.spans]).toEqual([[true, true, false], 4]);
  delivery.ended("spans", 3, "no");
  expect([delivery.dropped.spans, delivery.admit("spans"), delivery.admit("logs")]).toEqual([7, true, true]);
});

test("the log says once that a collector takes nothing, of whatever kind, and once that it does again", () => {
  const told: string[] = [];
  const log = createLog({ level: "info", format: "json", write: (line) => void told.push(JSON.parse(line).msg) });
  const delivery = new Delivery(log, 100);
  for (const signal of ["spans", "logs", "spans", "metrics"] as const) delivery.ended(signal, 1, "no answer");
  const complaint = "the OTLP collector does not take spans: what is not sent is dropped";
  expect(told).toEqual([complaint]);
  // Of another kind something may be taken while this one is not.
  delivery.ended("logs", 1, undefined);
  expect(told).toEqual([complaint]);
  for (let time = 0; time < 2; time++) delivery.ended("spans", 1, undefined);
  expect(told).toEqual([complaint, "the OTLP collector takes what it is sent again"]);
  delivery.ended("metrics", 1, "no answer");
  expect(told).toHaveLength(3);
});

function scene(percent: number) {
  const spans: EndedSpan[] = [];
  let now = 0;
  let drawn = 0;
  const next = (): number => {
    drawn = (drawn + 0.618033988749895) % 1;
    return drawn;
  };
  const random = { next, hex: systemRandom.hex };
  const clock = { now: () => now, wall: () => now };
  const traces = new Traces({ clock, random, ended: (span) => void spans.push(span) }, percent);
  const pass = (ms: number): void => {
    now += ms;
  };
  return { traces, spans, pass };
}

const plain = (): Publish => makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 0, retain: false });

test.each([0, 1, 50, 100])("%i %% of messages are traced", (percent) => {
  const { traces, pass } = scene(percent);
  let traced = 0;
  for (let count = 0; count < 20_000; count++) {
    if (traces.received(plain(), "t", "c").trace !== undefined) traced++;
    pass(2);
  }
  expect(Math.abs(traced - 200 * percent)).toBeLessThanOrEqual(percent % 100 === 0 ? 0 : 20 * percent);
});

test("so many messages are traced in a second, and so many deliveries of one have spans", () => {
  const { traces, spans, pass } = scene(100);
  pass(1000);
  const traced = Array.from({ length: tracesPerSecondMax + 10 }, () => traces.received(plain(), "t", "c"));
  expect(traced.filter(({ trace }) => trace !== undefined)).toHaveLength(tracesPerSecondMax);
  expect(traces.skipped).toBe(10);
  pass(1000);
  const next = traces.received(plain(), "t", "c");
  for (let count = 0; count < tracedDeliveriesMax + 10; count++)
    traces.sent(next, String(count), { qos: 0, retain: false }, 0);
  expect(spans.filter(({ name }) => name === "deliver")).toHaveLength(tracedDeliveriesMax);
});

const source = { resource: { "service.name": "mqttzoo", a: 'x"y' }, scope: { name: "mqttzoo", version: "1" } };

const officialResource = resourceFromAttributes(source.resource);

/** Returns the same span as the official libraries have it. */
function official(span: EndedSpan): ReadableSpan {
  const { traceId, spanId, name, kind, start, end, error } = span;
  const time = (ms: number): [number, number] => [Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6)];
  const common = { duration: time(end - start), ended: true, events: [], links: [] };
  const dropped = { droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 };
  return {
    ...{
      name,
      kind: (kind - 1) as SpanKind,
      attributes: attributesOf(span),
      startTime: time(start),
      endTime: time(end),
    },
    ...{ ...common, ...dropped, resource: officialResource },
    spanContext: () => ({ traceId, spanId, traceFlags: 1 }),
    ...(span.parentId === "" ? {} : { parentSpanContext: contextOfParent(span) }),
    status: error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: error },
    instrumentationScope: source.scope,
  };
}

function contextOfParent({ traceId, parentId, hasRemoteParent }: EndedSpan) {
  return { traceId, spanId: parentId, traceFlags: 1, isRemote: hasRemoteParent };
}

function attributesOf({ attributes }: EndedSpan): Record<string, AttributeValue> {
  const names = attributes.filter((_, at) => at % 2 === 0) as AttributeKey[];
  return Object.fromEntries(names.map((name, at) => [nameOf(name), attributes[2 * at + 1]!]));
}

/** Returns the name that a key was made of. */
function nameOf(key: AttributeKey): string {
  return JSON.parse(`${key}}}`).key;
}

test("spans are written as the official libraries write them", () => {
  const hex = (bytes: number) =>
    fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((some) => Buffer.from(some).toString("hex"));
  const value = fc.oneof(fc.string({ unit: "binary" }), fc.boolean(), fc.integer(), fc.constant(0.5));
  const time = fc.integer({ min: 8, max: 4_000_000_000_000 * 8 }).map((eighths) => eighths / 8);
  const parent = fc.oneof(
    fc.constant({ parentId: "", hasRemoteParent: false }),
    fc.record({ parentId: hex(8), hasRemoteParent: fc.boolean() }),
  );
  const withoutParent = fc.record({
    ...{ traceId: hex(16), spanId: hex(8), start: time, end: time },
    name: fc.constantFrom("receive", "settle", "store", "deliver"),
    kind: fc.constantFrom<EndedSpan["kind"][]>(1, 2, 3, 4),
    attributes: fc
      .dictionary(
        fc.string().filter((name) => !/^\d+$|^__proto__$/.test(name)),
        value,
      )
      .map((some) => Object.entries(some).flatMap(([name, given]) => [attributeKey(name), given])),
    error: fc.option(fc.string({ unit: "binary" }), { nil: undefined }),
  });
  const span = fc.tuple(withoutParent, parent).map(([most, above]): EndedSpan => ({ ...most, ...above }));
  // What an official library counts as dropped, and lists that are empty, say nothing; so does a status that is unset.
  const told = (bytes: Uint8Array | undefined) =>
    JSON.parse(new TextDecoder().decode(bytes), (key, part) => {
      if (/^dropped|^(events|links)$/.test(key)) return undefined;
      return key === "status" && part.code === SpanStatusCode.UNSET ? {} : part;
    });
  fc.assert(
    fc.property(fc.array(span, { minLength: 1, size: "max", maxLength: 20 }), (spans) => {
      expect(told(writeSpans(spans, source))).toEqual(told(JsonTraceSerializer.serializeRequest(spans.map(official))));
    }),
    { numRuns: 100 },
  );
  expect(SpanKind.PRODUCER + 1).toBe(spanKind.producer);
});

function batches() {
  const requests: { readonly spans: number; readonly answer: (why?: string) => void }[] = [];
  const delivery = new Delivery(silentLog, otlpWaitingMax);
  const send = (body: Uint8Array): Promise<string | undefined> => {
    const spans = JSON.parse(new TextDecoder().decode(body)).resourceSpans[0].scopeSpans[0].spans.length as number;
    return new Promise((answer) => requests.push({ spans, answer }));
  };
  let now = 0;
  const clock = { now: () => now, wall: () => now };
  const sender = new SpanBatches(source, { clock, delivery, send });
  /** Some time passes, without a timer. */
  const pass = (ms: number): void => {
    now += ms;
    sender.tick();
  };
  const { traces, spans } = scene(0);
  traces.sent(traced(), "c", { qos: 0, retain: false }, 0);
  const add = (count: number): void => {
    for (let at = 0; at < count; at++) sender.add(spans[0]!);
  };
  return { requests, delivery, sender, add, pass };
}

/** A message that comes from the store, with the context of the one who stored it. */
function traced(): Publish {
  const context = { traceId: systemRandom.hex(16), spanId: systemRandom.hex(8), flags: 1 };
  return withTraceContext(plain(), context);
}

test("spans go in batches, one after the other; what comes meanwhile waits within bounds, and the end sends it", async () => {
  const { requests, delivery, sender, add } = batches();
  const sent = (): number[] => requests.map(({ spans }) => spans);
  add(otlpSpanBatchMax + 5);
  expect(sent()).toEqual([otlpSpanBatchMax]);
  add(otlpWaitingMax);
  expect([sent(), delivery.dropped.spans]).toEqual([[otlpSpanBatchMax], otlpSpanBatchMax + 5]);
  requests[0]!.answer("no");
  await eventually(() => requests.length === 2, "the next batch is sent");
  expect(delivery.dropped.spans).toBe(2 * otlpSpanBatchMax + 5);
  const closed = sender.close();
  for (let at = 1; at < 4; at++) {
    await eventually(() => requests.length === at + 1, "one more is sent");
    requests[at]!.answer();
  }
  await closed;
  expect(sent()).toEqual([otlpSpanBatchMax, otlpSpanBatchMax, otlpSpanBatchMax, otlpWaitingMax - 3 * otlpSpanBatchMax]);
});

test("spans are gathered for a while; for longer where there are many", async () => {
  const { requests, sender, add, pass } = batches();
  const rounds: [number, number][] = [
    [3, otlpBatchMs],
    [otlpManySpans + 1, otlpBatchMs],
    [otlpManySpans, otlpManyMs],
    [1, otlpBatchMs],
  ];
  for (const [round, [spans, ms]] of rounds.entries()) {
    add(spans);
    pass(ms - 1);
    expect(requests).toHaveLength(round);
    pass(1);
    expect(requests.at(round)?.spans).toBe(spans);
    requests[round]!.answer();
    // Its promises.
    await Bun.sleep(0);
  }
  // What waits when the end comes does not wait for its time.
  add(2);
  const closed = sender.close();
  expect(requests.at(4)?.spans).toBe(2);
  requests[4]!.answer();
  await closed;
});
