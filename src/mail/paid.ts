/**
 * The fields of a record that say which branch of the bank pays for it, how much, and for which user. Brokers that know
 * nothing of them read past them, and leave them out when they write the record anew: then nobody pays.
 */

import { payerLengthMax } from "../base/bank-limits.ts";
import { encodeUtf8, hashBytes } from "../base/bytes.ts";
import type { Fields } from "../coordinator/fields.ts";

/** The branch that pays for a znode, and its price in milli-credits. */
export interface Paid {
  readonly branch: string;
  readonly credits: number;
  /** The user whose it is, as `payerOf` names him; absent or "": anonymous clients. */
  readonly payer?: string;
}

/** Returns what a record says of who pays for it: of anonymous clients, that is of most there are, it says nothing. */
export function paidBy({ payer, ...paid }: { branch: string; credits: number; payer: string }): Paid {
  return payer === "" ? paid : { ...paid, payer };
}

/** Encodes the record of a znode that says nothing but who pays for it. */
export function encodePaid(paid: Required<Paid>): Uint8Array {
  return encodeUtf8(JSON.stringify(paidBy(paid)));
}

/**
 * Returns the name by which a user is known to the bank: it stands in records, so it is of limited length, and is text
 * that they can hold. "": anonymous clients, who are one user.
 */
export function payerOf(user: string): string {
  const text = user.toWellFormed().replaceAll("\0", "\ufffd");
  if (text.length <= payerLengthMax) return text;
  const bytes = encodeUtf8(text);
  const mark = `~${hashBytes(bytes, 0, bytes.length).toString(16)}`;
  return `${text.slice(0, payerLengthMax - mark.length).toWellFormed()}${mark}`;
}

/** Returns who pays for a record; undefined: nobody. Throws `OperatingError` with EFORMAT. */
export function paidIn(fields: Fields): Paid | undefined {
  if (!fields.has("branch") || !fields.has("credits")) return undefined;
  const payer = fields.has("payer") ? { payer: fields.text("payer") } : {};
  return { branch: fields.text("branch"), credits: fields.whole("credits", 0), ...payer };
}
