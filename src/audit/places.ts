/**
 * Znodes that the bank pays for besides messages: each names the branch that pays for it, in its record or in its path.
 * What brokers of older versions have written names none, and is nobody's to pay.
 */
import { markPriceOf } from "../bank/price.ts";
import { type MirrorNode, walk } from "../coordinator/mirror.ts";
import { brokerMark, decodeName, nameOf, publishersPath, subscribersPath } from "../coordinator/paths.ts";
import { isPaidStamp } from "../mail/stamp.ts";
import type { Walked } from "./scan.ts";

/** The branch that pays for a znode, and its price in milli-credits. */
export interface Paid {
  readonly branch: string;
  readonly credits: number;
}

const roots = [subscribersPath, publishersPath] as const;

/** Returns who pays for what stands at a path; undefined: nobody. Throws `OperatingError` with EFORMAT. */
export function paidAt(path: string, data: Uint8Array): Paid | undefined {
  const name = nameOf(path);
  if (!name.startsWith(brokerMark) || !isPaidStamp(data)) return undefined;
  return { branch: decodeName(name.slice(brokerMark.length)), credits: markPriceOf(path) };
}

/** Visits all that is paid for besides messages. Rejects with `OperatingError`. */
export async function walkPlaces(
  { store, reader }: Walked,
  visit: (path: string, paid: Paid, node: MirrorNode) => void,
): Promise<void> {
  for (const root of roots) {
    await walk(store, root, (path, node) => {
      const paid = reader.read(path, () => paidAt(path, node.data));
      if (paid !== undefined) visit(path, paid, node);
    });
  }
}
