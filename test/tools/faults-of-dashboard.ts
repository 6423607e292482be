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
  {
    what: "dashboard: all rows of a list are in the page",
    file: "src/dashboard/virtual-list.tsx",
    find: "rows.slice(first, first + many)",
    replace: "rows.slice(0)",
    tests: "test/dashboard/many.test.ts",
  },
  {
    what: "dashboard: viewers are shown what only operators may do",
    file: "src/dashboard/hooks.ts",
    find: 'useSession().me.role === "operator"',
    replace: "useSession().me.role !== undefined",
    tests: "test/dashboard/pages.test.ts -t Refused",
  },
  {
    what: "watch: a client of the broker's own loses its rights when rules are read again",
    file: "src/broker/connect/admission.ts",
    find: "access === undefined || isTrusted) continue;",
    replace: "access === undefined) continue;",
    tests: "test/broker/api-watch.test.ts",
  },
  {
    what: "watch: of a flood everything is told",
    file: "src/api/watch.ts",
    find: "if (!this.#bucket.takeIfThere(this.#clock.now())) {",
    replace: "if (this.#clock.now() < 0) {",
    tests: "test/broker/api-watch.test.ts",
  },
  {
    what: "watch: the client stays when nobody looks any more",
    file: "src/server/topic-watch.ts",
    find: "    connection.close();",
    replace: "",
    tests: "test/broker/api-watch.test.ts",
  },
  {
    what: "dashboard: a chart is not told to those who cannot see it",
    file: "src/dashboard/chart.tsx",
    find: "aria-label={words.chart.told(",
    replace: "data-told={words.chart.told(",
    tests: "test/dashboard/accessibility.test.ts",
  },
];
