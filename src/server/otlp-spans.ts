/**
 * Spans on their way to the collector, as OTLP's JSON. They are gathered and written here: the official tracer,
 * processor and serializer take about twice as much of the processor's time. A test holds this JSON against the
 * official serializer's.
 */
import { type Alarm, type Sleeper, setAlarm } from "../base/alarm.ts";
import type { Clock } from "../base/clock.ts";
import { otlpBatchMs, otlpManyMs, otlpManySpans, otlpSpanBatchMax } from "../base/otlp-limits.ts";
import type { Delivery } from "./otlp-delivery.ts";

/** OTLP's numbers for `SpanKind`. */
export const spanKind = { internal: 1, server: 2, client: 3, producer: 4 } as const;

/** OTLP's number for the `StatusCode` of an error. */
const errorCode = 2;

/** OTLP's `SpanFlags`: the trace's own, and what is known of where the parent is. */
const spanFlags = { sampled: 0x01, hasIsRemote: 0x100, isRemote: 0x200 } as const;

export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** A span that is over. */
export interface EndedSpan {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** The span above; undefined: it is the first of its trace. */
  readonly parent: { readonly spanId: string; readonly isRemote: boolean } | undefined;
  readonly name: string;
  readonly kind: (typeof spanKind)[keyof typeof spanKind];
  /** In ms since 1970, with fractions. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  /** The reason why it is an error; undefined: it is none. */
  readonly error: string | undefined;
}

/** The broker that spans are of, and the part of the program that makes them. */
export interface SpanSource {
  readonly resource: Attributes;
  readonly scope: { readonly name: string; readonly version: string };
}

/**
 * Writes the body of a request to `/v1/traces`. The text is put together here: objects for `JSON.stringify` would take
 * several times as long.
 */
export function writeSpans(spans: readonly EndedSpan[], { resource, scope }: SpanSource): Uint8Array {
  const source = `"resource":{"attributes":[${writeAttributes(resource)}]}`;
  const list = spans.map(writeSpan).join(",");
  const scopeSpans = `[{"scope":${JSON.stringify(scope)},"spans":[${list}]}]`;
  return Buffer.from(`{"resourceSpans":[{${source},"scopeSpans":${scopeSpans}}]}`);
}

function writeSpan({ traceId, spanId, parent, name, kind, start, end, attributes, error }: EndedSpan): string {
  const ids = `"traceId":"${traceId}","spanId":"${spanId}"${parent ? `,"parentSpanId":"${parent.spanId}"` : ""}`;
  const times = `"startTimeUnixNano":"${nanoseconds(start)}","endTimeUnixNano":"${nanoseconds(end)}"`;
  const status = error === undefined ? "" : `"code":${errorCode},"message":${JSON.stringify(error)}`;
  const flags = spanFlags.sampled | spanFlags.hasIsRemote | (parent?.isRemote === true ? spanFlags.isRemote : 0);
  const head = `${ids},"name":"${name}","kind":${kind},${times},"flags":${flags}`;
  return `{${head},"attributes":[${writeAttributes(attributes)}],"status":{${status}}}`;
}

function writeAttributes(attributes: Attributes): string {
  let text = "";
  for (const key in attributes) {
    const value = attributes[key]!;
    text += `${text === "" ? "" : ","}{"key":${JSON.stringify(key)},"value":{${writeValue(value)}}}`;
  }
  return text;
}

function writeValue(value: string | number | boolean): string {
  if (typeof value === "string") return `"stringValue":${JSON.stringify(value)}`;
  if (typeof value === "boolean") return `"boolValue":${value}`;
  return Number.isInteger(value) ? `"intValue":${value}` : `"doubleValue":${value}`;
}

/** Numbers of 64 bits are texts in OTLP's JSON. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(1e6 + Math.floor((ms - whole) * 1e6)).slice(1)}`;
}

/** The parts that a sender of spans needs. */
export interface SpanWays {
  readonly clock: Clock;
  readonly delivery: Delivery;
  /** Sends a body; resolves with the reason why it was not taken, or undefined. */
  readonly send: (body: Uint8Array) => Promise<string | undefined>;
}

/** Gathers spans for a while, and has them sent, one batch after the other. */
export class SpanBatches implements Sleeper {
  readonly #source: SpanSource;
  readonly #ways: SpanWays;
  readonly #alarm: Alarm;
  #waiting: EndedSpan[] = [];
  /** When the spans that wait are sent; Infinity: none wait, or they wait for the batch before. */
  #dueAt = Infinity;
  #sending: Promise<void> | undefined;
  /** How long spans are gathered, in ms: longer where many come, since a request costs as much as some 100 of them. */
  #gatherMs = otlpBatchMs;

  constructor(source: SpanSource, ways: SpanWays) {
    this.#source = source;
    this.#ways = ways;
    this.#alarm = setAlarm(this, ways.clock);
  }

  /** Has a span sent, if there is room. */
  add(span: EndedSpan): void {
    if (!this.#ways.delivery.admit("spans")) return;
    this.#waiting.push(span);
    if (this.#sending === undefined) this.#gather();
  }

  nextDeadline(): number {
    return this.#dueAt;
  }

  tick(): void {
    if (this.#dueAt <= this.#ways.clock.now()) this.#begin();
  }

  /** Sends all that waits; resolves when it has been taken or dropped. */
  async close(): Promise<void> {
    while (this.#waiting.length > 0 || this.#sending !== undefined) {
      if (this.#sending === undefined) this.#begin();
      await this.#sending;
    }
    this.#alarm.stop();
  }

  #gather(): void {
    if (this.#waiting.length >= otlpSpanBatchMax) this.#begin();
    else if (this.#waiting.length > 0 && this.#dueAt === Infinity) {
      this.#dueAt = this.#ways.clock.now() + this.#gatherMs;
      this.#alarm.wake();
    }
  }

  #begin(): void {
    this.#dueAt = Infinity;
    this.#sending = this.#sendBatch().then(() => {
      this.#sending = undefined;
      this.#gather();
    });
  }

  async #sendBatch(): Promise<void> {
    const batch = this.#waiting.splice(0, otlpSpanBatchMax);
    this.#gatherMs = batch.length > otlpManySpans ? otlpManyMs : otlpBatchMs;
    this.#ways.delivery.ended("spans", batch.length, await this.#ways.send(writeSpans(batch, this.#source)));
  }
}
