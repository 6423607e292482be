/**
 * Our own bugs. An assertion that fails crashes the process: state that is known to be wrong must not
 * make promises. What a peer or the world does wrong is never asserted: see `errors.ts`.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** For the `default` of a switch over a closed union: the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new Error(`assertion failed: unexpected ${JSON.stringify(value)}`);
}
