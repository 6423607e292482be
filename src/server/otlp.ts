/**
 * OpenTelemetry: spans, metrics and the log go to a collector over OTLP/HTTP in JSON; metrics and the log are written
 * by the official libraries. This file, and they, are loaded only when `--otlp` is given.
 */
import { SeverityNumber } from "@opentelemetry/api";
import { parseKeyPairsIntoRecord } from "@opentelemetry/core";
import { JsonLogsSerializer, JsonMetricsSerializer } from "@opentelemetry/otlp-transformer";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import type { Clock } from "../base/clock.ts";
import { followLog, type Log } from "../base/log.ts";
import {
  otlpBatchMax,
  otlpBatchMs,
  otlpCloseMs,
  otlpMetricsMs,
  otlpTimeoutMs,
  otlpWaitingMax,
} from "../base/otlp-limits.ts";
import type { Random } from "../base/random.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { Spans } from "../broker/core/spans.ts";
import { version } from "../broker/core/version.ts";
import { type Family, gatewayFamilies, labelled } from "./metric-families.ts";
import { boundedLogs, Delivery, exporterTo, sendTo } from "./otlp-delivery.ts";
import { metricProducer } from "./otlp-metrics.ts";
import { SpanBatches } from "./otlp-spans.ts";
import { Traces } from "./otlp-traces.ts";
import type { SnDoor } from "./sn-door.ts";

/** The traces, metrics and log lines that go to the collector. */
export interface Telemetry {
  readonly spans: Spans;
  /** Metrics of its own: they count the things that the collector has not got. */
  readonly families: readonly Family[];
  /** Sends these metrics, too, from now on. */
  add(families: readonly Family[]): void;
  /** Sends the metrics of MQTT-SN, too, if there is a door for it. */
  opened(snDoor: SnDoor | undefined): void;
  /** Sends what waits, as far as the collector takes it within a moment. */
  close(): Promise<void>;
}

/** Starts to send. `options.otlp`: the collector's address, to which each signal's path is added. */
export function openTelemetry(
  { otlp, otlpSample, id }: Pick<BrokerOptions, "otlp" | "otlpSample" | "id">,
  { log, clock, random }: { readonly log: Log; readonly clock: Clock; readonly random: Random },
): Telemetry {
  const delivery = new Delivery(log, otlpWaitingMax);
  const named = { "service.name": "mqttzoo", "service.version": version, "service.instance.id": id };
  const resource = resourceFromAttributes(named).merge(detectResources({ detectors: [envDetector] }));
  const headers = parseKeyPairsIntoRecord(process.env.OTEL_EXPORTER_OTLP_HEADERS);
  const to = (path: string) => ({ url: `${otlp.replace(/\/+$/, "")}/v1/${path}`, headers });
  const batching = {
    // What may wait is bounded before it comes here.
    maxQueueSize: 2 * otlpWaitingMax,
    maxExportBatchSize: otlpBatchMax,
    scheduledDelayMillis: otlpBatchMs,
    exportTimeoutMillis: 2 * otlpTimeoutMs,
  };
  const scope = { name: "mqttzoo", version };
  const ofBroker = resource.attributes as Record<string, string>;
  const send = (body: Uint8Array) => sendTo(to("traces"), body);
  const batches = new SpanBatches({ resource: ofBroker, scope }, { clock, delivery, send });
  const traces = new Traces({ clock, random, ended: (span) => batches.add(span) }, otlpSample);
  const records = exporterTo(
    { ...to("logs"), signal: "logs", serializer: JsonLogsSerializer, count: ({ length }) => length },
    delivery,
  );
  const loggers = new LoggerProvider({
    resource,
    processors: [boundedLogs(new BatchLogRecordProcessor({ ...batching, exporter: records }), delivery)],
  });
  sendLog(log, loggers);
  const families = ownFamilies(delivery, traces);
  let all = families;
  const pointsTo = { ...to("metrics"), signal: "metrics", serializer: JsonMetricsSerializer, count: () => 1 } as const;
  const points = exporterTo(pointsTo, delivery);
  const reader = new PeriodicExportingMetricReader({
    exporter: points,
    exportIntervalMillis: otlpMetricsMs,
    exportTimeoutMillis: 2 * otlpTimeoutMs,
    metricProducers: [metricProducer({ families: () => all, resource, clock, scope })],
  });
  const meters = new MeterProvider({ resource, readers: [reader] });
  return {
    spans: traces,
    families,
    add: (more) => {
      all = [...all, ...more];
    },
    opened: (snDoor) => {
      if (snDoor !== undefined) all = [...all, ...gatewayFamilies(snDoor.gateway)];
    },
    close: async () => {
      const ended = Promise.allSettled([batches.close(), loggers.shutdown(), meters.shutdown()]);
      await Promise.race([ended, Bun.sleep(otlpCloseMs)]);
    },
  };
}

function ownFamilies({ dropped }: Delivery, traces: Traces): readonly Family[] {
  return [
    {
      name: "mqttzoo_otlp_dropped_total",
      type: "counter",
      help: "Spans, log lines and reports of metrics that the OTLP collector has not got.",
      samples: () => labelled("signal", { ...dropped }),
    },
    {
      name: "mqttzoo_otlp_skipped_total",
      type: "counter",
      help: "Messages that were not traced though their senders record a trace: there were too many in a second.",
      samples: () => [{ value: traces.skipped }],
    },
  ];
}

const severities: Record<string, SeverityNumber> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
  fatal: SeverityNumber.FATAL,
};

/** Sends every line of the log, too. */
function sendLog(log: Log, loggers: LoggerProvider): void {
  const logger = loggers.getLogger("mqttzoo", version);
  followLog(log, (json) => {
    const { time, level, msg, ...facts } = JSON.parse(json) as Record<string, string>;
    const attributes = Object.fromEntries(
      Object.entries(facts).map(([name, value]) => [name, isPlain(value) ? value : JSON.stringify(value)]),
    );
    logger.emit({
      timestamp: new Date(time!),
      severityNumber: severities[level!] ?? SeverityNumber.UNSPECIFIED,
      severityText: level!.toUpperCase(),
      body: msg!,
      attributes,
    });
  });
}

function isPlain(value: unknown): boolean {
  return ["string", "number", "boolean"].includes(typeof value);
}
