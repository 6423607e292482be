/** Faults in what the bank promises: how long, for how much, and that all of a message is there. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "bank: chance decides how long sessions' mail is kept",
    file: "src/bank/price.ts",
    find: '(ttl === "drops" && keeping === "drop")',
    replace: 'ttl === "drops"',
    tests: "test/unit/bank.test.ts test/broker/bank.test.ts",
  },
  {
    what: "bank: what a session is owed lies in a mail drop for a time that chance decides",
    file: "src/broker/fanout.ts",
    find: 'return qos > 0 && lastingOf(route) > 0 ? "mailbox" : "drop";',
    replace: 'return qos > 0 && lastingOf(route) < 0 ? "mailbox" : "drop";',
    tests: "test/broker/bank.test.ts",
  },
  {
    what: "bank: a broker goes by its own clock, however wrong",
    file: "src/coordinator/store-clock.ts",
    find: "    return nearest;",
    replace: "    return own;",
    tests: "test/simulation/bank.test.ts",
  },
  {
    what: "bank: the shortest time to live may be above the longest",
    file: "cli/options.ts",
    find: "if (Number(low.value) <= Number(high.value)) return;",
    replace: "if (low !== high) return;",
    tests: "test/cli/cli.test.ts",
    needsBuild: true,
  },
];
