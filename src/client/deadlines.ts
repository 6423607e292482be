/** Waiting that ends: after a time, or when a signal says so. */

/** Resolves after `ms`, or at once when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

export interface Patience {
  readonly signal?: AbortSignal | undefined;
  /** Infinity: for ever. */
  readonly ms?: number;
  /** The error to reject with when time is up. */
  readonly late?: () => Error;
}

/** Settles as `promise` does, unless patience ends first: then it rejects, with the signal's reason or `late`. */
export function within<Value>(promise: Promise<Value>, { signal, ms = Infinity, late }: Patience): Promise<Value> {
  if (signal === undefined && ms === Infinity) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => finish(() => reject(signal!.reason));
    const timer = ms === Infinity ? undefined : setTimeout(() => finish(() => reject(late!())), ms);
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      settle();
    };
    // Also where nobody waits any more: a rejection that nobody hears of ends the process.
    promise.then(
      (value) => finish(() => resolve(value)),
      (error) => finish(() => reject(error)),
    );
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort);
  });
}

export interface Deferred<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

/** `Promise.withResolvers`, which Node has from 22 on. */
export function defer<Value>(): Deferred<Value> {
  let resolve!: (value: Value) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<Value>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}
