/**
 * The watch for silence: who has said nothing for too long is given up. What has come may lie unread, though: after a
 * pause of the process, or on a machine that is busy with other things, timers are due before sockets have been read.
 * So silence is looked at once more, and again as long as looks come late, before it is believed.
 */
import type { Clock } from "./clock.ts";
import { silenceLateMs, silenceLookMs, silenceLooksMax } from "./limits.ts";
import { Timer, type Timers } from "./timers.ts";

export interface Silence {
  /** Returns since when nothing has come, by the clock's `now` in ms; a later time than before if something has. */
  readonly since: (now: number) => number;
  /** Silence for so long is too much, in ms. */
  readonly limitMs: number;
  /** Called once, when it has been too much. */
  readonly over: () => void;
}

/** Begins to watch. Returns the timer, by which it can be ended. */
export function watchSilence(
  { timers, clock }: { readonly timers: Timers; readonly clock: Pick<Clock, "now"> },
  { since, limitMs, over }: Silence,
): Timer {
  let looks = 0;
  let lookAt = 0;
  const timer = new Timer((now) => {
    const overAt = since(now) + limitMs;
    if (now < overAt) {
      looks = 0;
      return look(overAt);
    }
    const isLate = now - lookAt >= silenceLateMs;
    if (looks > 0 && (!isLate || looks >= silenceLooksMax)) return over();
    looks++;
    look(now + silenceLookMs);
  });
  const look = (at: number): void => {
    lookAt = at;
    timers.set(timer, at);
  };
  const now = clock.now();
  look(since(now) + limitMs);
  return timer;
}
