/** The part of the bank that one user may have, where the operator does not say. */
import type { Access } from "../../access/access.ts";
import { bankShareOfManyMax } from "../../base/bank-limits.ts";
import type { BrokerOptions } from "./options.ts";

/**
 * Returns the part of the capital that what is stored for one user may bind, in percent. 100: all of it, as where there
 * is one user only, or where anybody may call himself by any name.
 */
export function sharePercentOf(options: BrokerOptions, access: Access | undefined): number {
  if (options.bankShare > 0) return options.bankShare;
  const { tlsClientCert, tlsIdentity } = options;
  const byCertificate = tlsClientCert !== "off" && tlsIdentity !== "none";
  return byCertificate || access?.hasSeveralUsers === true ? bankShareOfManyMax : 100;
}
