/**
 * The paths that units which are held back count on. A later unit must not pass them by where it changes what they
 * check, or checks what they change: a client that connects again changes its session's version, and what it published
 * before would be refused.
 */
import { type JournalOperation, mayWait } from "./operations.ts";

type Operations = readonly (JournalOperation | undefined)[];

export class HeldPaths {
  readonly #checked = new Set<string>();
  readonly #changed = new Set<string>();

  /** A unit is held back, or may be. */
  add(operations: Operations): void {
    for (const operation of operations) {
      // What may hold again is made to hold by others, who must not wait for it.
      if (operation?.kind === "check" && !mayWait(operation)) this.#checked.add(operation.path);
      else if (isVersioned(operation)) this.#changed.add(operation!.path);
    }
  }

  /** Forgets all paths: nothing is held back any more. */
  clear(): void {
    this.#checked.clear();
    this.#changed.clear();
  }

  /** True if a unit must wait for those that are held back. */
  concerns(operations: Operations): boolean {
    return operations.some((operation) => {
      if (operation === undefined) return false;
      if (operation.kind === "check") return this.#changed.has(operation.path);
      return this.#checked.has(operation.path) || (isVersioned(operation) && this.#changed.has(operation.path));
    });
  }
}

function isVersioned(operation: JournalOperation | undefined): boolean {
  return operation?.kind === "set" && operation.version !== undefined;
}
