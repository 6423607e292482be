/** Faults in spans: spans of one message that do not belong together, and a collector that harms the broker. */
import type { Fault } from "./faults.ts";

const tests = "test/broker/otlp.test.ts";
const cluster = "test/cluster/otlp.test.ts";
const unit = "test/unit/otlp.test.ts";
const spans = "src/server/otlp-spans.ts";

export const faults: readonly Fault[] = [
  {
    what: "OTLP: the message goes on with the context that it came with",
    file: "src/server/otlp-traces.ts",
    find: "withTraceContext(publish, { traceId, spanId, flags: recorded })",
    replace: "withTraceContext(publish, parent ?? { traceId, spanId, flags: recorded })",
    tests,
  },
  {
    what: "OTLP: a trace that its sender does not record is recorded",
    file: "src/server/otlp-traces.ts",
    find: "} else if ((parent.flags & recorded) === 0) return publish;",
    replace: "}",
    tests,
  },
  {
    what: "OTLP: what is read from the store is no part of its trace",
    file: "src/server/otlp-traces.ts",
    find: "if (parent === undefined || !this.#hasRoom()) return;",
    replace: "if (parent !== undefined || !this.#hasRoom()) return;",
    tests,
  },
  {
    what: "OTLP: a message from another broker begins at nothing",
    file: "src/broker/cluster/arriving.ts",
    find: "return spans === undefined ? publish : spans.arrived(publish, topic, peer.id);",
    replace: "return spans === undefined ? publish : spans.received(publish, topic, peer.id);",
    tests: cluster,
  },
  {
    what: "OTLP: whatever waits for the collector may wait",
    file: "src/server/otlp-delivery.ts",
    find: "if (this.#waiting[signal] >= this.#most) {",
    replace: "if (this.#waiting[signal] > 10 * this.#most) {",
    tests: unit,
  },
  {
    what: "OTLP: the log tells of each batch that is not taken",
    file: "src/server/otlp-delivery.ts",
    find: "    if (this.#failing !== undefined) return;\n",
    replace: "",
    tests: unit,
  },
  {
    what: "OTLP: so many messages are traced as there are",
    file: "src/server/otlp-traces.ts",
    find: "if (this.#inSecond < tracesPerSecondMax) {",
    replace: "if (this.#inSecond < 1000 * tracesPerSecondMax) {",
    tests: unit,
  },
  {
    what: "OTLP: a second batch of spans is sent beside the first",
    file: spans,
    find: "if (this.#sending === undefined) this.#gather();",
    replace: "this.#gather();",
    tests: unit,
  },
  {
    what: "OTLP: what waits when a batch has been taken is not sent",
    file: spans,
    find: "      this.#sending = undefined;\n      this.#gather();",
    replace: "      this.#sending = undefined;",
    tests: unit,
  },
  {
    what: "OTLP: the end leaves spans behind that wait",
    file: spans,
    find: "while (this.#waiting.length > 0 || this.#sending !== undefined) {",
    replace: "while (this.#sending !== undefined) {",
    tests: unit,
  },
  {
    what: "OTLP: texts in spans are written as numbers",
    file: spans,
    find: 'if (typeof value === "string") return',
    replace: 'if (typeof value === "symbol") return',
    tests: unit,
  },
  {
    what: "OTLP: fractions of a millisecond are written without their zeros",
    file: spans,
    find: "String(1e6 + Math.floor((ms - whole) * 1e6)).slice(1)",
    replace: "Math.floor((ms - whole) * 1e6)",
    tests: unit,
  },
  {
    what: "OTLP: where many spans come, each second has its request",
    file: spans,
    find: "batch.length > otlpManySpans ? otlpManyMs : otlpBatchMs",
    replace: "otlpBatchMs",
    tests: unit,
  },
];
