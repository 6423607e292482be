/** Faults in what things cost: what they make the store keep, who pays for it, and who is let in when nobody can. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "prices: a thing does not pay for the levels above it",
    file: "src/coordinator/weight.ts",
    find: "    weight += znodeBytes + width * length;",
    replace: "    weight = znodeBytes + width * length;",
    tests: "test/unit/weight.test.ts",
  },
  {
    what: "prices: slips are free",
    file: "src/mail/mail.ts",
    find: "terms.credits + this.#ledger.priceOf(slipsWeightOf(publish, drafts, branch));",
    replace: "terms.credits + 0 * slipsWeightOf(publish, drafts, branch);",
    tests: "test/unit/weight.test.ts",
  },
  {
    what: "prices: sessions are free",
    file: "src/broker/connect/connect-payment.ts",
    find: "return { session: price(weight), will",
    replace: "return { session: 0 * price(weight), will",
    tests: "test/broker/prices.test.ts",
  },
  {
    what: "prices: wills are free",
    file: "src/broker/connect/connect-payment.ts",
    find: "will: isCovered ? 0 : price(willBytes)",
    replace: "will: isCovered ? 0 : 0 * price(willBytes)",
    tests: "test/broker/prices.test.ts",
  },
  {
    what: "prices: a client that comes back to its session pays for its will again",
    file: "src/broker/connect/connect-payment.ts",
    find: "const isCovered = isNew || willBytes <= willRoomOf(found);",
    replace: "const isCovered = isNew || willBytes <= 0 * willRoomOf(found);",
    tests: "test/broker/prices.test.ts",
  },
  {
    what: "prices: subscriptions of persistent sessions are free",
    file: "src/broker/handle-subscribe.ts",
    find: "return bankAccount.priceOf(subscriptionWeightOf(",
    replace: "return 0 * bankAccount.priceOf(subscriptionWeightOf(",
    tests: "test/broker/prices.test.ts",
  },
  {
    what: "prices: what is committed is not bound",
    file: "src/broker/core/bill.ts",
    find: "      this.#account.keep(path, this.#item, payment!);",
    replace: "",
    tests: "test/broker/prices.test.ts",
  },
  {
    what: "prices: who publishes what is registered though nobody can pay",
    file: "src/broker/core/bank-account.ts",
    find: "if (payment === undefined && !this.account.pays(path)) return undefined;",
    replace: "",
    tests: "test/broker/prices.test.ts",
  },
  {
    what: "prices: the audit does not weigh what is stored",
    file: "src/audit/audit.ts",
    find: "if (isWhole && weight > weightMax)",
    replace: "if (isWhole && weight < 0)",
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "prices: what a unit has removed is freed when it has been made anew",
    file: "src/mail/journal.ts",
    find: "      this.#signals.removed?.(operation.path);\n    }\n    this.#retire(unit, how);",
    replace:
      '    }\n    this.#retire(unit, how);\n    for (const done of unit.operations) if (done?.kind === "remove") this.#signals.removed?.(done.path);',
    tests: "test/unit/bill.test.ts",
  },
];
