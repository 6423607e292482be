/**
 * The nodes that a broker leaves wherever its clients subscribe or publish. They outlive the broker, for a keeper
 * session may own no more ephemeral nodes than fit into the one transaction that ends it. So each names the epoch in
 * which it was written (`mail/stamp.ts`), and the broker's branch pays for it.
 */

import { markPriceOf } from "../../bank/price.ts";
import { read, type Store } from "../../coordinator/mirror.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { decodeStamp, encodeStamp, type Stamp } from "../../mail/stamp.ts";
import type { BankAccount } from "../core/bank-account.ts";
import type { Bill } from "../core/bill.ts";

/** The parts of a broker's context that stamps are made of. */
interface Stamping {
  readonly coordinator: Store;
  readonly bankAccount: BankAccount;
  readonly self: { readonly epoch: number };
}

/** The nodes that are stamped, by what is known of each by its path. */
export interface Stamped {
  /** Returns true while the node is to be there. */
  readonly isCurrent: (path: string) => boolean;
  /** Told of nodes that are not there, and are not written, since they are not current any more. */
  readonly absent?: (path: string) => void;
  /** Told of nodes that are not written, since the bank cannot pay for them. */
  readonly unpaid: (path: string) => void;
}

/**
 * Returns the operations that make each of these nodes name the broker's epoch, whatever it names now. The nodes are
 * read first, for each operation that is refused costs the whole unit another try. Rejects with `OperatingError`.
 */
export async function stampAll(
  { coordinator, bankAccount, self }: Stamping,
  paths: readonly string[],
  { isCurrent, absent = () => {}, unpaid }: Stamped,
): Promise<JournalOperation[]> {
  const nodes = await read(
    coordinator,
    paths.map((path) => ({ kind: "get", path })),
  );
  return paths.flatMap((path, index): JournalOperation[] => {
    const node = nodes[index];
    const stamp = hasData(node) ? decodeStamp(node.data) : "none";
    const isWanted = isCurrent(path);
    if (stamp === "none" && !isWanted) absent(path);
    if (stamp === self.epoch || !isWanted) return [];
    const bill = bankAccount.bill(path, markPriceOf(path));
    if (bill !== undefined)
      return [stampOver(stamp, { path, epoch: self.epoch, bill, isCurrent: () => isCurrent(path) })];
    unpaid(path);
    return [];
  });
}

/** A node that is to name an epoch, and what pays for it. */
export interface NewStamp {
  readonly path: string;
  readonly epoch: number;
  readonly bill: Bill;
  readonly isCurrent: () => boolean;
}

/** Returns the operation that writes a stamp over what a node is known to name; "none": there is no node. */
export function stampOver(before: Stamp | "none", { path, epoch, bill, isCurrent }: NewStamp): JournalOperation {
  const node = { path, data: encodeStamp(epoch), isCurrent, after: bill.settle };
  if (before === "none") return { kind: "announce", isOccupied: false, ...node };
  // An ephemeral node would end with the keeper session that has made it, so it is replaced.
  if (before === "unnamed") return { kind: "announce", isOccupied: true, ...node };
  return { kind: "put", exists: true, ...node };
}
