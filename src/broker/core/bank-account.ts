/**
 * This broker's branch of the bank: credits for what the broker may store are reserved before a message is promised. It
 * asks the vault for more credits while some are left, gives back what it does not need, and is told by other brokers
 * when messages that it pays for are gone.
 */

import type { Accounts, Standing } from "../../bank/accounts.ts";
import { Branch, isMessagePath, type Reservation } from "../../bank/branch.ts";
import { type Keeping, milli } from "../../bank/price.ts";
import type { ShareDenial } from "../../bank/shares.ts";
import { describeShortage } from "../../bank/shortage.ts";
import { bankAskMs, bankLookMs, bankLowPartMin, bankYieldMs } from "../../base/bank-limits.ts";
import { Timer } from "../../base/timers.ts";
import { branchPath } from "../../coordinator/paths.ts";
import type { TopicPlace } from "../../coordinator/weight.ts";
import type { Journal } from "../../mail/journal.ts";
import type { Ledger, Payment, Price } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Terms } from "../../mail/records.ts";
import type { Publish } from "../../mqtt/publish.ts";
import { Bill } from "./bill.ts";
import { FreedReports } from "./freed-reports.ts";
import { PaymentCheck } from "./payment-check.ts";
import { PriceList } from "./price-list.ts";
import type { Runtime } from "./runtime.ts";
import { ShareClaims } from "./share-claims.ts";
import { VaultAnswers } from "./vault-answers.ts";

/** The time, in seconds, after which a refused client may try again; brokers ask the vault more often than that. */
const retrySeconds = 5;

/** The parts of a bank account. */
export interface BankAccountParts {
  readonly journal: Journal;
  readonly accounts: Accounts;
  readonly others: OtherBranches;
  /** Returns the part of the capital that one user may bind, in percent. */
  readonly sharePercent: () => number;
}

/** The other brokers, as this one's bank account sees them: they have branches of their own. */
export interface OtherBranches {
  /** Returns true if there is at least one other broker. */
  exist(): boolean;
  /** Tells the broker of a branch that messages which its branch pays for are gone, by their paths. */
  reportFreed(branch: string, paths: readonly string[]): void;
  /** Tells all other brokers that credits are short here, so that they give back what they can spare. */
  askForCredits(): void;
}

/** This broker's bank account. It pays for what the broker stores (`Ledger`); `account` holds its credits. */
export class BankAccount implements Ledger {
  readonly branch: string;
  readonly prices: PriceList;
  readonly account = new Branch();
  readonly #path: string;
  readonly #accounts: Accounts;
  readonly #runtime: Runtime;
  readonly #journal: Journal;
  readonly #others: OtherBranches;
  readonly #sharePercent: () => number;
  readonly #check: PaymentCheck;
  /** This broker's claims on users' shares. */
  readonly claims: ShareClaims;
  readonly #freedReports: FreedReports;
  #isAsking = false;
  #isLooking = false;
  #askedAt = -Infinity;
  readonly #answers = new VaultAnswers();
  /** The most that somebody needs who came while the vault was being asked for less. */
  #neededNext = 0;
  /** Until then (ms) this broker keeps no reserve above what it needs, since another broker is short of credits. */
  #yieldsUntil = -Infinity;
  /** Credits of vault and bank when the vault was last asked, in milli-credits. */
  #vault = 0;
  #capital = 0;
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(runtime: Runtime, parts: BankAccountParts) {
    const { options } = runtime;
    this.#runtime = runtime;
    this.#journal = parts.journal;
    this.#others = parts.others;
    this.#freedReports = new FreedReports(parts.others);
    this.#sharePercent = parts.sharePercent;
    this.branch = options.id;
    this.prices = new PriceList(runtime);
    this.#path = branchPath(options.id);
    this.#accounts = parts.accounts;
    this.#check = new PaymentCheck(runtime, { journal: parts.journal, account: this.account, branch: this.branch });
    this.claims = new ShareClaims(runtime, {
      account: this.account,
      branch: this.branch,
      askOthers: () => this.#askOthers(),
    });
  }

  /**
   * Founds the bank if there is none, opens this broker's branch, and counts the stored messages that it pays for.
   * Rejects with `OperatingError` if the store cannot be read.
   */
  async start(): Promise<void> {
    const { options, timers, clock } = this.#runtime;
    await new Promise<void>((done) => this.#accounts.found(options.bankCapital * milli, done));
    this.#opened(await new Promise<Standing>((done) => this.#accounts.open(this.branch, done)));
    await this.#check.count();
    this.account.isOpen = true;
    timers.set(this.#timer, clock.now() + bankLookMs);
    await new Promise<void>((done) => this.#balance(0, done));
    await new Promise<void>((done) => this.claims.ask(done));
  }

  /** Returns price and end of a message where it is kept, as `PriceList.termsOf` does. */
  termsOf(publish: Publish, keeping: Keeping, place?: TopicPlace): Terms {
    return this.prices.termsOf(publish, keeping, place);
  }

  /** Returns the price of so many bytes in the store, in milli-credits. */
  priceOf(weight: number): number {
    return this.prices.ofWeight(weight);
  }

  /**
   * Sets milli-credits aside for what is stored for a user; undefined if there are too few, and then the vault is asked
   * for more; or if the user, or that client of his, may bind no more. `payer` null: it is for the broker itself.
   */
  reserve(credits: number, payer: string | null = "", clientId?: string): Reservation | undefined {
    const reservation = this.account.isOpen ? this.account.reserve(credits, payer, clientId) : undefined;
    if (reservation === undefined) {
      const why = this.whyNotHeld({ credits, payer, clientId });
      if (why === "unclaimed") this.claims.need(payer!, credits);
      else if (why === undefined) this.#balance(credits);
      else if (why === "scarce" && this.hasOthers) {
        // What idle brokers can spare counts: they give it back to the vault.
        if (this.#askOthers()) this.claims.need(payer!, credits);
        this.#lookAtAccounts(credits);
      }
    } else if (this.account.free < this.#lowWater) this.#balance();
    return reservation;
  }

  /**
   * Returns the bill of a znode that the broker announces, with what it costs set aside, in milli-credits; undefined if
   * the bank cannot pay for it, and does not already.
   */
  bill(path: string, credits: number): Bill | undefined {
    const payer = null;
    const payment = this.reserve(credits, payer);
    if (payment === undefined && !this.account.pays(path)) return undefined;
    return new Bill(this.account, { path, credits, payer, payment });
  }

  /** Writes into the tree how many publishes could not be paid. */
  reportRefused(refused: number): void {
    if (this.account.isOpen) this.#accounts.reportRefused(this.branch, refused);
  }

  /** Returns the bank's capital as it was when the vault was last asked, in milli-credits. */
  get capital(): number {
    return this.#capital;
  }

  /** Returns the vault's credits as they were when it was last asked, in milli-credits. */
  get vault(): number {
    return this.#vault;
  }

  /**
   * Returns true if a price that cannot be paid now may be payable in a moment, by credits of the vault or of another
   * broker.
   */
  mayPay(price: Price): boolean {
    if (!this.account.isOpen || this.canPay(price)) return true;
    const why = this.whyNotHeld(price);
    return why === "unclaimed" || (why !== "share" && this.hasOthers);
  }

  /** Returns true if there are other brokers, which may have credits to spare. */
  get hasOthers(): boolean {
    return this.#others.exist();
  }

  /** Returns true if a price (in milli-credits) is not more than what is free here and in the vault, for its user. */
  canPay(price: Price): boolean {
    return price.credits <= this.#payable && this.whyNotHeld(price) === undefined;
  }

  /** Returns what is too small for a price that cannot be paid: the bank, or the share of its user. */
  whoRefuses(price: Price): "bank" | "share" {
    const why = this.whyNotHeld(price);
    return why === undefined || why === "scarce" ? "bank" : "share";
  }

  /** Says why a user may not bind so many milli-credits more; undefined: he may, if they are there. */
  whyNotHeld({ credits, payer, clientId }: Price): ShareDenial | undefined {
    const { shares, free } = this.account;
    return shares.whyNot(shares.of(payer, clientId), credits, free);
  }

  /** Returns true if the vault was asked for `credits` or more at `since` (ms) or later, and has answered. */
  hasAnswered(since: number, credits: number): boolean {
    return this.#answers.has(since, credits);
  }

  /** Milli-credits that are free here or in the vault, which has what others do not need once they were asked. */
  get #payable(): number {
    return Math.max(0, this.account.free) + this.#vault;
  }

  /** Returns the reason string for a client whose packet costs more than can be paid for its user. */
  describe(price: Price): string {
    const { credits } = price;
    const payer = price.payer ?? "";
    const { shares } = this.account;
    const why = this.whyNotHeld(price);
    const { held, clientId } = shares.of(payer, price.clientId);
    const isSpent = why === "share" || why === "unclaimed";
    const payable = isSpent ? Math.min(this.#payable, shares.leftFor(payer)) : this.#payable;
    // Before the bank was read nobody knows.
    const most = this.#capital === 0 ? Infinity : Math.min(this.#capital, shares.limit);
    const sums = { price: credits / milli, balance: payable / milli, most: most / milli };
    const share = why && { user: payer, clientId, percent: shares.percent, held: held / milli, why };
    return describeShortage({ ...sums, share, retryAfter: retrySeconds });
  }

  /** Returns the check, for a unit that stores a message, that this broker's branch has not been closed. */
  guard(): JournalOperation {
    return { kind: "check", path: this.#path, version: () => -1, mayWait: true };
  }

  /** Counts a message that will be stored at `path` for `credits` milli-credits; `payment` was set aside for it. */
  keep(path: string, price: Price, payment: Payment | undefined): void {
    if (payment === undefined) this.account.found(path, price);
    else this.account.keep(path, price, payment);
  }

  /** Returns the credits of a message that is gone; if another branch paid for it, that branch's broker is told. */
  freed(path: string, branch: string): void {
    if (branch === this.branch) this.account.freed(path);
    else this.#freedReports.note(path, branch);
  }

  /** Lends the payment of one publish to another that replaces it: the lender still closes it. */
  lend(payment: Payment | undefined): Payment | undefined {
    return payment && { clientId: payment.clientId, take: (credits) => payment.take(credits), close() {} };
  }

  /** Frees the credits of what another broker has found to be gone. */
  freedByOthers(paths: readonly string[]): void {
    for (const path of paths) if (isMessagePath(path)) this.account.freed(path);
    // Paths of all else may be in use again by now.
    this.#check.verify(paths.filter((path) => !isMessagePath(path) && this.account.pays(path)));
  }

  get #isShort(): boolean {
    return this.account.free < this.#lowWater;
  }

  /** The free milli-credits below which the vault is asked for more, while there is still something to work with. */
  get #lowWater(): number {
    return Math.ceil(this.#capital * bankLowPartMin);
  }

  #look(now: number): void {
    this.#runtime.timers.set(this.#timer, now + bankLookMs);
    if (this.#runtime.coordinator.state !== "CONNECTED" || !this.account.isOpen) return;
    this.#lookAtAccounts();
    this.#check.look(this.#isShort ? "short" : "enough");
    this.claims.look();
    this.account.shares.forget();
  }

  /**
   * Reads the accounts again: others may have given credits back, an operator may have changed the capital, or mended
   * accounts that were damaged. `needed`: milli-credits that are waited for.
   */
  #lookAtAccounts(needed = 0): void {
    // The next time that the vault is asked it answers for that, too.
    if (this.#isAsking) this.#neededNext = Math.max(needed, this.#neededNext);
    if (this.#isAsking || this.#isLooking) return;
    this.#isLooking = true;
    const now = this.#runtime.clock.now();
    this.#accounts.look(this.branch, (standing) => {
      this.#isLooking = false;
      this.#answers.answered(now, needed);
      // A change that is under way brings newer figures when it is answered.
      if (this.#isAsking) return;
      if (standing !== undefined) this.#stand(standing);
      this.#balance();
    });
  }

  /**
   * Asks the vault for more at low water, or when `asked` milli-credits cannot be paid; gives back what is far above
   * it.
   */
  #balance(asked = 0, done: () => void = () => {}): void {
    const { account } = this;
    const needed = Math.max(asked, this.#neededNext);
    this.#neededNext = this.#isAsking ? needed : 0;
    const now = this.#runtime.clock.now();
    const low = this.#lowWater;
    const least = Math.max(now < this.#yieldsUntil ? 0 : low, needed);
    const isShort = account.free < least;
    const isRich = account.free > 8 * low;
    if (this.#isAsking || (!isShort && !isRich)) return done();
    this.#isAsking = true;
    const wanted =
      Math.max(needed, isShort ? Math.max(4 * low, Math.round(account.bound / 2)) : 4 * low) - account.free;
    this.#accounts.move(this.branch, wanted, (standing) => {
      this.#isAsking = false;
      this.#answers.answered(now, needed);
      if (standing !== undefined) this.#stand(standing);
      // The vault has not given enough: other brokers may have credits that they do not need.
      if (account.free < least) this.#askOthers();
      done();
    });
    if (wanted < 0) this.#handBack(-wanted);
  }

  /** Counts credits to the vault that are on their way there: they must not be spent here meanwhile, nor be missed. */
  #handBack(credits: number): void {
    const { grant } = this.account;
    this.#stand({ grant: grant - credits, vault: this.#vault + credits, capital: this.#capital });
  }

  #stand({ grant, vault, capital }: Omit<Standing, "users">): void {
    this.account.grant = grant;
    this.#vault = vault;
    this.#capital = capital;
    const isShared = this.#runtime.coordinator.isAlone !== true;
    this.account.shares.set({ capital, vault, percent: this.#sharePercent(), isShared });
  }

  /** Notes that the branch was opened, and what it claims of users' shares. */
  #opened(standing: Standing): void {
    this.#stand(standing);
    this.account.shares.claimed(standing.users);
  }

  /** Returns false if they have just been asked. */
  #askOthers(): boolean {
    const now = this.#runtime.clock.now();
    if (now < this.#askedAt + bankAskMs) return false;
    this.#askedAt = now;
    this.#others.askForCredits();
    return true;
  }

  /** Gives half of the free credits back to the vault, for another broker that is short while the vault is empty. */
  share(): void {
    this.claims.giveBack();
    const credits = Math.floor(this.account.free / 2);
    this.#yieldsUntil = this.#runtime.clock.now() + bankYieldMs;
    if (this.#isAsking || !this.account.isOpen || credits <= 0) return;
    this.#isAsking = true;
    this.#handBack(credits);
    this.#accounts.move(this.branch, -credits, (standing) => {
      this.#isAsking = false;
      if (standing !== undefined) this.#stand(standing);
    });
  }

  /** Opens the branch again after a commit has found it closed: this broker was thought to be dead. */
  closed(): void {
    this.#runtime.log.warn({ branch: this.branch }, "the bank has closed this broker's branch; it is opened again");
    this.reopen();
  }

  /**
   * Opens the branch, which the teller may have closed while this broker was thought to be dead; then waiting commits
   * go on.
   */
  reopen(): void {
    this.account.isOpen = false;
    this.#accounts.open(this.branch, (standing) => {
      this.#opened(standing);
      this.#payUp();
    });
  }

  /** Has the vault grant what stored messages bind; only then are waiting commits let through. */
  #payUp(): void {
    const missing = -this.account.free;
    if (missing <= 0) {
      this.account.isOpen = true;
      return this.#journal.unpark();
    }
    this.#accounts.move(this.branch, missing, (standing) => {
      if (standing === undefined) return this.reopen();
      this.#stand(standing);
      if (this.account.free >= 0) return this.#payUp();
      this.#askOthers();
      const again = new Timer(() => this.#payUp());
      this.#runtime.timers.set(again, this.#runtime.clock.now() + bankLookMs);
    });
  }
}
