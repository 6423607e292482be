/**
 * Znodes that the bank pays for besides messages: each names the branch that pays for it, in its record or in its path.
 * What brokers of older versions have written names none, and is nobody's to pay.
 */
import { markPriceOf } from "../bank/price.ts";
import { Fields } from "../coordinator/fields.ts";
import { type MirrorNode, walk } from "../coordinator/mirror.ts";
import {
  brokerMark,
  decodeName,
  isMailbox,
  nameOf,
  parentPath,
  publishersPath,
  sessionsPath,
  subscriberMark,
  subscribersPath,
  willsPath,
} from "../coordinator/paths.ts";
import { type Paid, paidIn } from "../mail/paid.ts";
import { isPaidStamp } from "../mail/stamp.ts";
import { willCreditsOf } from "../mail/will-record.ts";
import type { Walked } from "./scan.ts";

const roots = [subscribersPath, publishersPath, willsPath, sessionsPath] as const;

/** Returns who pays for what stands at a path; undefined: nobody. Throws `OperatingError` with EFORMAT. */
export function paidAt(path: string, data: Uint8Array): Paid | undefined {
  if (data.length === 0) return undefined;
  if (path.startsWith(`${willsPath}/`)) return paidForWill(path, data);
  if (path.startsWith(`${sessionsPath}/`)) return paidForSession(path, data);
  const name = nameOf(path);
  if (name.startsWith(subscriberMark)) return paidIn(new Fields(data));
  if (!name.startsWith(brokerMark) || !isPaidStamp(data)) return undefined;
  return { branch: decodeName(name.slice(brokerMark.length)), credits: markPriceOf(path) };
}

function paidForWill(path: string, data: Uint8Array): Paid | undefined {
  const [, , broker, client] = path.split("/");
  const credits = client === undefined ? 0 : willCreditsOf(data);
  return credits === 0 ? undefined : { branch: decodeName(broker!), credits };
}

/** Returns who pays for a session's record; what stands below it is paid for with it, or with messages. */
function paidForSession(path: string, data: Uint8Array): Paid | undefined {
  return path.split("/").length === 4 ? paidIn(new Fields(data)) : undefined;
}

/** Visits all that is paid for besides messages. Rejects with `OperatingError`. */
export async function walkPlaces(
  { store, reader }: Walked,
  visit: (path: string, paid: Paid, node: MirrorNode) => void,
): Promise<void> {
  for (const root of roots) {
    await walk(store, root, (path, node) => {
      if (isMailbox(parentPath(path))) return;
      const paid = reader.read(path, () => paidAt(path, node.data));
      if (paid !== undefined) visit(path, paid, node);
    });
  }
}
