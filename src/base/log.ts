/**
 * Logging through pino: one line an event, as JSON for machines or as plain text for people. Logs go to
 * stderr, so that stdout belongs to what a command prints. No text from outside can begin a line of its own, or speak
 * to a terminal; long lines are cut.
 */
import pino from "pino";
import { systemClock } from "./clock.ts";
import { logFieldCharactersMax, logLineCharactersMax } from "./limits.ts";
import { cut, printable, printableJson } from "./printable.ts";

export const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogFormat = "text" | "json";
export type Log = pino.Logger;

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly write?: (line: string) => void;
}

export function createLog({ level, format, write = (line) => void process.stderr.write(line) }: LogOptions): Log {
  const render = format === "json" ? toJson : toText;
  const follower: Follower = { told: undefined };
  const destination = {
    write(line: string): void {
      const short = withinLimits(line);
      write(`${render(short)}\n`);
      follower.told?.(short);
    },
  };
  const timestamp = (): string => `,"time":"${new Date(systemClock.wall()).toISOString()}"`;
  const log = pino(
    { level, base: null, timestamp, formatters: { level: (label) => ({ level: label }) } },
    destination as pino.DestinationStream,
  );
  followers.set(log, follower);
  return log;
}

/** A listener that is told each line of a log as well, as JSON. */
interface Follower {
  told: ((json: string) => void) | undefined;
}

const followers = new WeakMap<Log, Follower>();

/** Has each line of a log of `createLog` told as well, as JSON within the same limits. */
export function followLog(log: Log, told: (json: string) => void): void {
  const follower = followers.get(log);
  if (follower !== undefined) follower.told = told;
}

export const silentLog: Log = pino({ level: "silent" });

/** Returns a line of JSON, without its end, whose texts are cut if they are much together. */
function withinLimits(line: string): string {
  const json = line.trimEnd();
  if (json.length <= logLineCharactersMax) return json;
  const shorten = (_: string, value: unknown): unknown =>
    typeof value === "string" ? cut(value, logFieldCharactersMax) : value;
  const shorter = JSON.stringify(JSON.parse(json, shorten));
  if (shorter.length <= logLineCharactersMax) return shorter;
  const { time, level, msg } = JSON.parse(shorter) as Record<string, unknown>;
  return JSON.stringify({ time, level, msg, cut: shorter.length });
}

function toJson(json: string): string {
  return printableJson(json);
}

function toText(line: string): string {
  const { time, level, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const details = Object.entries(rest).map(([key, value]) => ` ${key}=${toWord(value)}`);
  return `${time} ${String(level).toUpperCase().padEnd(5)} ${printable(String(msg))}${details.join("")}`;
}

function toWord(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[\w./:@+-]+$/.test(text) ? text : printableJson(JSON.stringify(value));
}
