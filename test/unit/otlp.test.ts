/** OpenTelemetry is bounded, draws messages evenly, and is not loaded where nobody asks for it. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { tracedDeliveriesMax, tracesPerSecondMax } from "../../src/base/limits.ts";
import { createLog, silentLog } from "../../src/base/log.ts";
import { makePublish, type Publish } from "../../src/mqtt/publish.ts";
import { Delivery } from "../../src/server/otlp-delivery.ts";
import { Traces } from "../../src/server/otlp-traces.ts";

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
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  let now = 0;
  let drawn = 0;
  const next = (): number => {
    drawn = (drawn + 0.618033988749895) % 1;
    return drawn;
  };
  const random = { next, hex: () => "" };
  const clock = { now: () => now, wall: () => now };
  const traces = new Traces(provider.getTracer("test"), { clock, random, percent });
  const pass = (ms: number): void => {
    now += ms;
  };
  return { traces, exporter, pass };
}

const plain = (): Publish => makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 0, retain: false });

test.each([0, 1, 50, 100])("%i %% of messages are traced", (percent) => {
  const { traces, pass } = scene(percent);
  let traced = 0;
  for (let count = 0; count < 20_000; count++) {
    if (traces.received(plain(), "c").trace !== undefined) traced++;
    pass(2);
  }
  expect(Math.abs(traced - 200 * percent)).toBeLessThanOrEqual(percent % 100 === 0 ? 0 : 20 * percent);
});

test("so many messages are traced in a second, and so many deliveries of one have spans", () => {
  const { traces, exporter, pass } = scene(100);
  pass(1000);
  const traced = Array.from({ length: tracesPerSecondMax + 10 }, () => traces.received(plain(), "c"));
  expect(traced.filter(({ trace }) => trace !== undefined)).toHaveLength(tracesPerSecondMax);
  expect(traces.skipped).toBe(10);
  pass(1000);
  const next = traces.received(plain(), "c");
  for (let count = 0; count < tracedDeliveriesMax + 10; count++)
    traces.sent(next, { clientId: String(count), target: { qos: 0, retain: false }, packetId: 0 });
  expect(exporter.getFinishedSpans().filter(({ name }) => name === "deliver")).toHaveLength(tracedDeliveriesMax);
});
