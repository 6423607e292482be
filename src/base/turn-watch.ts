/**
 * A watch over the turns of the event loop: how long each lasts, and who has made one long. All clients of a broker
 * share one loop, so whoever holds it makes all others wait.
 */
import type { Clock } from "./clock.ts";
import { Histogram, turnEnds } from "./histogram.ts";
import { turnLongMs, turnSampleMs } from "./limits.ts";
import { LineLimit, standingFor } from "./line-limit.ts";
import type { Log } from "./log.ts";

/** Something that a turn is spent on. */
export interface Subject {
  /** Names it for a line in the log. */
  describe(): Readonly<Record<string, string>>;
}

export interface TurnWatchDoors {
  readonly clock: Pick<Clock, "now">;
  readonly log: Pick<Log, "warn">;
  /** The processor's time that this thread has used, in ms. Without: a turn's time on the clock is taken for it. */
  readonly cpuMs?: () => number;
}

export class TurnWatch {
  /**
   * The processor's time of each turn, in ms: a machine that is busy with others makes no turn longer. Of a long turn
   * it may be `turnSampleMs` too much.
   */
  readonly times = new Histogram(turnEnds);
  /** The subject that the turn is being spent on; undefined: nothing that has a name. */
  subject: Subject | undefined;
  readonly #doors: TurnWatchDoors;
  readonly #lines = new LineLimit<"turn">();
  #depth = 0;
  #beganAt = 0;
  /** The processor's time when it was last asked for, and the time of that. */
  #cpuMs = 0;
  #sampledAt = -Infinity;
  #longestMs = 0;

  constructor(doors: TurnWatchDoors) {
    this.#doors = doors;
  }

  /** When the turn under way began, in ms by the clock's `now`; undefined: none is. */
  get beganAt(): number | undefined {
    return this.#depth > 0 ? this.#beganAt : undefined;
  }

  /**
   * Begins a turn that is spent on `subject`, or a part of the one under way. Each call needs one of `end`. Returns the
   * time, in ms by the clock's `now`.
   */
  begin(subject: Subject | undefined): number {
    const now = this.#doors.clock.now();
    if (this.#depth++ > 0) return now;
    this.subject = subject;
    this.#beganAt = now;
    // Asking costs more than most turns do.
    if (now - this.#sampledAt >= turnSampleMs) this.#sample(now);
    return now;
  }

  /** Ends a turn: counts it, and logs who has made it long. */
  end(): void {
    if (--this.#depth > 0) return;
    const now = this.#doors.clock.now();
    const ms = now - this.#beganAt;
    if (ms < turnSampleMs) return this.#count(ms);
    const before = this.#cpuMs;
    this.#sample(now);
    const cpuMs = this.#doors.cpuMs === undefined ? ms : Math.min(ms, this.#cpuMs - before);
    this.#count(cpuMs);
    if (ms < turnLongMs) return;
    const stands = this.#lines.take("turn", now);
    if (stands === 0) return;
    const facts = { ...this.subject?.describe(), ms: Math.round(ms), cpuMs: Math.round(cpuMs) };
    this.#doors.log.warn(facts, standingFor("the event loop was held: all other clients have waited", stands));
  }

  /** Does something as a turn of its own, or as a part of the one under way. */
  run(subject: Subject, go: () => void): void {
    this.begin(subject);
    try {
      go();
    } finally {
      this.end();
    }
  }

  /** Returns the processor's time of the longest turn since this was last asked, in ms. */
  takeLongestMs(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }

  #count(ms: number): void {
    this.times.observe(ms);
    if (ms > this.#longestMs) this.#longestMs = ms;
  }

  #sample(now: number): void {
    this.#cpuMs = this.#doors.cpuMs?.() ?? 0;
    this.#sampledAt = now;
  }
}

/** Returns a subject that is always called the same. */
export function subjectOf(what: string): Subject {
  return { describe: () => ({ what }) };
}
