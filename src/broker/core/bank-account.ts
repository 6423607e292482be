/**
 * This broker as a branch of the bank: what it may store is reserved before it is promised. It asks the vault for more
 * while there is still something left, gives back what it does not need, and hears from the other brokers when messages
 * that it pays for are gone.
 */

import { walkMessages, walkRetained } from "../../audit/scan.ts";
import type { Accounts, Standing } from "../../bank/accounts.ts";
import { Branch, type Reservation } from "../../bank/branch.ts";
import { drawTtl, isDrawn, type Keeping, milli, type Pricing, priceOf, retainedPriceOf } from "../../bank/price.ts";
import { describeShortage } from "../../bank/shortage.ts";
import {
  bankAskMs,
  bankLookMs,
  bankLowPartMin,
  bankVerifyBusyMax,
  bankVerifyMax,
  bankYieldMs,
  freedPathsMax,
} from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { branchPath } from "../../coordinator/paths.ts";
import type { Journal } from "../../mail/journal.ts";
import type { Ledger, Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { MessageHead, Terms } from "../../mail/records.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Runtime } from "./runtime.ts";

/** When a refused publish is worth another try: branches look at their accounts more often than that. */
const retrySeconds = 5;

/** The other brokers, whose branches have credits and messages of their own. */
export interface OtherBranches {
  /** True if there are any. */
  areThere(): boolean;
  /** Tells one of them which of the messages that it pays for are gone. */
  tell(branch: string, paths: readonly string[]): void;
  /** Tells all of them that credits are short here. */
  ask(): void;
}

export class BankAccount implements Ledger {
  readonly branch: string;
  readonly account = new Branch();
  readonly #pricing: Pricing;
  readonly #path: string;
  /** What was settled for each message; drawn: where chance decided how long it is kept. */
  readonly #terms = { drawn: new WeakMap<Publish, Terms>(), longest: new WeakMap<Publish, Terms>() };
  readonly #accounts: Accounts;
  readonly #runtime: Runtime;
  readonly #journal: Journal;
  readonly #others: OtherBranches;
  readonly #gone = new Map<string, string[]>();
  #isVerifying = false;
  #isAsking = false;
  #askedAt = -Infinity;
  /** When that question was asked that the vault has answered last. */
  #answeredFrom = -Infinity;
  /** Until then others may have what this broker could only keep in reserve: they are short. */
  #yieldsUntil = -Infinity;
  /** As they were when the vault was last asked. */
  #vault = 0;
  #capital = 0;
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(runtime: Runtime, parts: { journal: Journal; accounts: Accounts; others: OtherBranches }) {
    const { options } = runtime;
    this.#runtime = runtime;
    this.#journal = parts.journal;
    this.#others = parts.others;
    this.branch = options.id;
    this.#path = branchPath(options.id);
    this.#pricing = {
      ttlMinMs: options.bankTtlMin * 1000,
      ttlMaxMs: options.bankTtlMax * 1000,
      ttl: options.bankTtl,
    };
    this.#accounts = parts.accounts;
  }

  /** Founds the bank, opens the branch, and counts what it pays for. Rejects with `OperatingError`. */
  async start(): Promise<void> {
    const { coordinator, options, timers, clock, strangers } = this.#runtime;
    await new Promise<void>((done) => this.#accounts.found(options.bankCapital * milli, done));
    this.#stand(await new Promise<Standing>((done) => this.#accounts.open(this.branch, done)));
    const count = (path: string, { branch, credits }: MessageHead): void => {
      if (branch === this.branch) this.account.found(path, credits);
    };
    const walked = { store: coordinator, reader: strangers };
    await walkMessages(walked, { message: count });
    await walkRetained(walked, count);
    this.account.isOpen = true;
    timers.set(this.#timer, clock.now() + bankLookMs);
    await new Promise<void>((done) => this.#balance(0, done));
  }

  termsOf(publish: Publish, keeping: Keeping): Terms {
    const kept = publish.kept();
    const settled = isDrawn(this.#pricing, keeping) ? this.#terms.drawn : this.#terms.longest;
    let terms = settled.get(kept);
    if (terms === undefined) {
      const { clock, random } = this.#runtime;
      const now = clock.wall();
      const ttl = kept.expiresAt === Infinity ? drawTtl(this.#pricing, keeping, random.next()) : kept.expiresAt - now;
      terms = { credits: priceOf(kept.size, ttl, this.#pricing), keepUntil: Math.round(now + ttl) };
      settled.set(kept, terms);
    }
    return terms;
  }

  retainedPriceOf(publish: Publish): number {
    return retainedPriceOf(publish.size);
  }

  /** Sets credits aside; undefined if there are too few. */
  reserve(credits: number): Reservation | undefined {
    const reservation = this.account.isOpen ? this.account.reserve(credits) : undefined;
    if (reservation === undefined) this.#balance(credits);
    else if (this.account.free < this.#lowWater) this.#balance();
    return reservation;
  }

  /** The tree is told how many publishes could not be paid. */
  tellRefused(refused: number): void {
    if (this.account.isOpen) this.#accounts.tellRefused(this.branch, refused);
  }

  /** What the bank's capital was when the vault was last asked. */
  get capital(): number {
    return this.#capital;
  }

  /** What it costs to have a message stored here. */
  get pricing(): Pricing {
    return this.#pricing;
  }

  /** What the vault held when it was last asked. */
  get vault(): number {
    return this.#vault;
  }

  /** The vault, or another broker, may have what is missing here: a moment's patience may be enough. */
  mayPay(price: number): boolean {
    const isAlone = !this.#others.areThere();
    return !this.account.isOpen || price <= this.#payable || !isAlone;
  }

  /** The vault has answered a question that was asked at that time or later, by the clock's `now`. */
  hasAnswered(since: number): boolean {
    return this.#answeredFrom >= since;
  }

  /** What is free here, and what the vault would give besides; once the others were asked it has what they do not need. */
  get #payable(): number {
    return Math.max(0, this.account.free) + this.#vault;
  }

  /** Why a publish is refused, for whoever has sent it. */
  describe(price: number): string {
    return describeShortage({ price: price / milli, balance: this.#payable / milli, retryAfter: retrySeconds });
  }

  guard(): JournalOperation {
    return { kind: "check", path: this.#path, version: () => -1, mayWait: true };
  }

  keep(path: string, credits: number, payment: Payment | undefined): void {
    if (payment === undefined) this.account.found(path, credits);
    else this.account.keep(path, credits, payment);
  }

  freed(path: string, branch: string): void {
    if (branch === this.branch) {
      this.account.freed(path);
      return;
    }
    const paths = this.#gone.get(branch) ?? [];
    this.#gone.set(branch, paths);
    paths.push(path);
    if (paths.length === 1) queueMicrotask(() => this.#tellGone());
  }

  /** What one publish pays for may be used by another that does the same for it. */
  lend(payment: Payment | undefined): Payment | undefined {
    return payment && { take: (credits) => payment.take(credits), close() {} };
  }

  /** Another broker says that messages are gone. */
  hear(paths: readonly string[]): void {
    for (const path of paths) this.account.freed(path);
  }

  #tellGone(): void {
    for (const [branch, paths] of this.#gone) {
      for (let at = 0; at < paths.length; at += freedPathsMax)
        this.#others.tell(branch, paths.slice(at, at + freedPathsMax));
    }
    this.#gone.clear();
  }

  get #isShort(): boolean {
    return this.account.free < this.#lowWater;
  }

  /** Below it the vault is asked for more, while there is still something to work with. */
  get #lowWater(): number {
    return Math.ceil(this.#capital * bankLowPartMin);
  }

  #look(now: number): void {
    this.#runtime.timers.set(this.#timer, now + bankLookMs);
    if (this.#runtime.coordinator.state !== "CONNECTED" || !this.account.isOpen) return;
    this.#lookAtAccounts();
    if (!this.#isVerifying) this.#verify();
  }

  /** The capital may have been changed, or what was damaged mended. */
  #lookAtAccounts(): void {
    if (this.#isAsking) return;
    this.#accounts.look(this.branch, (standing) => {
      // What is being changed is told when it is.
      if (this.#isAsking) return;
      if (standing !== undefined) this.#stand(standing);
      this.#balance();
    });
  }

  /** Asks for more at low water, or when `needed` cannot be paid; gives back what is far above it. */
  #balance(needed = 0, done: () => void = () => {}): void {
    const { account } = this;
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
      this.#answeredFrom = now;
      if (standing !== undefined) this.#stand(standing);
      // The vault is empty: others may have what they do not need.
      if (account.free < least) this.#askOthers();
      done();
    });
    // What is given back is not spent meanwhile.
    if (wanted < 0) account.grant += wanted;
  }

  #stand({ grant, vault, capital }: Standing): void {
    this.account.grant = grant;
    this.#vault = vault;
    this.#capital = capital;
  }

  #askOthers(): void {
    const now = this.#runtime.clock.now();
    if (now < this.#askedAt + bankAskMs) return;
    this.#askedAt = now;
    this.#others.ask();
  }

  /** Another broker is short, and the vault is empty: half of what is free here goes back. */
  share(): void {
    const credits = Math.floor(this.account.free / 2);
    this.#yieldsUntil = this.#runtime.clock.now() + bankYieldMs;
    if (this.#isAsking || !this.account.isOpen || credits <= 0) return;
    this.#isAsking = true;
    this.account.grant -= credits;
    this.#accounts.move(this.branch, -credits, (standing) => {
      this.#isAsking = false;
      if (standing !== undefined) this.#stand(standing);
    });
  }

  /** Looks whether messages are still there that others may have removed without a word: more of them when credits are short. */
  #verify(left = Math.min(this.account.messages, this.#isShort ? bankVerifyBusyMax : bankVerifyMax)): void {
    const { coordinator } = this.#runtime;
    const paths = this.account.takeSome(Math.min(left, bankVerifyMax));
    this.#isVerifying = paths.length > 0;
    if (paths.length === 0) return;
    // What is on its way into the store is not missed there.
    this.#journal.drained(() =>
      coordinator.read(
        paths.map((path) => ({ kind: "exists", path })),
        (error, results) => {
          if (error !== undefined) return;
          paths.forEach((path, index) => {
            if (results[index] === "NoNode") this.account.freed(path);
          });
          // One page after the other: what else is asked, and the keeper session's pings, would wait behind all of them.
          this.#verify(left - paths.length);
        },
      ),
    );
  }

  /** Commits wait, since the bank has closed this broker's branch: it was thought to be dead. */
  closed(): void {
    this.#runtime.log.warn({ branch: this.branch }, "the bank has closed this broker's branch; it is opened again");
    this.reopen();
  }

  /** The branch may have been closed while this broker was thought to be dead: it is opened again, and what waits is stored. */
  reopen(): void {
    this.account.isOpen = false;
    this.#accounts.open(this.branch, (standing) => {
      this.#stand(standing);
      this.#payUp();
    });
  }

  /** What is bound must be granted before anything more is stored. */
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
