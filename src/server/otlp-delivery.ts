/**
 * The way of spans, log lines and metrics to the collector, bounded: what does not fit, or is not taken, is dropped and
 * counted, and the log says once that it is so. Of metrics and the log the official processors and
 * serializers do the work; these stand around them.
 */
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import type { LogRecordProcessor } from "@opentelemetry/sdk-logs";
import { hookAnswerBytesMax } from "../base/access-limits.ts";
import { noBytes } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { otlpTimeoutMs } from "../base/otlp-limits.ts";
import { askHttp } from "../net/http.ts";

export type Signal = "spans" | "logs" | "metrics";

/** Counts what the collector has not got, and tells when it stops and begins to take things. */
export class Delivery {
  readonly dropped: Record<Signal, number> = { spans: 0, logs: 0, metrics: 0 };
  readonly #waiting: Record<Signal, number> = { spans: 0, logs: 0, metrics: 0 };
  readonly #log: Log;
  readonly #most: number;
  #failing: Signal | undefined;

  /** `most`: how many of a kind may wait. */
  constructor(log: Log, most: number) {
    this.#log = log;
    this.#most = most;
  }

  /** Returns true if one more may wait; else it is dropped. */
  admit(signal: Signal): boolean {
    if (this.#waiting[signal] >= this.#most) {
      this.dropped[signal]++;
      return false;
    }
    this.#waiting[signal]++;
    return true;
  }

  /** Notes what has become of a batch. `why`: the reason why it was not taken; undefined: it was. */
  ended(signal: Signal, things: number, why: string | undefined): void {
    this.#waiting[signal] = Math.max(0, this.#waiting[signal] - things);
    if (why === undefined) {
      // Another kind may still fail.
      if (this.#failing !== signal) return;
      this.#failing = undefined;
      this.#log.info({ dropped: { ...this.dropped } }, "the OTLP collector takes what it is sent again");
      return;
    }
    this.dropped[signal] += things;
    if (this.#failing !== undefined) return;
    this.#failing = signal;
    this.#log.warn({ why }, `the OTLP collector does not take ${signal}: what is not sent is dropped`);
  }
}

/** Where requests of one kind go. */
export interface Destination {
  readonly url: string;
  readonly headers: Record<string, string>;
}

/** How batches of one kind are sent by a processor of the official libraries. */
export interface Batches<Batch> extends Destination {
  readonly signal: Signal;
  /** Writes a batch as the collector reads it. */
  readonly serializer: { serializeRequest(batch: Batch): Uint8Array | undefined };
  /** Returns how many things a batch holds. */
  readonly count: (batch: Batch) => number;
}

/** An exporter, as all processors of the official libraries take one. */
interface Exporter<Batch> {
  export(batch: Batch, done: (result: ExportResult) => void): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

/**
 * Sends a body, once, over the broker's own HTTP door: the official exporters' way, Node's HTTP client, takes twice the
 * processor's time. Resolves with the reason why it was not taken; undefined: it was.
 */
export async function sendTo({ url, headers }: Destination, body: Uint8Array): Promise<string | undefined> {
  let why = "no answer";
  const init = { method: "POST", body, headers: { ...headers, "content-type": "application/json" } };
  const failed = (words: string): void => {
    why = words;
  };
  const reply = await askHttp(url, { ms: otlpTimeoutMs, bytesMax: hookAnswerBytesMax, init, failed });
  if (reply === undefined) return why;
  return reply.status >= 200 && reply.status < 300 ? undefined : `it answers ${reply.status}`;
}

/** An exporter by `sendTo`; processors send batches one after the other. */
export function exporterTo<Batch>(to: Batches<Batch>, delivery: Delivery): Exporter<Batch> {
  const { signal, serializer, count } = to;
  return {
    export(batch, done) {
      void sendTo(to, serializer.serializeRequest(batch) ?? noBytes).then((why) => {
        delivery.ended(signal, count(batch), why);
        done(why === undefined ? { code: ExportResultCode.SUCCESS } : { code: ExportResultCode.FAILED });
      });
    },
    forceFlush: async () => {},
    shutdown: async () => {},
  };
}

/** Admits log records to a processor while there is room. */
export function boundedLogs(inner: LogRecordProcessor, delivery: Delivery): LogRecordProcessor {
  return {
    onEmit(record, context) {
      if (delivery.admit("logs")) inner.onEmit(record, context);
    },
    forceFlush: () => inner.forceFlush(),
    shutdown: () => inner.shutdown(),
  };
}
