/** Faults in the shares of users: who holds what, and how much of the bank he may have. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "shares: a user may have all of the bank",
    file: "src/bank/shares.ts",
    find: 'if (after > this.limit) return "share";',
    replace: "",
    tests: "test/unit/shares.test.ts test/broker/shares.test.ts",
  },
  {
    what: "shares: the largest holders are served to the end",
    file: "src/bank/shares.ts",
    find: 'capital * bankScarcePartMin && after > left ? "scarce" : undefined;',
    replace: 'capital * bankScarcePartMin && after < 0 ? "scarce" : undefined;',
    tests: "test/unit/shares.test.ts",
  },
  {
    what: "shares: what goes is not the user's again",
    file: "src/bank/branch.ts",
    find: "    this.shares.add(holder, -credits);\n",
    replace: "",
    tests: "test/unit/shares.test.ts test/broker/shares.test.ts",
  },
  {
    what: "shares: what was set aside in vain is held for ever",
    file: "src/bank/branch.ts",
    find: "    this.#branch.shares.add(this.#holder, -this.#left);\n",
    replace: "",
    tests: "test/unit/shares.test.ts",
  },
  {
    what: "shares: a message does not say whose it is",
    file: "src/mail/records.ts",
    find: '(publish.payer === "" ? 0 : payerFlag);',
    replace: "0;",
    tests: "test/unit/store.test.ts test/broker/shares.test.ts",
  },
  {
    what: "shares: subscriptions do not say whose they are",
    file: "src/mail/paid.ts",
    find: 'return payer === "" ? paid : { ...paid, payer };',
    replace: "return paid;",
    tests: "test/broker/shares.test.ts",
  },
  {
    what: "shares: a will is everybody's",
    file: "src/broker/connect/connect-payment.ts",
    find: "if (will !== undefined) will.publish.payer = payer;",
    replace: "",
    tests: "test/broker/shares.test.ts",
  },
  {
    what: "shares: copies of what is retained are its publisher's",
    file: "src/broker/delivery/retained-feed.ts",
    find: "const publish = retained.paidBy(client.payer);",
    replace: "const publish = retained;",
    tests: "test/broker/shares.test.ts",
  },
  {
    what: "shares: another broker is not told whose a message is",
    file: "src/broker/peers/link-sender.ts",
    find: "payer: peer.facts?.knowsPayers === true ? settlement.publish.payer : undefined,",
    replace: "",
    tests: "test/cluster/shares.test.ts",
  },
  {
    what: "shares: several users may each have all of it",
    file: "src/access/access.ts",
    find: "return (this.#users?.size ?? 0) + (this.#policy.allowAnonymous ? 1 : 0) > 1;",
    replace: "return false;",
    tests: "test/broker/shares.test.ts",
  },
];
