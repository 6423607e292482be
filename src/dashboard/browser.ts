/** The dashboard's door to the browser: time, timers, what is kept for this tab. */

/** Milliseconds since 1970. */
export function now(): number {
  return Date.now();
}

/** Calls `go` once after `ms`; returns what prevents that. */
export function after(ms: number, go: () => void): () => void {
  const timer = setTimeout(go, ms);
  return () => clearTimeout(timer);
}

/**
 * Calls `go` at once and then every `ms`, as long as somebody looks: not while the tab is in the background, and at
 * once when it is back. Returns what ends that.
 */
export function whileSeen(ms: number, go: () => void): () => void {
  let cancel = (): void => {};
  const next = (): void => {
    cancel();
    if (document.hidden) return;
    go();
    cancel = after(ms, next);
  };
  document.addEventListener("visibilitychange", next);
  next();
  return () => {
    cancel();
    document.removeEventListener("visibilitychange", next);
  };
}

/** A text that outlives a reload of the page, and ends with its tab. */
export const kept = {
  get: (name: string): string | undefined => sessionStorage.getItem(name) ?? undefined,
  set(name: string, value: string | undefined): void {
    if (value === undefined) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  },
};
