/** Faults that the wide world of the simulation has found. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "a client that connects again makes the store refuse what it published before, and what waits behind a large message",
    file: "src/mail/held-paths.ts",
    find: "      return this.#checked.has(operation.path) ||",
    replace: "      return this.#checked.has(operation.kind) ||",
    tests: "test/unit/parked.test.ts",
  },
];
