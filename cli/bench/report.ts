/** The report of a load: a line while it runs, then figures and a picture of the latencies; or JSON. */
import { Latencies } from "../../src/load/latencies.ts";
import { isShared, isStamped, type Plan, receiversOf } from "../../src/load/plan.ts";
import type { Counts, Outcome } from "../../src/load/worker.ts";

/** How it went in one second: rates, and the clients that were connected. */
export interface Sample {
  /** Seconds since the connections were made; of those before, since the beginning. */
  readonly at: number;
  readonly connected: number;
  readonly sent: number;
  readonly received: number;
}

export interface Report {
  readonly name: string;
  readonly plan: Plan;
  readonly connectSeconds: number;
  /** Seconds during which messages were published, or waited for. */
  readonly seconds: number;
  readonly counts: Counts;
  /** Deliveries that what was sent must come to; undefined: others publish, or subscribe. */
  readonly expected: number | undefined;
  readonly connecting: Latencies;
  readonly acking: Latencies;
  readonly delivering: Latencies;
  readonly samples: readonly Sample[];
}

export function addCounts(all: readonly Counts[]): Counts {
  const sum = (what: Exclude<keyof Counts, "failure">): number => all.reduce((total, one) => total + one[what], 0);
  return {
    connected: sum("connected"),
    failed: sum("failed"),
    failure: all.find(({ failure }) => failure !== undefined)?.failure,
    sent: sum("sent"),
    acked: sum("acked"),
    refused: sum("refused"),
    received: sum("received"),
    duplicates: sum("duplicates"),
    outOfOrder: sum("outOfOrder"),
    foreign: sum("foreign"),
  };
}

/** Brings together what the processes say. `outcomes` are in the order of their shares. */
export function makeReport(
  known: Pick<Report, "name" | "plan" | "connectSeconds" | "seconds" | "expected" | "samples">,
  outcomes: readonly Outcome[],
): Report {
  const merged = (what: "connecting" | "acking" | "delivering"): Latencies => {
    const all = new Latencies();
    for (const outcome of outcomes) all.add(outcome[what]);
    return all;
  };
  return {
    ...known,
    counts: addCounts(outcomes.map(({ counts }) => counts)),
    connecting: merged("connecting"),
    acking: merged("acking"),
    delivering: merged("delivering"),
  };
}

/** Deliveries that what was sent must come to; undefined: others publish, or subscribe, or nobody can tell. */
export function expectedOf(plan: Plan, outcomes: readonly Outcome[]): number | undefined {
  if (plan.publishers === 0 || plan.subscribers === 0 || !isStamped(plan)) return undefined;
  const receivers = receiversOf(plan);
  return outcomes.reduce(
    (total, { sentBy }, at) =>
      total + sentBy.reduce((sum, sent, index) => sum + sent * receivers[at + index * outcomes.length]!, 0),
    0,
  );
}

/** Counts all messages received, also those that others have sent. */
function receivedOf({ received, foreign }: Counts): number {
  return received + foreign;
}

function lostOf({ expected, counts }: Report): number {
  return Math.max(0, (expected ?? 0) - counts.received);
}

/** Says in words what the broker's promise does not allow; undefined: nothing of the kind. */
export function brokenPromise(report: Report): string | undefined {
  const { plan, counts } = report;
  if (counts.failed > 0) return `${counts.failed} connections failed: ${counts.failure}`;
  if (counts.refused > 0) return `${counts.refused} messages were refused`;
  if (plan.qos > 0 && lostOf(report) > 0) return `${lostOf(report)} messages of QoS ${plan.qos} were lost`;
  if (plan.qos === 2 && counts.duplicates > 0) return `${counts.duplicates} messages of QoS 2 came twice`;
  if (counts.outOfOrder > 0 && !isShared(plan)) return `${counts.outOfOrder} messages came out of order`;
  return undefined;
}

/** One line, each second. */
export function progressOf(now: Counts, before: Counts, { at, seconds }: { at: number; seconds: number }): string {
  const rate = (count: (counts: Counts) => number): string => `${thousands((count(now) - count(before)) / seconds)}/s`;
  const parts = [`${String(Math.round(at)).padStart(4)} s  connected ${thousands(now.connected)}`];
  if (now.sent > 0) parts.push(`sent ${rate(({ sent }) => sent)}`);
  if (now.acked > 0) parts.push(`acknowledged ${rate(({ acked }) => acked)}`);
  if (receivedOf(now) > 0) parts.push(`received ${rate(receivedOf)}`);
  if (now.failed > 0) parts.push(`failed ${thousands(now.failed)}`);
  return parts.join("  ");
}

export const shownPercents = [50, 90, 99, 99.9] as const;

export function toJson(report: Report): object {
  const { name, plan, counts, seconds, expected } = report;
  const latency = (of: Latencies) =>
    of.count === 0
      ? undefined
      : {
          ...Object.fromEntries(shownPercents.map((percent) => [`p${percent}`, round(of.percentile(percent))])),
          mean: round(of.mean),
          max: round(of.max),
        };
  return {
    scenario: name,
    publishers: plan.publishers,
    subscribers: plan.subscribers,
    qos: plan.qos,
    payloadBytes: plan.payloadBytes,
    seconds: round(seconds),
    connected: counts.connected,
    connectSeconds: round(report.connectSeconds),
    failed: counts.failed,
    failure: counts.failure,
    sent: counts.sent,
    sentPerSecond: Math.round(counts.sent / seconds),
    acknowledged: counts.acked,
    refused: counts.refused,
    received: receivedOf(counts),
    receivedPerSecond: Math.round(receivedOf(counts) / seconds),
    expected,
    lost: expected === undefined ? undefined : lostOf(report),
    duplicates: counts.duplicates,
    outOfOrder: counts.outOfOrder,
    connectMs: latency(report.connecting),
    acknowledgeMs: latency(report.acking),
    deliverMs: latency(report.delivering),
  };
}

export function toLines(report: Report): string[] {
  const { name, plan, counts, seconds, connecting, acking, delivering, expected } = report;
  const row = (label: string, ...cells: readonly string[]): string => `${label.padEnd(14)}${cells.join("  ")}`;
  const perSecond = (count: number): string => `${thousands(count / seconds)}/s`;
  const megabytes = (count: number): string => `${((count * plan.payloadBytes) / seconds / 1e6).toFixed(1)} MB/s`;
  const lines = [
    `${name}: ${thousands(plan.publishers)} publishers, ${thousands(plan.subscribers)} subscribers${
      plan.idle > 0 ? `, ${thousands(plan.idle)} idle` : ""
    }, QoS ${plan.qos}, ${thousands(plan.payloadBytes)} bytes, ${seconds.toFixed(1)} s`,
    row("connected", thousands(counts.connected), `${thousands(counts.connected / report.connectSeconds)}/s`),
  ];
  if (counts.failed > 0) lines.push(row("failed", thousands(counts.failed), counts.failure ?? ""));
  if (counts.sent > 0) lines.push(row("sent", thousands(counts.sent), perSecond(counts.sent), megabytes(counts.sent)));
  if (counts.acked > 0) lines.push(row("acknowledged", thousands(counts.acked), perSecond(counts.acked)));
  if (counts.refused > 0) lines.push(row("refused", thousands(counts.refused)));
  const received = receivedOf(counts);
  if (plan.subscribers > 0) lines.push(row("received", thousands(received), perSecond(received), megabytes(received)));
  if (expected !== undefined) lines.push(row("lost", `${thousands(lostOf(report))} of ${thousands(expected)}`));
  if (counts.received > 0)
    lines.push(row("duplicates", thousands(counts.duplicates)), row("out of order", thousands(counts.outOfOrder)));
  lines.push(...picture("connect", connecting), ...picture("acknowledge", acking), ...picture("deliver", delivering));
  return lines;
}

const barColumns = 40;

/** Percentiles in a line, and a bar for each doubling of the time. */
function picture(what: string, latencies: Latencies): string[] {
  if (latencies.count === 0) return [];
  const percents = shownPercents.map((percent) => `p${percent} ${inMs(latencies.percentile(percent))}`);
  const lines = ["", `${what}, ms: ${percents.join("  ")}  max ${inMs(latencies.max)}`];
  const bars: { readonly to: number; readonly count: number }[] = [];
  for (let to = 0.001; to / 2 < latencies.max; to *= 2) bars.push({ to, count: latencies.between(to / 2, to) });
  const first = bars.findIndex(({ count }) => count > 0);
  const most = Math.max(...bars.map(({ count }) => count));
  for (const { to, count } of bars.slice(first)) {
    const bar = count === 0 ? "" : "█".repeat(Math.max(1, Math.round((barColumns * count) / most)));
    const percent = `${((100 * count) / latencies.count).toFixed(1)}%`;
    lines.push(`${`≤ ${inMs(to)}`.padStart(12)}  ${percent.padStart(6)}  ${bar}`.trimEnd());
  }
  return lines;
}

export function inMs(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3);
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString("en");
}
