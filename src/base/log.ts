/**
 * Logging through pino: one line an event, as JSON for machines or as plain text for people. Logs go to
 * stderr, so that stdout belongs to what a command prints.
 */
import pino from "pino";
import { systemClock } from "./clock.ts";

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
  const destination = { write: format === "json" ? write : (line: string) => write(toText(line)) };
  const timestamp = (): string => `,"time":"${new Date(systemClock.wall()).toISOString()}"`;
  return pino(
    { level, base: null, timestamp, formatters: { level: (label) => ({ level: label }) } },
    destination as pino.DestinationStream,
  );
}

export const silentLog: Log = pino({ level: "silent" });

function toText(line: string): string {
  const { time, level, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const details = Object.entries(rest).map(([key, value]) => ` ${key}=${toWord(value)}`);
  return `${time} ${String(level).toUpperCase().padEnd(5)} ${msg}${details.join("")}\n`;
}

function toWord(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(value);
}
