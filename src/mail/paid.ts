/**
 * The fields of a record that say which branch of the bank pays for it, and how much. Brokers that know nothing of them
 * read past them, and leave them out when they write the record anew: then nobody pays.
 */
import type { Fields } from "../coordinator/fields.ts";

/** The branch that pays for a znode, and its price in milli-credits. */
export interface Paid {
  readonly branch: string;
  readonly credits: number;
}

/** Returns who pays for a record; undefined: nobody. Throws `OperatingError` with EFORMAT. */
export function paidIn(fields: Fields): Paid | undefined {
  if (!fields.has("branch") || !fields.has("credits")) return undefined;
  return { branch: fields.text("branch"), credits: fields.whole("credits", 0) };
}
