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
import type { Publish } from "../mqtt/publish.ts";
import { mentionsTrace, type TraceContext, traceContextOf, withTraceContext } from "../mqtt/trace-context.ts";
import { type AttributeKey, type Attributes, attributeKey, type EndedSpan, spanKind } from "./otlp-spans.ts";

const recorded = 1;
const traceIdBytes = 16;
const spanIdBytes = 8;

const key = {
  system: attributeKey("messaging.system"),
  topic: attributeKey("messaging.destination.name"),
  clientId: attributeKey("messaging.client.id"),
  bytes: attributeKey("messaging.message.body.size"),
  fromBroker: attributeKey("mqttzoo.from_broker"),
  qos: attributeKey("mqttzoo.qos"),
  retain: attributeKey("mqttzoo.retain"),
  path: attributeKey("mqttzoo.path"),
} as const;

/** Where a message comes from: its topic, and the client or the broker that has sent it. */
interface Origin {
  readonly topic: string;
  readonly who: AttributeKey;
  readonly id: string;
}

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
  /** Messages that have come in this turn of the event loop. */
  #ofThisTurn: TracedMessage[] = [];
  readonly #turnIsOver = (): void => {
    for (const message of this.#ofThisTurn.splice(0)) message.passedOn();
  };
  /** Messages that were not followed, though their senders record a trace, since there were too many. */
  skipped = 0;

  constructor(surroundings: Surroundings, percent: number) {
    this.#surroundings = surroundings;
    this.#part = percent / 100;
    this.#untilNext = this.#draw();
  }

  received(publish: Publish, topic: string, clientId: string): Publish {
    const parent = publish.propertiesEnd > publish.propertiesStart ? traceContextOf(publish) : undefined;
    if (parent === undefined) {
      if (--this.#untilNext > 0) return publish;
      this.#untilNext = this.#draw();
    } else if ((parent.flags & recorded) === 0) return publish;
    return this.#follow(publish, parent, { topic, who: key.clientId, id: clientId });
  }

  arrived(publish: Publish, topic: string, brokerId: string): Publish {
    const parent = this.#recordedParent(publish);
    return parent === undefined ? publish : this.#follow(publish, parent, { topic, who: key.fromBroker, id: brokerId });
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
    new TracedMessage(this.#surroundings, parent.traceId, parent.spanId).deliver(clientId, target, packetId);
  }

  #recordedParent(publish: Publish): TraceContext | undefined {
    if (publish.propertiesEnd === publish.propertiesStart) return undefined;
    const parent = traceContextOf(publish);
    return parent === undefined || (parent.flags & recorded) === 0 ? undefined : parent;
  }

  #follow(publish: Publish, parent: TraceContext | undefined, { topic, who, id }: Origin): Publish {
    if (!this.#hasRoom()) return publish;
    const { payloadLength, qos, retain } = publish;
    const common = [key.system, "mqtt", key.topic, topic, who, id, key.bytes, payloadLength, key.qos, qos] as const;
    const attributes = retain ? [...common, key.retain, true] : common;
    const traceId = parent === undefined ? this.#surroundings.random.hex(traceIdBytes) : parent.traceId;
    const message = new TracedMessage(this.#surroundings, traceId, parent === undefined ? "" : parent.spanId);
    const spanId = message.received(attributes);
    const traced = withTraceContext(publish, { traceId, spanId, flags: recorded });
    traced.trace = message;
    // When the turn is over it has been passed on.
    if (this.#ofThisTurn.push(message) === 1) queueMicrotask(this.#turnIsOver);
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

const noAttributes: Attributes = [];

/** One message at this broker: what becomes of it, as spans below one that is given, or below that of its coming. */
class TracedMessage implements MessageTrace {
  readonly #surroundings: Surroundings;
  readonly #traceId: string;
  /** The time of day less the steady clock's: within one message no correction of the day's time is followed. */
  readonly #sinceEpoch: number;
  /** The span above those that begin now; "": there is none. */
  #parentId: string;
  /** The span of its coming; undefined: it was read from the store. */
  #received: OpenSpan | undefined;
  /** Deliveries that are not acknowledged, by client; made for the first. */
  #open: Map<string, OpenSpan> | undefined;
  #deliveries = 0;

  /** `parentId`: the span above, of another process; "": there is none. */
  constructor(surroundings: Surroundings, traceId: string, parentId: string) {
    this.#surroundings = surroundings;
    this.#traceId = traceId;
    this.#parentId = parentId;
    this.#sinceEpoch = surroundings.clock.wall() - surroundings.clock.now();
  }

  /** Begins the span of its coming, and returns its id: all others are below that. */
  received(attributes: Attributes): string {
    const span = this.#start("receive", spanKind.server, attributes);
    this.#received = span;
    this.#parentId = span.spanId;
    return span.spanId;
  }

  passedOn(): void {
    this.#end(this.#received!);
  }

  settling(): (path: string) => void {
    const span = this.#start("settle", spanKind.internal, noAttributes);
    return (path) => {
      span.attributes = [key.path, path === "through" ? "acknowledged_through" : path];
      this.#end(span);
    };
  }

  storing(): (how: "committed" | "refused") => void {
    const span = this.#start("store", spanKind.client, noAttributes);
    return (how) => {
      if (how === "refused") span.error = "the store has refused it";
      this.#end(span);
    };
  }

  refused(why: string): void {
    if (this.#received !== undefined) this.#received.error = why;
  }

  /** Begins the span of a delivery; of very many the first have one. */
  deliver(clientId: string, target: TracedTarget, packetId: number): void {
    if (this.#deliveries >= tracedDeliveriesMax) return;
    this.#deliveries++;
    const span = this.#start("deliver", spanKind.producer, [key.clientId, clientId, key.qos, target.qos]);
    if (!isAwaited(target, packetId)) return this.#end(span);
    target.trace = this;
    this.#open ??= new Map();
    const before = this.#open.get(clientId);
    if (before !== undefined) {
      before.error = "not acknowledged: it is sent again";
      this.#end(before);
    }
    this.#open.set(clientId, span);
  }

  acknowledged(clientId: string): void {
    const span = this.#open?.get(clientId);
    if (span === undefined) return;
    this.#open!.delete(clientId);
    this.#end(span);
  }

  #start(name: string, kind: EndedSpan["kind"], attributes: Attributes): OpenSpan {
    const start = this.#now();
    return {
      traceId: this.#traceId,
      spanId: this.#surroundings.random.hex(spanIdBytes),
      parentId: this.#parentId,
      hasRemoteParent: this.#received === undefined && this.#parentId !== "",
      name,
      kind,
      start,
      end: start,
      attributes,
      error: undefined,
    };
  }

  #end(span: OpenSpan): void {
    span.end = this.#now();
    this.#surroundings.ended(span);
  }

  #now(): number {
    return this.#sinceEpoch + this.#surroundings.clock.now();
  }
}

/** Returns true if it is told when the client acknowledges a message. */
function isAwaited(target: TracedTarget, packetId: number): boolean {
  return packetId !== 0 && target.packetId === packetId;
}
