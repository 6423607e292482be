/** A look at a broker, as `mqttzoo top` shows it: on a terminal, as one line, or as JSON. */
import { printable } from "../../src/base/printable.ts";
import { sparkline } from "../bank/watch.ts";
import { painted, type Style } from "../output/colours.ts";
import { type Row, tableOf } from "../output/table.ts";
import type { TopicRate } from "./topic-rates.ts";

/** The state of a broker at one moment; undefined: it does not tell that. */
export interface Look {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly where: string;
  readonly version: string | undefined;
  readonly uptime: string | undefined;
  readonly clients: number | undefined;
  readonly sessions: number | undefined;
  readonly subscriptions: number | undefined;
  readonly retained: number | undefined;
  readonly memoryBytes: number | undefined;
  /** A second. */
  readonly rates: Readonly<Record<RateName, number | undefined>>;
  /** The busiest topics, and how many there were; undefined: nobody has looked. */
  readonly topics: { readonly busiest: readonly TopicRate[]; readonly count: number } | undefined;
  /** The busiest clients; undefined: nobody has looked. */
  readonly busiestClients: readonly Row[] | undefined;
}

export const rateNames = ["received", "sent", "dropped", "refused", "bytesReceived", "bytesSent"] as const;
export type RateName = (typeof rateNames)[number];

type Line = readonly [text: string, style?: Style | undefined];

/** Rates of before that are drawn. */
const pastMax = 40;

/** Returns a look as JSON has it. */
export function toJson({ at, where, rates, topics, busiestClients, ...facts }: Look): object {
  const perSecond = Object.fromEntries(rateNames.map((name) => [`${name}PerSecond`, rounded(rates[name])]));
  return {
    at: new Date(at).toISOString(),
    broker: where,
    ...facts,
    ...perSecond,
    topicCount: topics?.count,
    topics: topics?.busiest.map(({ topic, messages, bytes }) => ({
      topic,
      messagesPerSecond: rounded(messages),
      bytesPerSecond: rounded(bytes),
    })),
    busiestClients,
  };
}

/** Returns a look as one line, for a pipe or a file. */
export function toLine({ at, clients, rates, topics }: Look): string {
  const parts = [new Date(at).toISOString(), `clients ${inWords(clients)}`];
  parts.push(`in ${inWords(rates.received)}/s`, `out ${inWords(rates.sent)}/s`);
  parts.push(`dropped ${inWords(rates.dropped)}/s`, `refused ${inWords(rates.refused)}/s`);
  const [first] = topics?.busiest ?? [];
  if (first !== undefined) parts.push(`most on ${first.topic} (${inWords(first.messages)}/s)`);
  return parts.join("  ");
}

/** Returns a look as the lines of a page; `past`: the looks before, the last one first of all at the end. */
export function toPage(
  look: Look,
  past: readonly Look[],
  { columns, rows }: { columns: number; rows: number },
): string[] {
  const { where, version, uptime, clients, sessions, subscriptions, retained, memoryBytes, rates } = look;
  const told = [version, uptime === undefined ? undefined : `up ${uptime}`].filter((one) => one !== undefined);
  const time = new Date(look.at).toISOString().slice(11, 19);
  const facts: [string, string | undefined][] = [
    ["clients", number(clients)],
    ["sessions", number(sessions)],
    ["subscriptions", number(subscriptions)],
    ["retained", number(retained)],
    ["memory", memoryBytes === undefined ? undefined : inBytes(memoryBytes)],
  ];
  const rateLine = (label: string, name: RateName, bytes?: RateName): Line => {
    const drawn = sparkline([...past, look].slice(-pastMax).map((one) => one.rates[name] ?? 0));
    const volume = bytes === undefined || rates[bytes] === undefined ? "" : `  ${inBytes(rates[bytes]!)}/s`;
    const text = `${label.padEnd(9)}${`${inWords(rates[name])}/s`.padStart(12)}${volume.padEnd(14)} ${drawn}`;
    const isLost = (name === "dropped" || name === "refused") && (rates[name] ?? 0) > 0;
    return [text, isLost ? "yellow" : undefined];
  };
  const lines: Line[] = [
    [`${where}${told.length === 0 ? "" : `  ${told.join(", ")}`}  ${time} UTC`, "bold"],
    [facts.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`])).join("   ")],
    [""],
    rateLine("in", "received", "bytesReceived"),
    rateLine("out", "sent", "bytesSent"),
    rateLine("dropped", "dropped"),
    rateLine("refused", "refused"),
  ];
  const tables = [topicTable(look), look.busiestClients && tableOf(look.busiestClients)].filter(
    (table) => table !== undefined,
  );
  const each = Math.floor((rows - lines.length) / Math.max(1, tables.length)) - 1;
  for (const table of tables) {
    const [head = "", ...body] = table.slice(0, each);
    if (each > 1) lines.push([""], [head, "bold"], ...body.map((text): Line => [text]));
  }
  return lines.slice(0, rows).map(([text, style]) => painted(cutTo(printable(text), columns), style));
}

function topicTable({ topics }: Look): string[] | undefined {
  if (topics === undefined) return undefined;
  const rows = topics.busiest.map(({ topic, messages, bytes }) => ({
    ...{ "messages/s": inWords(messages), "bytes/s": inBytes(bytes), topic },
  }));
  return rows.length === 0 ? ["(nothing is published)"] : tableOf(rows);
}

function cutTo(line: string, columns: number): string {
  const characters = [...line];
  return characters.length <= columns ? line : `${characters.slice(0, columns - 1).join("")}…`;
}

function number(value: number | undefined): string | undefined {
  return value === undefined ? undefined : inWords(value);
}

/** Returns a number for people; what is not known is a dash. */
function inWords(value: number | undefined): string {
  if (value === undefined) return "-";
  return value > 0 && value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value).toLocaleString("en");
}

function inBytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** step;
  return `${scaled >= 100 || step === 0 ? scaled.toFixed(0) : scaled.toFixed(1)} ${units[step]}`;
}

function rounded(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value * 100) / 100;
}
