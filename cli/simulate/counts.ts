/** The counts of a simulation: of devices that are alike, of all together, as a line each second and as a table. */
import type { Row } from "../output/table.ts";

export class Counts {
  readonly name: string;
  readonly devices: number;
  /** Devices that are connected now. */
  online = 0;
  /** Connections that were made, or could not be; and those that ended without anybody's having meant it. */
  connected = 0;
  failed = 0;
  lost = 0;
  /** Leavings without a word, as was asked for. */
  dropped = 0;
  published = 0;
  acknowledged = 0;
  refused = 0;
  /** Publishes that were left out, since too many were not acknowledged. */
  skipped = 0;
  received = 0;
  bytes = 0;
  /** Publishes that wait for their acknowledgement. */
  pending = 0;
  /** The first thing that went wrong, in words. */
  firstFailure: string | undefined;
  firstRefusal: string | undefined;

  constructor(name: string, devices: number) {
    this.name = name;
    this.devices = devices;
  }
}

/** Returns the sums. */
export function sumOf(all: readonly Counts[]): Counts {
  const sum = new Counts(
    "(all)",
    all.reduce((devices, one) => devices + one.devices, 0),
  );
  for (const one of all) {
    for (const name of summed) sum[name] += one[name];
    sum.firstFailure ??= one.firstFailure;
    sum.firstRefusal ??= one.firstRefusal;
  }
  return sum;
}

const summed = [
  ...(["online", "connected", "failed", "lost", "dropped", "published"] as const),
  ...(["acknowledged", "refused", "skipped", "received", "bytes", "pending"] as const),
];

/** Returns a line that says how it goes; `before`: the sums `seconds` ago. */
export function progressOf(now: Counts, before: Counts, { at, seconds }: { at: number; seconds: number }): string {
  const rate = (name: "published" | "received"): string => `${inWords((now[name] - before[name]) / seconds)}/s`;
  const parts = [
    `${String(Math.round(at)).padStart(4)} s  online ${inWords(now.online)} of ${inWords(now.devices)}`,
    `published ${rate("published")}`,
  ];
  if (now.received > 0) parts.push(`received ${rate("received")}`);
  for (const name of ["refused", "lost", "failed", "skipped"] as const)
    if (now[name] > 0) parts.push(`${name} ${inWords(now[name])}`);
  return parts.join("  ");
}

/** Returns the row of a table. */
export function rowOf(one: Counts): Row {
  const { name, devices, connected, failed, dropped, lost, published, acknowledged, refused, skipped } = one;
  const { received, bytes } = one;
  return {
    ...{ devices: name, count: devices, connected, failed, dropped, lost },
    ...{ published, acknowledged, refused, skipped, received, bytes },
  };
}

/** Says what went wrong; undefined: nothing did. */
export function failureOf({ failed, refused, firstFailure, firstRefusal }: Counts): string | undefined {
  const times = (count: number, what: string): string => `${inWords(count)} ${what}${count === 1 ? "" : "s"}`;
  if (failed > 0) return `${times(failed, "connection")} failed: ${firstFailure}`;
  if (refused > 0) return `${times(refused, "request")} refused: ${firstRefusal}`;
  return undefined;
}

function inWords(value: number): string {
  return Math.round(value).toLocaleString("en");
}
