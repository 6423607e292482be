/** `mqttzoo bank watch`: the bank in the terminal, drawn anew every second, until Ctrl-C. */
import { boundBy, type Snapshot } from "../../src/audit/audit.ts";
import { takeSnapshot } from "../../src/audit/snapshot.ts";
import { milli } from "../../src/bank/price.ts";
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { openTree, type TreePlace } from "../cluster/open-tree.ts";
import { sayJson } from "../output/print.ts";
import { print } from "../output/standard-output.ts";
import { tableOf } from "../output/table.ts";

const lookMs = 1000;
const bars = " ▁▂▃▄▅▆▇█";
const plotHeight = 6;
const expiriesShown = 5;

/** The bank at one moment, and what has changed since the last: credits are in milli-credits. */
export interface Moment {
  readonly at: number;
  readonly capital: number;
  readonly vault: number;
  readonly bound: number;
  readonly messages: number;
  /** Milli-credits that messages have come to bind since then, and that have come back. */
  readonly in: number;
  readonly out: number;
  /** Publishes that could not be paid since then. */
  readonly refused: number;
}

/** Draws the bank's view each second until it is interrupted. Rejects with `OperatingError`. */
export async function watchBank(flags: TreePlace & { readonly json?: boolean }): Promise<void> {
  const tree = await openTree(flags, "read");
  const past: Moment[] = [];
  let before: Snapshot | undefined;
  for (;;) {
    const taken = await takeSnapshot(tree, systemClock.wall());
    if (taken === undefined)
      throw new OperatingError("EBANK", "there is no bank here: no broker has been started on it yet");
    past.push(momentOf(taken, before));
    before = taken;
    if (past.length > 1000) past.shift();
    if (flags.json === true) sayJson(past.at(-1));
    else print(`\x1b[H\x1b[2J${linesOf(taken, past).join("\n")}\n`);
    await Bun.sleep(lookMs);
  }
}

function momentOf(taken: Snapshot, before: Snapshot | undefined): Moment {
  const sum = (amounts: Iterable<number>): number => [...amounts].reduce((all, amount) => all + amount, 0);
  const flow = (from: Snapshot, to: Snapshot): number => {
    const known = new Set(from.messages.map(({ path, credits }) => `${path} ${credits}`));
    return sum(to.messages.map(({ path, credits }) => (known.has(`${path} ${credits}`) ? 0 : credits)));
  };
  const refused = (branch: string): number => {
    const now = taken.refused.get(branch) ?? 0;
    const then = before?.refused.get(branch) ?? 0;
    // A broker that was started anew counts from 0.
    return now >= then ? now - then : now;
  };
  return {
    at: taken.takenAt,
    capital: taken.capital,
    vault: taken.vault,
    bound: sum(boundBy(taken).values()),
    messages: taken.messages.length,
    in: before === undefined ? 0 : flow(before, taken),
    out: before === undefined ? 0 : flow(taken, before),
    refused: before === undefined ? 0 : sum([...taken.refused.keys()].map(refused)),
  };
}

/** The lines of the picture. */
function linesOf(taken: Snapshot, past: readonly Moment[]): string[] {
  const width = Math.max(20, (process.stdout.columns ?? 80) - 24);
  const shown = past.slice(-width);
  const { capital, vault, bound, messages, refused, ...flows } = past.at(-1)!;
  const next = taken.messages.filter(({ expiresAt }) => expiresAt > 0).sort((a, b) => a.expiresAt - b.expiresAt);
  const rows = next.slice(0, expiriesShown).map(({ path, expiresAt, credits }) => ({
    "ends in": `${Math.max(0, Math.round((expiresAt - taken.takenAt) / 1000))} s`,
    credits: inWords(credits),
    message: path,
  }));
  return [
    `bound ${inWords(bound)} of ${inWords(capital)} credits by ${messages} messages; vault ${inWords(vault)}`,
    "",
    ...plot(
      shown.map((moment) => moment.bound / Math.max(1, moment.capital)),
      inWords(capital),
    ),
    "",
    `in       ${sparkline(shown.map((moment) => moment.in))} ${inWords(flows.in)} credits/s`,
    `out      ${sparkline(shown.map((moment) => moment.out))} ${inWords(flows.out)} credits/s`,
    `refused  ${sparkline(shown.map((moment) => moment.refused))} ${refused}/s`,
    "",
    "next to end:",
    ...tableOf(rows),
  ];
}

function inWords(amount: number): string {
  return Math.round(amount / milli).toLocaleString("en");
}

/** Parts of the whole, a column each; the whole is written at the top, and 0 at the bottom. */
export function plot(parts: readonly number[], whole: string): string[] {
  const lines: string[] = [];
  for (let row = plotHeight - 1; row >= 0; row--) {
    const label = row === plotHeight - 1 ? whole : row === 0 ? "0" : "";
    const cells = parts.map((part) => {
      const eighths = Math.ceil(part * plotHeight * 8) - row * 8;
      return bars[Math.max(0, Math.min(8, eighths))];
    });
    lines.push(`${label.padStart(14)} │${cells.join("")}`);
  }
  return lines;
}

/** Amounts in one line, the largest as a full block. */
export function sparkline(amounts: readonly number[]): string {
  const largest = Math.max(...amounts, 1);
  return amounts.map((amount) => bars[Math.ceil((amount / largest) * 8)]).join("");
}
