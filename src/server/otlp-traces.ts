/**
 * Traces of messages, as spans: `receive`, `settle`, `store` and `deliver`, one each time that a hop does it. A
 * message whose sender records a trace belongs to that; of all others some are drawn by chance. What is passed on names
 * the span of `receive` as its parent, so that other brokers, and clients, go on from there.
 */
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { Clock } from "../base/clock.ts";
import { tracedDeliveriesMax, tracesPerSecondMax } from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import type { Spans, TracedDelivery } from "../broker/core/spans.ts";
import type { MessageTrace } from "../mqtt/message-trace.ts";
import { type Publish, topicOf } from "../mqtt/publish.ts";
import { mentionsTrace, type TraceContext, traceContextOf, withTraceContext } from "../mqtt/trace-context.ts";

const recorded = 1;

export class Traces implements Spans {
  readonly #tracer: Tracer;
  readonly #clock: Clock;
  readonly #random: Random;
  /** The part of messages without a trace for which one is begun, from 0 to 1. */
  readonly #part: number;
  /** Messages until the next one for which a trace is begun. */
  #untilNext: number;
  #second = 0;
  #inSecond = 0;
  /** Messages that were not followed, though their senders record a trace, since there were too many. */
  skipped = 0;

  constructor(tracer: Tracer, { clock, random, percent }: { clock: Clock; random: Random; percent: number }) {
    this.#tracer = tracer;
    this.#clock = clock;
    this.#random = random;
    this.#part = percent / 100;
    this.#untilNext = this.#draw();
  }

  received(publish: Publish, clientId: string): Publish {
    const parent = publish.propertiesEnd > publish.propertiesStart ? traceContextOf(publish) : undefined;
    if (parent === undefined) {
      if (--this.#untilNext > 0) return publish;
      this.#untilNext = this.#draw();
    } else if ((parent.flags & recorded) === 0) return publish;
    return this.#follow(publish, parent, { "messaging.client.id": clientId });
  }

  arrived(publish: Publish, brokerId: string): Publish {
    const parent = this.#recordedParent(publish);
    return parent === undefined ? publish : this.#follow(publish, parent, { "mqttzoo.from_broker": brokerId });
  }

  mayBeIn(bytes: Uint8Array, start: number, end: number): boolean {
    return mentionsTrace(bytes, start, end);
  }

  sent(publish: Publish, delivery: TracedDelivery): void {
    const known = publish.trace as TracedMessage | undefined;
    if (known !== undefined) return known.deliver(delivery);
    // Of a retained message the trace was over long ago.
    if (delivery.target.retain) return;
    // It was read from the store.
    const parent = this.#recordedParent(publish);
    if (parent === undefined || !this.#hasRoom()) return;
    const message = new TracedMessage(this.#tracer, contextOf(parent));
    message.deliver(delivery);
  }

  #recordedParent(publish: Publish): TraceContext | undefined {
    if (publish.propertiesEnd === publish.propertiesStart) return undefined;
    const parent = traceContextOf(publish);
    return parent === undefined || (parent.flags & recorded) === 0 ? undefined : parent;
  }

  #follow(publish: Publish, parent: TraceContext | undefined, from: Attributes): Publish {
    if (!this.#hasRoom()) return publish;
    const attributes = {
      ...{ "messaging.system": "mqtt", "messaging.destination.name": topicOf(publish), ...from },
      ...{ "messaging.message.body.size": publish.payloadLength, "mqttzoo.qos": publish.qos },
      ...(publish.retain ? { "mqttzoo.retain": true } : {}),
    };
    const above = parent === undefined ? ROOT_CONTEXT : contextOf(parent);
    const span = this.#tracer.startSpan("receive", { kind: SpanKind.SERVER, attributes }, above);
    const { traceId, spanId } = span.spanContext();
    const traced = withTraceContext(publish, { traceId, spanId, flags: recorded });
    traced.trace = new TracedMessage(this.#tracer, trace.setSpan(ROOT_CONTEXT, span), span);
    // When the turn is over it has been passed on.
    queueMicrotask(() => span.end());
    return traced;
  }

  /** Returns false, and counts it, if enough messages have been followed in this second. */
  #hasRoom(): boolean {
    const now = this.#clock.now();
    if (now - this.#second >= 1000) {
      this.#second = now;
      this.#inSecond = 0;
    }
    if (this.#inSecond < tracesPerSecondMax) {
      this.#inSecond++;
      return true;
    }
    this.skipped++;
    return false;
  }

  /** Returns the distance to the next message, so that each has the same chance: one number is drawn for many. */
  #draw(): number {
    if (this.#part === 0) return Infinity;
    if (this.#part >= 1) return 1;
    return 1 + Math.floor(Math.log(1 - this.#random.next()) / Math.log(1 - this.#part));
  }
}

/** One message at this broker: the spans of what becomes of it. */
class TracedMessage implements MessageTrace {
  readonly #tracer: Tracer;
  readonly #context: Context;
  readonly #received: Span | undefined;
  /** Deliveries that are not acknowledged, by client. */
  readonly #open = new Map<string, Span>();
  #deliveries = 0;

  /** `context`: what all its spans are below. `received`: the span of its coming, where that was here. */
  constructor(tracer: Tracer, context: Context, received?: Span) {
    this.#tracer = tracer;
    this.#context = context;
    this.#received = received;
  }

  settling(): (path: string) => void {
    const span = this.#start("settle", SpanKind.INTERNAL);
    return (path) => {
      span.setAttribute("mqttzoo.path", path === "through" ? "acknowledged_through" : path);
      span.end();
    };
  }

  storing(): (how: "committed" | "refused") => void {
    const span = this.#start("store", SpanKind.CLIENT);
    return (how) => {
      if (how === "refused") span.setStatus({ code: SpanStatusCode.ERROR, message: "the store has refused it" });
      span.end();
    };
  }

  refused(why: string): void {
    this.#received?.setStatus({ code: SpanStatusCode.ERROR, message: why });
  }

  /** Begins the span of a delivery; of very many the first have one. */
  deliver(delivery: TracedDelivery): void {
    const { clientId, target } = delivery;
    if (this.#deliveries >= tracedDeliveriesMax) return;
    this.#deliveries++;
    const span = this.#start("deliver", SpanKind.PRODUCER, {
      "messaging.client.id": clientId,
      "mqttzoo.qos": target.qos,
    });
    if (!isAwaited(delivery)) return span.end();
    target.trace = this;
    const before = this.#open.get(clientId);
    before?.setStatus({ code: SpanStatusCode.ERROR, message: "not acknowledged: it is sent again" });
    before?.end();
    this.#open.set(clientId, span);
  }

  acknowledged(clientId: string): void {
    this.#open.get(clientId)?.end();
    this.#open.delete(clientId);
  }

  #start(name: string, kind: SpanKind, attributes: Attributes = {}): Span {
    return this.#tracer.startSpan(name, { kind, attributes }, this.#context);
  }
}

/** Returns true if it is told when the client acknowledges a message. */
function isAwaited({ target, packetId }: TracedDelivery): boolean {
  return packetId !== 0 && target.packetId === packetId;
}

function contextOf({ traceId, spanId, flags }: TraceContext): Context {
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: flags, isRemote: true });
}
