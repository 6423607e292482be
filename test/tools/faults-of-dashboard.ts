/** Planted faults of the dashboard, and of what the broker remembers for it. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "dashboard: scripts may stand in the page",
    file: "src/server/dashboard-door.ts",
    find: "script-src 'self';",
    replace: "script-src 'self' 'unsafe-inline';",
    tests: "test/dashboard/door.test.ts",
  },
  {
    what: "dashboard: who takes no compressed files is sent them all the same",
    file: "src/server/dashboard-door.ts",
    find: 'takes("gzip") ? "gzip" : undefined',
    replace: '"gzip"',
    tests: "test/dashboard/door.test.ts",
  },
  {
    what: "history: more than an hour is kept",
    file: "src/server/history.ts",
    find: "if (this.#samples.length > samplesMax) this.#samples.shift();",
    replace: "",
    tests: "test/unit/history.test.ts",
  },
  {
    what: "history: rates are since the start",
    file: "src/server/history.ts",
    find: "this.#last = now;",
    replace: "",
    tests: "test/unit/history.test.ts",
  },
];
