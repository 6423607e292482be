/** The delay of the event loop: how late a timer rings. */
import { lagLookMs } from "../base/limits.ts";
import { Timer } from "../base/timers.ts";
import type { Runtime } from "../broker/core/runtime.ts";

/** Records the event loop's delay every `lagLookMs`, in `metrics.lag` (ms). */
export function watchLag({ timers, clock, metrics }: Runtime): void {
  let dueAt = clock.now() + lagLookMs;
  const timer = new Timer((now) => {
    metrics.lag.observe(now - dueAt);
    dueAt = now + lagLookMs;
    timers.set(timer, dueAt);
  });
  timers.set(timer, dueAt);
}
