/**
 * A limit of lines in the log that others can bring about: of each cause some are logged, then one now and then, with
 * the number of those that were left out.
 */
import { linesPerCauseMax, refusalsLogMs } from "./limits.ts";

interface Lines {
  /** The span of `refusalsLogMs` that is counted now began then. */
  since: number;
  logged: number;
  leftOut: number;
}

/** Decides which lines are logged. The causes are few: they are kept. */
export class LineLimit<Cause> {
  readonly #causes = new Map<Cause, Lines>();

  /**
   * Counts one line, at `now` in ms. Returns the number of lines that it stands for, itself and those that were left
   * out before it; 0: it is left out, too.
   */
  take(cause: Cause, now: number): number {
    let lines = this.#causes.get(cause);
    if (lines === undefined) {
      lines = { since: now, logged: 0, leftOut: 0 };
      this.#causes.set(cause, lines);
    }
    if (now >= lines.since + refusalsLogMs) {
      lines.since = now;
      lines.logged = 0;
    }
    if (lines.logged >= linesPerCauseMax) {
      lines.leftOut++;
      return 0;
    }
    lines.logged++;
    const stands = 1 + lines.leftOut;
    lines.leftOut = 0;
    return stands;
  }
}
