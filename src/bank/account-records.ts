/**
 * The bytes of the bank's znodes. An amount is a whole number of milli-credits; nothing else is written, and what
 * others wrote that is none is told apart from it, so that it spreads nowhere.
 */
import { assert } from "../base/assert.ts";
import { bankCapitalCreditsMax } from "../base/bank-limits.ts";
import { decodeUtf8, encodeUtf8 } from "../base/bytes.ts";
import { milli } from "./price.ts";

/** The vault's znode: milli-credits, as JSON. */
export interface VaultRecord {
  readonly capital: number;
  readonly vault: number;
}

/** A branch's znode: milli-credits, as JSON. */
export interface GrantRecord {
  readonly grant: number;
  /** How many publishes the broker has refused since it was started because the bank could not pay. */
  readonly refused?: number;
  /** The milli-credits that the branch may bind for each user who needs much, whatever the others hold. */
  readonly users?: ClaimsByUser;
}

/** Claims on users' shares, in milli-credits, by user. */
export type ClaimsByUser = ReadonlyMap<string, number>;

/** Milli-credits that a bank may have. */
export const capitalMax = bankCapitalCreditsMax * milli;

/** More than any bank may have, and little enough for sums of some to be exact in a double. */
const amountMax = 2 ** 50;

/** True for what may stand in an account: a whole number of milli-credits, not negative. */
export function isAmount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= amountMax;
}

export function encodeVault({ capital, vault }: VaultRecord): Uint8Array {
  assert(isWritable(capital) && isWritable(vault), `no amounts of the vault: ${vault} of ${capital}`);
  return encodeUtf8(JSON.stringify({ capital, vault }));
}

export function encodeGrant({ grant, refused, users = new Map() }: GrantRecord): Uint8Array {
  assert(isWritable(grant), `no amount of a grant: ${grant}`);
  const claims = users.size === 0 ? {} : { users: Object.fromEntries(users) };
  return encodeUtf8(JSON.stringify({ grant, refused, ...claims }));
}

/**
 * True for amounts that may be stored. Amounts that are read pass the same test, so their sums and differences are safe
 * too.
 */
function isWritable(amount: number): boolean {
  return Number.isSafeInteger(amount) && amount >= 0;
}

/** Undefined: it is damaged. */
export function decodeVault(data: Uint8Array): VaultRecord | undefined {
  const { capital, vault } = parse(data);
  return isAmount(capital) && isAmount(vault) ? { capital, vault } : undefined;
}

/** Undefined: it is damaged. */
export function decodeGrant(data: Uint8Array): GrantRecord | undefined {
  const { grant, refused, users } = parse(data);
  return isAmount(grant) ? { grant, refused: isAmount(refused) ? refused : 0, ...claimsIn(users) } : undefined;
}

/** Reads claims; those that are no amounts are left out. */
function claimsIn(users: unknown): { readonly users?: ClaimsByUser } {
  if (typeof users !== "object" || users === null) return {};
  return { users: new Map(Object.entries(users).filter(([, credits]) => isAmount(credits))) };
}

function parse(data: Uint8Array): { readonly [name: string]: unknown } {
  try {
    const parsed: unknown = JSON.parse(decodeUtf8(data));
    return typeof parsed === "object" && parsed !== null ? (parsed as { [name: string]: unknown }) : {};
  } catch {
    return {};
  }
}
