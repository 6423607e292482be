/** A load as it runs: its clients connect, publish and listen, and a line each second says how it goes. */
import { isatty } from "node:tty";
import { systemClock } from "../../src/base/clock.ts";
import type { Plan } from "../../src/load/plan.ts";
import type { Counts } from "../../src/load/worker.ts";
import { tell } from "../output/print.ts";
import { printError } from "../output/standard-output.ts";
import type { Crew } from "./crew.ts";
import { addCounts, expectedOf, makeReport, progressOf, type Report, type Sample } from "./report.ts";

/**
 * After the last message: how long what is under way may need, and how long nothing may come before it is given up; in
 * s.
 */
const drainMax = 30;
const silenceMax = 2;
const pollMs = 20;
/** Samples that are kept, one a second: of a load that goes on for long the last ones. */
const samplesMax = 3600;

/** A load, from the first connection to the report. */
export class Load {
  readonly #name: string;
  readonly #plan: Plan;
  readonly #crews: readonly Crew[];
  readonly #signal: AbortSignal;
  readonly #isQuiet: boolean;
  #startedAt = systemClock.now();
  #said: { counts: Counts; at: number } | undefined;
  readonly #samples: Sample[] = [];

  constructor(
    name: string,
    plan: Plan,
    crews: readonly Crew[],
    { signal, isQuiet }: { readonly signal: AbortSignal; readonly isQuiet: boolean },
  ) {
    this.#name = name;
    this.#plan = plan;
    this.#crews = crews;
    this.#signal = signal;
    this.#isQuiet = isQuiet;
  }

  /** `seconds`: 0: until its messages are sent, or it is interrupted. */
  async run(seconds: number): Promise<Report> {
    const connecting = this.#all((crew) => crew.connect());
    let isConnected = false;
    void connecting.finally(() => {
      isConnected = true;
    });
    await this.#watch(() => isConnected);
    if (this.#signal.aborted) await this.#all((crew) => crew.stop());
    await connecting;
    const connectSeconds = (systemClock.now() - this.#startedAt) / 1000;
    this.#startedAt = systemClock.now();
    this.#said = undefined;
    await this.#all((crew) => crew.go());
    const isOver = (): boolean => seconds > 0 && systemClock.now() - this.#startedAt >= seconds * 1000;
    const publishes = this.#plan.publishers > 0;
    await this.#watch((isDone) => isOver() || (isDone && publishes));
    const published = (systemClock.now() - this.#startedAt) / 1000;
    await this.#all((crew) => crew.stop());
    const sent = await this.#all((crew) => crew.outcome());
    const expected = expectedOf(this.#plan, sent);
    await this.#drain(expected);
    const outcomes = await this.#all((crew) => crew.outcome());
    await this.#all((crew) => crew.end());
    this.#clear();
    const known = { name: this.#name, plan: this.#plan, connectSeconds, seconds: published, expected };
    return makeReport({ ...known, samples: this.#samples }, outcomes);
  }

  /** Waits for messages under way, which may still arrive. */
  async #drain(expected: number | undefined): Promise<void> {
    const giveUpAt = systemClock.now() + drainMax * 1000;
    let last = -1;
    let silentSince = systemClock.now();
    while (systemClock.now() < giveUpAt) {
      const standings = await this.#all((crew) => crew.standing());
      const { received } = addCounts(standings.map(({ counts }) => counts));
      if (standings.every(({ isDone }) => isDone) && (expected === undefined || received >= expected)) return;
      if (received !== last) silentSince = systemClock.now();
      else if (systemClock.now() - silentSince > silenceMax * 1000) return;
      last = received;
      await Bun.sleep(pollMs);
    }
  }

  /** Waits until something is so, or it is interrupted; with a line each second. */
  async #watch(isOver: (isDone: boolean) => boolean): Promise<void> {
    for (;;) {
      const standings = await this.#all((crew) => crew.standing());
      if (this.#signal.aborted || isOver(standings.every(({ isDone }) => isDone))) return;
      this.#print(addCounts(standings.map(({ counts }) => counts)));
      await Bun.sleep(pollMs);
    }
  }

  /** Takes a sample each second, and says how it goes. */
  #print(counts: Counts): void {
    const now = systemClock.now();
    this.#said ??= { counts, at: now };
    const seconds = (now - this.#said.at) / 1000;
    if (seconds < 1) return;
    const at = (now - this.#startedAt) / 1000;
    const rate = (name: "connected" | "sent" | "received" | "foreign"): number =>
      (counts[name] - this.#said!.counts[name]) / seconds;
    this.#samples.push({
      at,
      connected: counts.connected,
      sent: rate("sent"),
      received: rate("received") + rate("foreign"),
    });
    if (this.#samples.length > samplesMax) this.#samples.shift();
    const line = progressOf(counts, this.#said.counts, { at, seconds });
    this.#said = { counts, at: now };
    if (this.#isQuiet) return;
    if (isatty(2)) printError(`\r\x1b[K${line}`);
    else tell(line);
  }

  #clear(): void {
    if (!this.#isQuiet && isatty(2)) printError("\r\x1b[K");
  }

  #all<Value>(tell: (crew: Crew) => Promise<Value>): Promise<Value[]> {
    return Promise.all(this.#crews.map(tell));
  }
}
