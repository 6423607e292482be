/**
 * Traces of messages, as spans: `receive`, `settle`, `store` and `deliver`, one each time that a hop does it. A
 * message whose sender records a trace belongs to that; of all others some are drawn by chance. What is passed on names
 * the span of `receive` as its parent, so that other brokers, and clients, go on from there.
 */
import type { Clock } from "../base/clock.ts";
import { tracedDeliveriesMax, tracesPerSecondMax } from "../base/otlp-limits.ts";
import type { Random } from "../base/random.ts";
import type { Spans, TracedTarget } from "../broker/core/spans.ts";
import type { MessageTrace } from "../mqtt/message-trace.ts";
import { type Publish, topicOf } from "../mqtt/publish.ts";
import { mentionsTrace, type TraceContext, traceContextOf, withTraceContext } from "../mqtt/trace-context.ts";
import { type Attributes, type EndedSpan, spanKind } from "./otlp-spans.ts";

const recorded = 1;

/** The doors that spans need, and where they go when they are over. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly ended: (span: EndedSpan) => void;
}

export class Traces implements Spans {
  readonly #surroundings: Surroundings;
  /** The part of messages without a trace for which one is begun, from 0 to 1. */
  readonly #part: number;
  /** Messages until the next one for which a trace is begun. */
  #untilNext: number;
  #second = 0;
  #inSecond = 0;
  /** Messages that were not followed, though their senders record a trace, since there were too many. */
  skipped = 0;

  constructor(surroundings: Surroundings, percent: number) {
    this.#surroundings = surroundings;
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

  sent(publish: Publish, clientId: string, target: TracedTarget, packetId: number): void {
    const known = publish.trace as TracedMessage | undefined;
    if (known !== undefined) return known.deliver(clientId, target, packetId);
    // Of a retained message the trace was over long ago.
    if (target.retain) return;
    // It was read from the store.
    const parent = this.#recordedParent(publish);
    if (parent === undefined || !this.#hasRoom()) return;
    new TracedMessage(new SpanMaker(this.#surroundings, parent.traceId), parentOf(parent)).deliver(
      clientId,
      target,
      packetId,
    );
  }

  #recordedParent(publish: Publish): TraceContext | undefined {
    if (publish.propertiesEnd === publish.propertiesStart) return undefined;
    const parent = traceContextOf(publish);
    return parent === undefined || (parent.flags & recorded) === 0 ? undefined : parent;
  }

  #follow(publish: Publish, parent: TraceContext | undefined, from: Attributes): Publish {
    if (!this.#hasRoom()) return publish;
    const attributes: Record<string, string | number | boolean> = {
      "messaging.system": "mqtt",
      "messaging.destination.name": topicOf(publish),
      ...from,
      "messaging.message.body.size": publish.payloadLength,
      "mqttzoo.qos": publish.qos,
    };
    if (publish.retain) attributes["mqttzoo.retain"] = true;
    const { traceId = this.#surroundings.random.hex(16) } = parent ?? {};
    const spans = new SpanMaker(this.#surroundings, traceId);
    const span = spans.start("receive", spanKind.server, parent && parentOf(parent), attributes);
    const { spanId } = span;
    const traced = withTraceContext(publish, { traceId, spanId, flags: recorded });
    traced.trace = new TracedMessage(spans, { spanId, isRemote: false }, span);
    // When the turn is over it has been passed on.
    queueMicrotask(() => spans.end(span));
    return traced;
  }

  /** Returns false, and counts it, if enough messages have been followed in this second. */
  #hasRoom(): boolean {
    const now = this.#surroundings.clock.now();
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
    return 1 + Math.floor(Math.log(1 - this.#surroundings.random.next()) / Math.log(1 - this.#part));
  }
}

/** A span that is not over. */
type OpenSpan = { -readonly [Key in keyof EndedSpan]: EndedSpan[Key] };

/** Makes the spans of one message at this broker. */
class SpanMaker {
  readonly traceId: string;
  readonly #surroundings: Surroundings;
  /** The time of day less the steady clock's: within one message no correction of the day's time is followed. */
  readonly #sinceEpoch: number;

  constructor(surroundings: Surroundings, traceId: string) {
    this.traceId = traceId;
    this.#surroundings = surroundings;
    this.#sinceEpoch = surroundings.clock.wall() - surroundings.clock.now();
  }

  start(name: string, kind: EndedSpan["kind"], parent: EndedSpan["parent"], attributes: Attributes): OpenSpan {
    const [start, spanId] = [this.#now(), this.#surroundings.random.hex(8)];
    return { traceId: this.traceId, spanId, parent, name, kind, start, end: start, attributes, error: undefined };
  }

  end(span: OpenSpan): void {
    span.end = this.#now();
    this.#surroundings.ended(span);
  }

  #now(): number {
    return this.#sinceEpoch + this.#surroundings.clock.now();
  }
}

/** One message at this broker: what becomes of it, as spans below one that is given. */
class TracedMessage implements MessageTrace {
  readonly #spans: SpanMaker;
  readonly #parent: NonNullable<EndedSpan["parent"]>;
  readonly #received: OpenSpan | undefined;
  /** Deliveries that are not acknowledged, by client. */
  readonly #open = new Map<string, OpenSpan>();
  #deliveries = 0;

  /** `received`: the span of its coming, where that was here. */
  constructor(spans: SpanMaker, parent: NonNullable<EndedSpan["parent"]>, received?: OpenSpan) {
    this.#spans = spans;
    this.#parent = parent;
    this.#received = received;
  }

  settling(): (path: string) => void {
    const span = this.#start("settle", spanKind.internal);
    return (path) => {
      span.attributes = { "mqttzoo.path": path === "through" ? "acknowledged_through" : path };
      this.#spans.end(span);
    };
  }

  storing(): (how: "committed" | "refused") => void {
    const span = this.#start("store", spanKind.client);
    return (how) => {
      if (how === "refused") span.error = "the store has refused it";
      this.#spans.end(span);
    };
  }

  refused(why: string): void {
    if (this.#received !== undefined) this.#received.error = why;
  }

  /** Begins the span of a delivery; of very many the first have one. */
  deliver(clientId: string, target: TracedTarget, packetId: number): void {
    if (this.#deliveries >= tracedDeliveriesMax) return;
    this.#deliveries++;
    const span = this.#start("deliver", spanKind.producer, {
      "messaging.client.id": clientId,
      "mqttzoo.qos": target.qos,
    });
    if (!isAwaited(target, packetId)) return this.#spans.end(span);
    target.trace = this;
    const before = this.#open.get(clientId);
    if (before !== undefined) {
      before.error = "not acknowledged: it is sent again";
      this.#spans.end(before);
    }
    this.#open.set(clientId, span);
  }

  acknowledged(clientId: string): void {
    const span = this.#open.get(clientId);
    if (span === undefined) return;
    this.#open.delete(clientId);
    this.#spans.end(span);
  }

  #start(name: string, kind: EndedSpan["kind"], attributes: Attributes = {}): OpenSpan {
    return this.#spans.start(name, kind, this.#parent, attributes);
  }
}

/** Returns true if it is told when the client acknowledges a message. */
function isAwaited(target: TracedTarget, packetId: number): boolean {
  return packetId !== 0 && target.packetId === packetId;
}

function parentOf({ spanId }: TraceContext): NonNullable<EndedSpan["parent"]> {
  return { spanId, isRemote: true };
}
