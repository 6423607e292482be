/**
 * Waiting for credits: what the bank can pay is not refused because the vault, or another broker, has not answered yet.
 */
import { bankHopeMs, bankHopeRetryMs } from "../../base/bank-limits.ts";
import { Timer } from "../../base/timers.ts";
import type { Payment, Price } from "../../mail/ledger.ts";
import type { BankAccount } from "./bank-account.ts";
import type { Runtime } from "./runtime.ts";

/** Something that waits for credits. */
export interface CreditWait {
  /** By the clock's `now`. */
  readonly since: number;
  /** The end of the time that other brokers have to hand over credits; undefined: they have not been asked. */
  hopeUntil: number | undefined;
}

/** The parts of a context by which a wait is decided. */
export type Waiting = Pick<Runtime, "clock"> & { readonly bankAccount: BankAccount };

/**
 * Returns true if the bank's refusal is the last word, as it is for a user whose share is used up. What the bank can
 * pay never is: the vault is asked until it has answered, and other brokers have a while before it is asked once more.
 * So it is where the bank seems to be nearly empty: an idle broker may have what is missing here.
 */
export function isLastWord({ bankAccount, clock }: Waiting, price: Price, wait: CreditWait): boolean {
  const why = bankAccount.whyNotHeld(price);
  if (why === "unclaimed") return isClaimRefused({ bankAccount, clock }, wait);
  if (why === "share") return true;
  if (!bankAccount.hasAnswered(wait.since, price.credits)) return why === "scarce" && !bankAccount.hasOthers;
  if (bankAccount.canPay(price)) return false;
  if (!bankAccount.mayPay(price)) return true;
  wait.hopeUntil ??= clock.now() + bankHopeMs;
  return bankAccount.hasAnswered(wait.hopeUntil, price.credits);
}

/** Returns true if other brokers have not given up enough of a user's share in the time that they have for it. */
function isClaimRefused({ bankAccount: { claims }, clock }: Waiting, wait: CreditWait): boolean {
  if (!claims.hasAnswered(wait.since)) return false;
  wait.hopeUntil ??= clock.now() + bankHopeMs;
  return claims.hasAnswered(wait.hopeUntil);
}

/** How credits are waited for. */
export interface Obtaining {
  /** Returns true while they are still wanted. */
  readonly isAwaited: () => boolean;
  /** Called with what was set aside; undefined: the bank cannot pay, or nobody waits any more. */
  readonly done: (payment: Payment | undefined) => void;
}

/** Sets a price aside, as soon as the vault, or another broker, has handed them over. */
export function obtainCredits(
  context: Waiting & Pick<Runtime, "timers" | "coordinator">,
  price: Price,
  { isAwaited, done }: Obtaining,
): void {
  const { bankAccount, clock, timers, coordinator } = context;
  const wait: CreditWait = { since: clock.now(), hopeUntil: undefined };
  const attempt = (): void => {
    if (!isAwaited()) return done(undefined);
    const payment = bankAccount.reserve(price.credits, price.payer, price.clientId);
    // Without the store nobody knows what the bank has.
    const isOver = coordinator.state === "CONNECTED" && isLastWord(context, price, wait);
    if (payment !== undefined || isOver) return done(payment);
    timers.set(new Timer(attempt), clock.now() + bankHopeRetryMs);
  };
  attempt();
}
