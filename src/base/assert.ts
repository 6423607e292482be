/**
 * Throws if something does not hold that our own code has to see to. It is our bug, and crashes the process: state that
 * is known to be wrong must not make promises. What a peer or the world does wrong is never asserted: see `errors.ts`.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/**
 * Ends the process with an error of our own that was caught where it would be taken for something else: by a socket,
 * which would be closed for it, or by a promise that nobody looks at. It is thrown again where nothing stands above it.
 */
export function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** Runs what stands where its exceptions would be taken for something else. */
export function orCrash(run: () => void): void {
  try {
    run();
  } catch (error) {
    crash(error);
  }
}

/** Throws in the `default` of a switch over a closed union: the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new Error(`assertion failed: unexpected ${JSON.stringify(value)}`);
}
