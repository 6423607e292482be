/** The error with which the store refuses a write. */
import type { CoordinatorErrorCode } from "../coordinator/coordinator.ts";

/** Thrown inside a multi, to undo it. */
export class Refusal extends Error {
  readonly code: CoordinatorErrorCode;

  constructor(code: CoordinatorErrorCode) {
    super(code);
    this.code = code;
  }
}

/** Throws if there is no such row, or its version is another one; -1 is any. */
export function expectVersion<Found extends { version: number }>(row: Found | null, version: number): Found {
  if (row === null) throw new Refusal("NoNode");
  if (version !== -1 && version !== row.version) throw new Refusal("BadVersion");
  return row;
}
