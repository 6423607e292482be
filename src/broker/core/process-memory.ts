/** The door to the memory of the process: how much it has and may have, and the garbage that is in it. */
export interface ProcessMemory {
  /** Bytes that the process may have. */
  readonly limitBytes: number;
  /** Returns the bytes that the process has: what is used, and what is garbage. */
  residentBytes(): number;
  /** Collects garbage: "now", in this turn, or "soon", beside it. */
  collect(when: "now" | "soon"): void;
}
