/**
 * Wakes a machine at its next deadline: the one place where machines that are told the time meet the system's timers.
 */
import type { Clock } from "./clock.ts";

export interface Sleeper {
  /** The time of the next tick, in the clock's milliseconds; Infinity: none. */
  nextDeadline(): number;
  tick(): void;
}

export interface Alarm {
  /** The next deadline has become sooner. */
  wake(): void;
  stop(): void;
}

/** Longer waits than a timeout can take are cut: the alarm rings early and is set again. */
const timeoutMaxMs = 2 ** 30;

export function setAlarm(sleeper: Sleeper, clock: Clock): Alarm {
  let setFor = Infinity;
  let timeout: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const ring = (): void => {
    setFor = Infinity;
    sleeper.tick();
    wake();
  };
  const wake = (): void => {
    const deadline = sleeper.nextDeadline();
    if (stopped || deadline >= setFor) return;
    clearTimeout(timeout);
    setFor = deadline;
    timeout = setTimeout(ring, Math.max(0, Math.min(deadline - clock.now(), timeoutMaxMs)));
  };
  const stop = (): void => {
    stopped = true;
    clearTimeout(timeout);
  };
  wake();
  return { wake, stop };
}
