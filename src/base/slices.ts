/**
 * Work that would hold up everybody else if it were done at once: it is done in slices, and between two of them the
 * event loop serves whoever has asked for something meanwhile. All such work takes turns, so that together it takes no
 * more of the loop than one piece of work would.
 */
import type { Clock } from "./clock.ts";
import { sliceMs, sliceShareMs } from "./limits.ts";
import { Ring } from "./ring.ts";
import { Timer, type Timers } from "./timers.ts";
import type { TurnWatch } from "./turn-watch.ts";

/** Steps of a few microseconds, or up to a millisecond, each; it may be left where it yields. */
export type Work = Generator<void, void, void>;

interface Waiting {
  readonly work: Work;
  readonly done: () => void;
  /** The subject of the turn in which it was handed over. */
  readonly subject: TurnWatch["subject"];
}

/** The turn under way, as a `TurnWatch` has it. */
type PresentTurn = Pick<TurnWatch, "subject" | "beganAt">;

export class Slices {
  readonly #clock: Pick<Clock, "now">;
  readonly #timers: Timers;
  readonly #turns: PresentTurn;
  readonly #waiting = new Ring<Waiting>();
  readonly #timer = new Timer(() => this.#goOn());

  /** `turns`: told whose work is done. Without: a turn is what is called from outside. */
  constructor(
    clock: Pick<Clock, "now">,
    timers: Timers,
    turns: PresentTurn = { subject: undefined, beganAt: undefined },
  ) {
    this.#clock = clock;
    this.#timers = timers;
    this.#turns = turns;
  }

  /** How much work is waiting for its next slice. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Does the work, and calls back: both at once if it is little, as it mostly is, and the turn has just begun. */
  run(work: Work, done: () => void = () => {}): void {
    const now = this.#clock.now();
    const until = Math.min(
      now + (this.#waiting.length === 0 ? sliceMs : sliceShareMs),
      (this.#turns.beganAt ?? now) + sliceMs,
    );
    if (now < until && workUntil(work, this.#clock, until)) done();
    else this.#wait({ work, done, subject: this.#turns.subject });
  }

  /** Calls back in a later turn, when what else has waited for longer has had a slice. */
  later(go: () => void): void {
    this.#wait({ work: nothing(), done: go, subject: this.#turns.subject });
  }

  /** True when the slice is over that began at that time, or the turn in which it is has lasted as long. */
  isOver(startedAt: number): boolean {
    const { beganAt } = this.#turns;
    const from = beganAt === undefined || beganAt > startedAt ? startedAt : beganAt;
    return this.#clock.now() - from >= sliceMs;
  }

  #wait(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (this.#timer.dueAt === Infinity) this.#timers.set(this.#timer, this.#clock.now());
  }

  /** One turn: each that waits has its share, as far as the time goes; what comes meanwhile waits for the next turn. */
  #goOn(): void {
    const startedAt = this.#clock.now();
    try {
      for (let left = this.#waiting.length; left > 0 && !this.isOver(startedAt); left--) {
        const waiting = this.#waiting.shift()!;
        this.#turns.subject = waiting.subject;
        if (workUntil(waiting.work, this.#clock, this.#clock.now() + sliceShareMs)) waiting.done();
        else this.#waiting.push(waiting);
      }
    } finally {
      if (this.#waiting.length > 0) this.#timers.set(this.#timer, this.#clock.now());
    }
  }
}

/** Does steps until a time of the clock, in ms, and at least one. Returns true if all has been done. */
export function workUntil(work: Work, clock: Pick<Clock, "now">, until: number): boolean {
  for (;;) {
    if (work.next().done === true) return true;
    if (clock.now() >= until) return false;
  }
}

/** Does all of it at once. Returns what it returns; throws what it throws. */
export function finish<Result>(work: Generator<void, Result, void>): Result {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Work that is done at once. */
export function* nothing(): Work {}
