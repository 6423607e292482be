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
  {
    what: "bank: what is no amount is reckoned with",
    file: "src/bank/account-records.ts",
    find: "return isAmount(grant) ? {",
    replace: "return grant !== undefined ? {",
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "bank: any number may be deposited",
    file: "src/bank/accounts.ts",
    find: "if (!Number.isSafeInteger(credits)) return",
    replace: "if (credits === null) return",
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "bank: more is withdrawn than was asked for",
    file: "src/bank/accounts.ts",
    find: 'if (held + credits < 0 && asFarAs === "asked")',
    replace: 'if (held + credits < 0 && asFarAs !== "asked")',
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "bank: what is damaged is not repaired",
    file: "src/bank/repair.ts",
    find: "else this.#grant(path, version);",
    replace: "else this.#granted += 0;",
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "bank: a message is stored though only its last part is sure to be there",
    file: "src/mail/parts.ts",
    find: "return [...checks, {",
    replace: "return [checks.at(-1)!, {",
    tests: "test/simulation/large.test.ts",
  },
  {
    what: "bank: what came later overtakes a message whose parts are written anew",
    file: "src/mail/journal.ts",
    find: "if (unit.operations.some(menderOf)) this.#mending = unit;",
    replace: "",
    tests: "test/simulation/large.test.ts",
  },
  {
    what: "bank: parts are swept though a message has claimed them",
    file: "src/mail/slips.ts",
    find: "unclaimedAt === undefined ? undefined : {",
    replace: 'unclaimedAt === undefined || id !== "" ? undefined : {',
    tests: "test/unit/parts.test.ts",
  },
];
