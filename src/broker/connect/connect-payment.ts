/**
 * The payment of what a CONNECT has the store keep: a new session, and a will. A client that comes back to its session
 * is let in whatever the bank has: the session is paid for, and with it a will as large as the one that it began with.
 */

import { fullDiskWillBytesMax } from "../../base/store-limits.ts";
import { sessionPath, willPath } from "../../coordinator/paths.ts";
import { dropSlipsFreeWeightOf, jsonTextWeightOf, sessionWeightOf, willWeightOf } from "../../coordinator/weight.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { type Paid, paidBy, payerOf } from "../../mail/paid.ts";
import { encodeWill } from "../../mail/will-record.ts";
import { Bill } from "../core/bill.ts";
import { obtainCredits } from "../core/credit-wait.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { GrantedRequest } from "./granted-request.ts";
import type { PaidWill } from "./wills.ts";

/** A CONNECT that is to be paid for. */
export interface Charged {
  readonly request: GrantedRequest;
  readonly user: string;
  /** The session that the client comes back to; undefined: it begins one, if it asks for one that lasts. */
  readonly found: LocalSession | undefined;
}

/** The payment of a session that begins. */
export interface SessionPayment {
  readonly bill: Bill;
  readonly paid: Paid;
  /** The weight of a will that is paid for with it, in bytes. */
  readonly willBytes: number;
}

/** The payment of a CONNECT, set aside: either it is handed to the journal, or withdrawn. */
export interface ConnectPayment {
  readonly session: SessionPayment | undefined;
  readonly will: PaidWill | undefined;
  /** The checks of a unit that keeps what is paid for. */
  readonly checks: readonly JournalOperation[];
  /** Frees what was set aside: nothing is stored. */
  withdraw(): void;
}

/** How a CONNECT is paid for. */
export interface Paying {
  /** Returns true while the client waits. */
  readonly isAwaited: () => boolean;
  readonly done: (payment: ConnectPayment) => void;
  /** The bank cannot pay, in words. */
  readonly refused: (why: string) => void;
}

/** Sets aside what a CONNECT costs, at once where it costs nothing. */
export function payForConnect(context: ClusterContext, charged: Charged, { isAwaited, done, refused }: Paying): void {
  const { bankAccount } = context;
  const payer = payerOf(charged.user);
  const { will } = charged.request;
  // Whoever publishes it, it is its client's.
  if (will !== undefined) will.publish.payer = payer;
  const prices = pricesOf(context, charged);
  const sum = { credits: prices.session + prices.will, payer };
  if (sum.credits === 0) return done(paymentOf(context, charged, prices));
  const pay = (payment: { close(): void } | undefined): void => {
    if (payment === undefined && isAwaited()) return refused(bankAccount.describe(sum));
    payment?.close();
    // Nobody has come between, so it is all there.
    done(paymentOf(context, charged, prices));
  };
  obtainCredits(context, sum, { isAwaited, done: pay });
}

interface Prices {
  /** Milli-credits for a new session, with its will; and for a will that has no session to pay for it. */
  readonly session: number;
  readonly will: number;
  /** The will's weight, in bytes. */
  readonly willBytes: number;
}

function pricesOf(
  { options, bankAccount, self, hasMailDrops }: ClusterContext,
  { request, user, found }: Charged,
): Prices {
  const { clientId, expiryInterval, will } = request;
  const path = willPath(options.id, clientId);
  const record = will && encodeWill({ ...will, epoch: self.epoch, claimedAt: claimedAtOf(request) });
  const willBytes = record === undefined ? 0 : willWeightOf(path, record.length);
  const isNew = expiryInterval > 0 && found === undefined;
  const texts = jsonTextWeightOf(user) + jsonTextWeightOf(payerOf(user)) + 2 * jsonTextWeightOf(options.id);
  const drops = hasMailDrops() ? dropSlipsFreeWeightOf(sessionPath(clientId)) : 0;
  const weight = isNew ? sessionWeightOf(sessionPath(clientId), texts) + drops + willBytes : 0;
  const isCovered = isNew || willBytes <= willRoomOf(found);
  const price = (bytes: number): number => bankAccount.priceOf(bytes);
  return { session: price(weight), will: isCovered ? 0 : price(willBytes), willBytes };
}

/** Returns the weight of a will that is paid for with a session, in bytes. */
function willRoomOf(found: LocalSession | undefined): number {
  if (found?.mailbox === undefined) return 0;
  // Of a session that an older version has begun nobody knows what will it had.
  return found.paid === undefined ? fullDiskWillBytesMax : found.willBytes;
}

/** Returns the stamp that stands in the record of a will where brokers could not be asked; see `SilentWills`. */
function claimedAtOf({ silent, stamp }: GrantedRequest): number | undefined {
  return silent().length > 0 ? stamp : undefined;
}

function paymentOf(context: ClusterContext, { request, user, found }: Charged, prices: Prices): ConnectPayment {
  const { bankAccount, options } = context;
  const { account } = bankAccount;
  const { clientId, will } = request;
  const payer = payerOf(user);
  const billOf = (path: string, credits: number): Bill =>
    new Bill(account, { path, credits, payer, payment: account.reserve(credits, payer) });
  const isNew = prices.session > 0 && found === undefined;
  const session = isNew ? billOf(sessionPath(clientId), prices.session) : undefined;
  const willBill = will && billOf(willPath(options.id, clientId), prices.will);
  return {
    session: session && {
      bill: session,
      paid: paidBy({ branch: bankAccount.branch, credits: prices.session, payer }),
      willBytes: prices.willBytes,
    },
    will: will && { ...will, claimedAt: claimedAtOf(request), credits: prices.will, bill: willBill! },
    checks: prices.session + prices.will > 0 ? [bankAccount.guard()] : [],
    withdraw: () => {
      session?.settle("refused");
      willBill?.settle("refused");
    },
  };
}
