/** The patience of whoever asks the API for what the store must do or tell: it may have no contact just now. */
import type { Told } from "../api/ports.ts";
import { Problem } from "../api/problem.ts";
import { apiPatienceMs } from "../base/api-limits.ts";
import { Timer } from "../base/timers.ts";
import type { Broker } from "../broker/broker.ts";

/** Returns a function that tells the end of something once, or that it has not come in time. */
export function within({ context }: Broker, told: Told, ms = apiPatienceMs): Told {
  const { timers, clock } = context;
  let isTold = false;
  const tell: Told = (problem) => {
    if (isTold) return;
    isTold = true;
    timers.cancel(timer);
    told(problem);
  };
  const timer = new Timer(() =>
    tell(new Problem(504, `not done within ${ms / 1000} s; it may be done later all the same`)),
  );
  timers.set(timer, clock.now() + ms);
  return tell;
}
