/**
 * Spans on their way to the collector, as OTLP's JSON. They are gathered and written here: the official tracer,
 * processor and serializer take about twice as much of the processor's time. A test holds this JSON against the
 * official serializer's.
 */
import { type Alarm, type Sleeper, setAlarm } from "../base/alarm.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { otlpBatchMs, otlpManyMs, otlpManySpans, otlpSpanBatchMax } from "../base/otlp-limits.ts";
import type { Delivery } from "./otlp-delivery.ts";

/** OTLP's numbers for `SpanKind`. */
export const spanKind = { internal: 1, server: 2, client: 3, producer: 4 } as const;

/** OTLP's number for the `StatusCode` of an error. */
const errorCode = 2;

/** OTLP's `SpanFlags`: the trace's own, and what is known of where the parent is. */
const spanFlags = { sampled: 0x01, hasIsRemote: 0x100, isRemote: 0x200 } as const;

export type AttributeValue = string | number | boolean;

/** The key of an attribute, written as it stands in JSON. */
export type AttributeKey = string & { readonly written: unique symbol };

/** Returns a key, written once for all spans that have it. */
export function attributeKey(name: string): AttributeKey {
  return `{"key":${JSON.stringify(name)},"value":{` as AttributeKey;
}

/** Keys and values in turns: a list is cheaper to make than an object for each span, and to write. */
export type Attributes = readonly (AttributeKey | AttributeValue)[];

/** A span that is over. */
export interface EndedSpan {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** The span above; "": it is the first of its trace. */
  readonly parentId: string;
  /** True if the span above is of another process; false if there is none. */
  readonly hasRemoteParent: boolean;
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
  readonly resource: Readonly<Record<string, AttributeValue>>;
  readonly scope: { readonly name: string; readonly version: string };
}

/**
 * Writes the body of a request to `/v1/traces`. The text is put together here: objects for `JSON.stringify` would take
 * several times as long.
 */
export function writeSpans(spans: readonly EndedSpan[], { resource, scope }: SpanSource): Uint8Array {
  const ofBroker = Object.entries(resource).flatMap(([name, value]) => [attributeKey(name), value]);
  let list = "";
  for (const span of spans) list += `${list === "" ? "" : ","}${writeSpan(span)}`;
  const scopeSpans = `[{"scope":${JSON.stringify(scope)},"spans":[${list}]}]`;
  const written = `"resource":{"attributes":[${writeAttributes(ofBroker)}]},"scopeSpans":${scopeSpans}`;
  return encodeUtf8(`{"resourceSpans":[{${written}}]}`);
}

function writeSpan(span: EndedSpan): string {
  const { parentId, error } = span;
  const above = parentId === "" ? "" : `,"parentSpanId":"${parentId}"`;
  const status = error === undefined ? "" : `"code":${errorCode},"message":${JSON.stringify(error)}`;
  const flags = spanFlags.sampled | spanFlags.hasIsRemote | (span.hasRemoteParent ? spanFlags.isRemote : 0);
  const times = `"startTimeUnixNano":"${nanoseconds(span.start)}","endTimeUnixNano":"${nanoseconds(span.end)}"`;
  const head = `{"traceId":"${span.traceId}","spanId":"${span.spanId}"${above},"name":"${span.name}"`;
  const tail = `"flags":${flags},"attributes":[${writeAttributes(span.attributes)}],"status":{${status}}}`;
  return `${head},"kind":${span.kind},${times},${tail}`;
}

function writeAttributes(attributes: Attributes): string {
  let text = "";
  for (let at = 0; at < attributes.length; at += 2)
    text += `${at === 0 ? "" : ","}${attributes[at]}${writeValue(attributes[at + 1]!)}}}`;
  return text;
}

function writeValue(value: AttributeValue): string {
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
