/**
 * Waits until this broker holds all retained messages that were committed before, by any broker: a new subscriber gets
 * what was acknowledged elsewhere a moment ago. Look-ups themselves never ask the store. One question serves all that
 * come while it is under way; without contact, or if no answer comes in time, what is held is handed out.
 */
import { retainedPatienceMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { Runtime } from "../core/runtime.ts";

/** Questions to the store, one at a time, each with those who wait for its answer. */
export class CatchingUp {
  readonly #context: Runtime;
  /** Calls back when everything that the store has told of is applied. */
  readonly #caughtUp: (done: () => void) => void;
  #waiting: (() => void)[] = [];
  #asked: (() => void)[] = [];
  /** Counts questions, so that an answer that comes too late is ignored. */
  #round = 0;
  readonly #timer = new Timer(() => this.#go());

  constructor(context: Runtime, caughtUp: (done: () => void) => void) {
    this.#context = context;
    this.#caughtUp = caughtUp;
  }

  /** Calls back when this broker has caught up; at once if no other broker writes, or there is no contact. */
  pass(done: () => void): void {
    const { coordinator } = this.#context;
    if (coordinator.isAlone || coordinator.state !== "CONNECTED") return done();
    this.#waiting.push(done);
    if (this.#asked.length === 0) this.#ask();
  }

  #ask(): void {
    const { coordinator, timers, clock } = this.#context;
    this.#asked = this.#waiting;
    this.#waiting = [];
    const round = ++this.#round;
    timers.set(this.#timer, clock.now() + retainedPatienceMs);
    coordinator.sync(() =>
      this.#caughtUp(() => {
        if (round === this.#round) this.#go();
      }),
    );
  }

  #go(): void {
    this.#context.timers.cancel(this.#timer);
    const asked = this.#asked;
    this.#asked = [];
    this.#round++;
    for (const done of asked) done();
    if (this.#waiting.length > 0 && this.#asked.length === 0) this.#ask();
  }
}
