/** Faults in what systemd is told: a broker that cannot go on is kept, or one that can is ended. */
import type { Fault } from "./faults.ts";

const tests = "test/unit/service-manager.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "systemd: a broker that only another life can help lives",
    file: "src/server/service-manager.ts",
    find: "if (ills.length > 0) return;",
    replace: "",
    tests,
  },
  {
    what: "systemd: it is told at the last moment that a broker lives",
    file: "src/server/service-manager.ts",
    find: "(parts.watchdogMs ?? Infinity) / 2",
    replace: "parts.watchdogMs ?? Infinity",
    tests,
  },
  {
    what: "systemd: a broker is ready while it reads its files again",
    file: "src/server/service-manager.ts",
    find: "    await done;\n",
    replace: "",
    tests,
  },
  {
    what: "systemd: a long drain is cut off",
    file: "src/server/service-manager.ts",
    find: "drainMs + shutdownWaitMs",
    replace: "shutdownWaitMs",
    tests,
  },
  {
    what: "systemd: it never hears that clients may come",
    file: "src/server/server.ts",
    find: "  manager.ready(",
    replace: "  void (",
    tests: "test/cli/systemd.test.ts",
    needsBuild: true,
  },
];
