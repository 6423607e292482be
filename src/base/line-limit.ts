/**
 * A limit of lines in the log that others can bring about: of each cause some are logged, of each address that brings
 * it about and in all; then one now and then, with the number of those that were left out.
 */
import { linesOfCauseMax, linesPerCauseMax, refusalsLogMs } from "./limits.ts";

interface Lines {
  /** The span of `refusalsLogMs` that is counted now began then. */
  since: number;
  logged: number;
  leftOut: number;
  /** The lines that were logged in this span, by who has brought them about. */
  readonly sources: Map<string, number>;
}

/** Decides which lines are logged. The causes are few: they are kept. */
export class LineLimit<Cause> {
  readonly #causes = new Map<Cause, Lines>();

  /**
   * Counts one line that `source` has brought about (an address; "": nobody in particular), at `now` in ms. Returns the
   * number of lines that it stands for, itself and those that were left out before it; 0: it is left out, too.
   */
  take(cause: Cause, now: number, source = ""): number {
    let lines = this.#causes.get(cause);
    if (lines === undefined) {
      lines = { since: now, logged: 0, leftOut: 0, sources: new Map() };
      this.#causes.set(cause, lines);
    }
    if (now >= lines.since + refusalsLogMs) {
      lines.since = now;
      lines.logged = 0;
      lines.sources.clear();
    }
    const logged = lines.sources.get(source) ?? 0;
    if (logged >= linesPerCauseMax || lines.logged >= linesOfCauseMax) {
      lines.leftOut++;
      return 0;
    }
    lines.sources.set(source, logged + 1);
    lines.logged++;
    const stands = 1 + lines.leftOut;
    lines.leftOut = 0;
    return stands;
  }
}

/** Returns a message with the number of lines that it stands for. */
export function standingFor(message: string, stands: number): string {
  return stands === 1 ? message : `${message} (and ${stands - 1} more like it)`;
}
