/** The broker's metrics, the same as for Prometheus, as OpenTelemetry's SDK hands them to an exporter. */
import { type HrTime, ValueType } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import type { Clock } from "../base/clock.ts";
import type { Family, Sample } from "./metric-families.ts";

/** Produces the metrics of families, which are asked for when they are known. */
export function metricProducer(parts: {
  readonly families: () => readonly Family[];
  readonly resource: Resource;
  readonly clock: Clock;
  readonly scope: { readonly name: string; readonly version: string };
}): MetricProducer {
  const { families, resource, clock, scope } = parts;
  const startTime = timeOf(clock.wall());
  const collect = async (): Promise<CollectionResult> => {
    const span = { startTime, endTime: timeOf(clock.wall()) };
    const metrics = families().map((family) => dataOf(family, span));
    return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics }] }, errors: [] };
  };
  return { collect };
}

interface TimeSpan {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

function dataOf({ name, type, help, samples }: Family, span: TimeSpan): MetricData {
  const base = {
    descriptor: { name, description: help, unit: unitOf(name), valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  if (type === "histogram")
    return { ...base, dataPointType: DataPointType.HISTOGRAM, dataPoints: histogramsOf(samples(), span) };
  const dataPoints = samples().map(({ value, labels = {} }) => ({ ...span, attributes: labels, value }));
  if (type === "gauge") return { ...base, dataPointType: DataPointType.GAUGE, dataPoints };
  return { ...base, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
}

/** Returns the histograms that Prometheus' samples are of: theirs count all that is below, these each bucket alone. */
function histogramsOf(samples: readonly Sample[], span: TimeSpan) {
  const histograms = new Map<string, Gathered>();
  for (const { metricName = "", labels = {}, value } of samples) {
    const { le, ...attributes } = labels;
    const key = JSON.stringify(attributes);
    const gathered = histograms.get(key) ?? { attributes, boundaries: [], counts: [], below: 0, sum: 0, count: 0 };
    histograms.set(key, gathered);
    if (metricName.endsWith("_sum")) gathered.sum = value;
    else if (metricName.endsWith("_count")) gathered.count = value;
    else {
      gathered.counts.push(value - gathered.below);
      gathered.below = value;
      if (le !== "+Inf") gathered.boundaries.push(Number(le));
    }
  }
  return [...histograms.values()].map(({ attributes, boundaries, counts, sum, count }) => ({
    ...span,
    attributes,
    value: { buckets: { boundaries, counts }, sum, count },
  }));
}

interface Gathered {
  readonly attributes: Record<string, string>;
  readonly boundaries: number[];
  readonly counts: number[];
  below: number;
  sum: number;
  count: number;
}

/** Returns the unit that a name ends with, as UCUM has it. */
function unitOf(name: string): string {
  const [, unit] = /_(seconds|bytes|ratio)(?:_total)?$/.exec(name) ?? [];
  return { seconds: "s", bytes: "By", ratio: "1" }[unit ?? ""] ?? "";
}

function timeOf(wallMs: number): HrTime {
  const seconds = Math.floor(wallMs / 1000);
  return [seconds, Math.round((wallMs - 1000 * seconds) * 1e6)];
}
