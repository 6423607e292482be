/**
 * The bill of a znode whose path may be used again: a broker's announcement, a session, a subscription, a will. What is
 * set aside for it is bound when it has been committed, in the order of commits, for one that stood there before may
 * still be on its way out.
 */
import type { Branch } from "../../bank/branch.ts";
import type { Ledger, Payment, Price } from "../../mail/ledger.ts";
import { isDone, type JournalOperation, type Outcome } from "../../mail/operations.ts";
import type { Paid } from "../../mail/paid.ts";

/** The znode, its price in milli-credits, and what was set aside for it; undefined: it is paid for already. */
interface Item extends Price {
  readonly path: string;
  readonly payment: Payment | undefined;
}

export class Bill {
  readonly #account: Branch;
  readonly #item: Item;

  constructor(account: Branch, item: Item) {
    this.#account = account;
    this.#item = item;
  }

  /** Has the znode paid for, or not, by what has become of the operation that writes it: for the journal's `after`. */
  readonly settle = (how: Outcome): void => {
    const { path, payment } = this.#item;
    const isThere = isDone(how);
    if (isThere && payment === undefined) this.#account.found(path, this.#item);
    else if (isThere) {
      this.#account.freed(path);
      this.#account.keep(path, this.#item, payment!);
    }
    payment?.close();
  };
}

/** A znode that is to be removed, and who pays for it, if anybody does. */
interface Unneeded {
  readonly path: string;
  readonly paid: Paid | undefined;
  readonly isCurrent?: () => boolean;
}

/** Returns the operation that removes a znode, and has the branch that pays for it hear of that. */
export function removalOf(ledger: Pick<Ledger, "freed">, { path, paid, ...how }: Unneeded): RemoveOperation {
  const after = (outcome: Outcome): void => {
    if (paid !== undefined && isDone(outcome)) ledger.freed(path, paid.branch);
  };
  return { kind: "remove", path, ...how, after };
}

type RemoveOperation = Extract<JournalOperation, { kind: "remove" }>;
