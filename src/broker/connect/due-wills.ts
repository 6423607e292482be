/**
 * The wills that are due and must be read back from the store: a few at a time. Each may be as large as a packet, and
 * all that a flood of connections has left there may be due at once.
 */
import { dueWillMs, dueWillsMax } from "../../base/memory-limits.ts";
import { Timer } from "../../base/timers.ts";
import type { Runtime } from "../core/runtime.ts";

/** One will's turn to be in memory. */
export interface WillTurn {
  /** Begins it at once, whoever waits before it: its client is back, and waits for it. */
  begin(): void;
  /** Ends it: the will is not in memory any more, or need not be read. Further calls do nothing. */
  end(): void;
}

/** Has wills wait for their turns. */
export class DueWills {
  readonly #context: Pick<Runtime, "clock" | "timers">;
  /** The beginnings of those that wait, the first in line first. */
  readonly #waiting = new Set<() => void>();
  #begun = 0;
  #isGoing = false;

  constructor(context: Pick<Runtime, "clock" | "timers">) {
    this.#context = context;
  }

  /**
   * Calls `read` when it is a will's turn, maybe before it returns. A turn is over at the latest after `dueWillMs`:
   * what waits longer, for credits or a slow receiver, must not hold up all others.
   */
  wait(read: (turn: WillTurn) => void): WillTurn {
    const { clock, timers } = this.#context;
    const over = new Timer(() => turn.end());
    let phase: "waiting" | "begun" | "over" = "waiting";
    const begin = (): void => {
      this.#waiting.delete(begin);
      if (phase !== "waiting") return;
      phase = "begun";
      this.#begun++;
      timers.set(over, clock.now() + dueWillMs);
      read(turn);
    };
    const end = (): void => {
      this.#waiting.delete(begin);
      const wasBegun = phase === "begun";
      phase = "over";
      if (!wasBegun) return;
      timers.cancel(over);
      this.#begun--;
      this.#next();
    };
    const turn: WillTurn = { begin, end };
    this.#waiting.add(begin);
    this.#next();
    return turn;
  }

  #next(): void {
    // A turn may be over before it has returned: the loop goes on then, instead of one within the other.
    if (this.#isGoing) return;
    this.#isGoing = true;
    for (const begin of this.#waiting) {
      if (this.#begun >= dueWillsMax) break;
      begin();
    }
    this.#isGoing = false;
  }
}
