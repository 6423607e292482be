/** How late the event loop is: what a timer says when it rings. */
import { lagLookMs } from "../base/limits.ts";
import { Timer } from "../base/timers.ts";
import type { Runtime } from "../broker/core/runtime.ts";

export function watchLag({ timers, clock, metrics }: Runtime): void {
  let dueAt = clock.now() + lagLookMs;
  const timer = new Timer((now) => {
    metrics.lag.observe(now - dueAt);
    dueAt = now + lagLookMs;
    timers.set(timer, dueAt);
  });
  timers.set(timer, dueAt);
}
