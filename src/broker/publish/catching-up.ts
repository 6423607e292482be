/**
 * Waits until this broker holds all retained messages that anybody had committed before: who subscribes here gets what was
 * acknowledged elsewhere a moment ago. Look-ups themselves never ask the store: one question serves all who come while it is
 * under way, and where there is no contact, or for too long no answer, what is held is handed out.
 */
import { retainedPatienceMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { Runtime } from "../core/runtime.ts";

export class CatchingUp {
  readonly #context: Runtime;
  /** Calls back when everything that was told has been applied. */
  readonly #caughtUp: (done: () => void) => void;
  #waiting: (() => void)[] = [];
  #asked: (() => void)[] = [];
  /** Counts questions: an answer that comes too late is nobody's. */
  #round = 0;
  readonly #timer = new Timer(() => this.#go());

  constructor(context: Runtime, caughtUp: (done: () => void) => void) {
    this.#context = context;
    this.#caughtUp = caughtUp;
  }

  /** Calls back at once if nobody else writes, or there is no contact. */
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
